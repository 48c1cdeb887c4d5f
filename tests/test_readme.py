"""The Python of every README runs, top to bottom, as a reader would paste it."""

import re
from pathlib import Path
from typing import Any

import optax
import pytest

import lecture_opt as lo

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
READERS_OWN = {"my_adam": lo.adam, "optax": optax}
"""What the READMEs of the tools take for given."""
OF_TOOLS = [
    path
    for path in sorted((ROOT / "lecture_opt").rglob("README.md"))
    if BLOCK.search(path.read_text())
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


def test_the_first_screen_trains():
    names, *_ = run(ROOT / "README.md")
    model, x, labels = names["model"], names["x"], names["labels"]
    start = model.init(names["jax"].random.key(0))
    before, after = (
        lo.softmax_cross_entropy(model.apply(params, x), labels)
        for params in (start, names["params"])
    )
    assert after < 0.8 * before


@pytest.mark.slow
@pytest.mark.parametrize("path", OF_TOOLS, ids=lambda path: path.parent.name)
def test_the_python_of_a_tool_s_readme_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(path, **READERS_OWN)
