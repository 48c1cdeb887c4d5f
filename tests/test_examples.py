"""The examples in percent format open as notebooks: text and code in turn, nothing lost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="jupytext is in the extra docs")

FOLDER = Path(__file__).parent.parent / "examples"
NOTEBOOKS = (
    "adam_dissected",
    "backprop_by_hand",
    "learning_rate_dilemma",
    "likelihood_to_loss",
    "momentum_and_nesterov",
    "sparse_features",
    "your_own_optimizer",
)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_opens_as_a_notebook(name):
    path = FOLDER / f"{name}.py"
    notebook = jupytext.read(path)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") >= 3
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_pictures_are_saved_only_where_asked(tmp_path):
    script = FOLDER / "adam_dissected.py"
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())
    subprocess.run([sys.executable, script, tmp_path], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["adam.png"]
