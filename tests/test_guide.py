"""The guides: every snippet runs, and prints or raises exactly what is written below it."""

import contextlib
import io
import re
from pathlib import Path

import jax
import pytest

FOLDER = Path(__file__).parent.parent / "examples"
GUIDES = {name: (FOLDER / name).read_text(encoding="utf-8") for name in ("GUIA.md", "GUIDE.md")}
SNIPPET = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


def snippets(guide):
    return [(code, below.rstrip("\n")) for code, below in SNIPPET.findall(GUIDES[guide])]


def run(code, namespace):
    """What the code prints, and the error that ends it as Python shows it."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
    except Exception as error:
        return f"{printed.getvalue()}{type(error).__name__}: {error}"
    return printed.getvalue().rstrip("\n")


@pytest.fixture
def standard():
    """A reader's JAX, without the strictness of these tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_every_snippet_does_what_is_written_below_it(standard):
    namespace = {"__name__": "guide"}
    for code, below in snippets("GUIDE.md"):
        assert run(code, namespace) == below, code


def test_both_guides_have_the_same_snippets():
    assert snippets("GUIA.md") == snippets("GUIDE.md")
    assert len(snippets("GUIDE.md")) > 30


@pytest.mark.parametrize("guide", GUIDES)
def test_both_guides_have_the_same_formulas_and_pictures(guide):
    def parts(text):
        prose = SNIPPET.sub("", text)
        return (
            re.findall(r"\$\$.*?\$\$", prose, re.DOTALL),
            re.findall(r"\]\((images/[^)]+)\)", prose.replace("(images/es/", "(images/")),
            [len(marks) for marks in re.findall(r"^#+", prose, re.MULTILINE)],
        )

    assert parts(GUIDES[guide]) == parts(GUIDES["GUIDE.md"])
    for picture in re.findall(r"\]\((images/[^)]+)\)", GUIDES[guide]):
        assert (FOLDER / picture).stat().st_size < 80_000
        assert ("/es/" in picture) == (guide == "GUIA.md")


FORMULAS = {
    "bayes": r"p(h|D) = \frac{p(D|h)\,p(h)}{p(D)}",
    "log-likelihood": r"\sum_{d_i \in D} \log(p(d_i|h))",
    "supervised": r"\sum_{(x_i, y_i) \in D} \log(p(y_i|x_i, h))",
    "cross-entropy": r"-\sum_{i=1}^N \sum_{j=1}^C p_{ij} \log(q_{ij})",
    "Theano's cross-entropy": r"H_i(p, q) = -\sum_{j=1}^C p_{ij} \log(q_{ij})",
    "class ids": r"y_i = -\log(\text{coding\_dist}[i, \text{one\_of\_n}[i]])",
    "two classes": r"-\sum_{i=1}^N [p_{i1} \log(q_{i1}) + p_{i2} \log(q_{i2})]",
    "binary": r"-\sum_{i=1}^N [p_i \log(q_i) + (1 - p_i) \log(1 - q_i)]",
    "sigmoid": r"p_1 = 1 / (1 + e^{-x \cdot w - b})",
    "penalty": r"0.01 \sum w^2",
    "normal": r"e^{-\frac{1}{2} \left( \frac{y-f(x)}{\sigma} \right)^2}",
    "log normal": r"-\log(\sigma\sqrt{2\pi}) - \frac{1}{\sigma^2} \left[ \frac{1}{2} (y - f(x))^2",
    "log normal of all": r"-N \log(\sigma\sqrt{2\pi}) - \frac{1}{\sigma^2} \sum_{(x_i, y_i) \in D}",
    "gradient descent": r"E[g_B] = \frac{1}{B} \sum_{b=1}^B E[\nabla L_{i_b}]",
    "composition": r"f_3\left(W_3, f_2\left(W_2, f_1(W_1, x)\right)\right)",
    "composed": r"f_3(W_3) \circ f_2(W_2) \circ f_1(W_1)(x)",
    "forward": r"x_3 = f_2(W_2, x_2) \qquad \hat{y} = f_3(W_3, x_3)",
    "delta": r"\cdot \frac{\partial f_2}{\partial x_2}}_{\delta_{bp}} \cdot \frac{\partial f_1}{",
    "neuron": r"\delta_{bp}\, \text{step}(z_i)\, x",
    "sgd": r"p \leftarrow p - lr \cdot g",
    "momentum": r"v \leftarrow momentum \cdot m - lr \cdot g",
    "nesterov": r"p \leftarrow p + momentum \cdot v - lr \cdot g",
    "adagrad's scale": r"\sqrt{\sum_{t=1}^T grad_t(p)^2}",
    "adagrad": r"acc \leftarrow acc + g^2 \qquad p \leftarrow p - \frac{lr}{\sqrt{acc + \epsilon}}",
    "rmsprop": r"acc \leftarrow \rho \cdot acc + (1 - \rho)\, g^2",
    "adam's decay": r"b_{1,t} = b_1 \cdot l^{\,t-1}",
    "adam's means": r"m_t = b_{1,t}\, m + (1 - b_{1,t})\, g \qquad v_t = b_2\, v + (1 - b_2)\, g^2",
    "adam": r"\frac{lr \cdot m_c}{\sqrt{v_c} + \epsilon}",
}
"""The slides' formulas, in their order."""


def test_every_formula_of_the_slides_is_there():
    for guide, text in GUIDES.items():
        places = [text.find(formula) for formula in FORMULAS.values()]
        assert -1 not in places, f"{guide} lacks {list(FORMULAS)[places.index(-1)]}"
