"""The lecture's scripts and the notebooks made of them: the same cells, and pictures on demand."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="jupytext is in the extra docs")
nbformat = pytest.importorskip("nbformat", reason="nbformat comes with jupytext")

ROOT = Path(__file__).parent.parent
MAKER = runpy.run_path(str(ROOT / ".ci" / "notebooks.py"))
each = pytest.mark.parametrize("name", MAKER["NOTEBOOKS"])


def cells(name, kind):
    path = ROOT / "examples" / "notebooks" / f"{name}.ipynb"
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@each
def test_the_notebook_is_what_the_script_makes(name):
    written = (ROOT / "examples" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert written == MAKER["notebook"](name), "run: python .ci/notebooks.py"


@each
def test_a_notebook_has_all_code_of_its_script_and_installs_the_library(name):
    install, *code = [cell.source for cell in cells(name, "code")]
    script = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert "%pip install" in install
    assert ast.dump(ast.parse("\n".join(code))) == ast.dump(ast.parse(script))
    assert len(cells(name, "markdown")) >= 3


RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.py"))


def test_every_recipe_is_on_the_page():
    page = (ROOT / "examples" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"(recipes/{path.name})" in page for path in RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_prints_what_it_found(path, tmp_path):
    command = [sys.executable, path]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pictures_are_saved_only_where_asked_and_the_folder_is_made(tmp_path):
    script = ROOT / "examples" / "adam_dissected.py"
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())
    subprocess.run([sys.executable, script, "a/new"], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["adam.png"]
