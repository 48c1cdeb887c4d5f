"""The Python of every README and page runs, top to bottom, as a reader would paste it."""

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import lecture_opt as lo

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
READERS_OWN = {"my_adam": lo.adam, "optax": optax}
"""What the READMEs of the tools take for given."""
PAGES = [
    path
    for path in (
        *sorted((ROOT / "lecture_opt").rglob("README.md")),
        *sorted(ROOT.glob("examples/**/*.md")),
    )
    if BLOCK.search(path.read_text()) and path.name not in ("GUIA.md", "GUIDE.md")
]


def run(path: Path, **namespace: Any) -> list[dict[str, Any]]:
    """The names that there are after each of the README's blocks."""
    blocks = [match["code"] for match in BLOCK.finditer(path.read_text()) if not match["why"]]
    assert blocks
    after = []
    for block in blocks:
        exec(compile(block, str(path), "exec"), namespace)
        after.append(dict(namespace))
    return after


def test_the_readme_is_short():
    prose = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    assert len(prose.split()) <= 900


def test_the_first_screen_trains():
    names = run(ROOT / "README.md")[-1]
    model, data = names["model"], (names["x"], names["labels"])
    start = names["loss_fn"](model.init(names["jax"].random.key(0)), data)
    assert names["loss_fn"](names["params"], data) < 0.8 * start
    np.testing.assert_allclose(names["loss"], names["result"].losses[-1], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_python_of_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        run(path, **READERS_OWN)
