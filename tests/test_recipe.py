"""CONTRIBUTING's recipe for an optimizer, followed in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOUND = """
import optax
import lecture_opt as lo
from lecture_opt import check, compare, equals, specs
from lecture_opt.bench.study import optimizers
assert lo.lion.__module__ == "lecture_opt.optimizers.lion" and "lion" in lo.__all__
assert specs.build(specs.parse("lecture:lion"), learning_rate=0.1)
assert equals.beside("lecture:lion") == "optax:lion"
assert "lecture:lion" in compare.DEFAULT_OPTIMIZERS
assert list(optimizers("lecture:lion", [])) == ["lecture:lion", "optax:lion"]
report = check.run(lo.lion(0.1), reference=optax.lion(0.1, weight_decay=0.0))
assert report.ok, report
"""


def recipe():
    """The blocks of the recipe: the file, the export, the pair and the oracle."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text[text.index("## Adding an optimizer") : text.index("## Adding a loss")]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return [textwrap.dedent(block) for block in blocks]


def insert(path, before, text):
    """Puts the text before the first line that begins so."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith(before))
    path.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    for name in ("lecture_opt", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    file, export, pair, oracle = recipe()
    core = folder / "lecture_opt"
    (core / "optimizers" / "lion.py").write_text(file, encoding="utf-8")
    insert(core / "optimizers" / "__init__.py", "from lecture_opt.optimizers.momentum", export)
    insert(core / "optimizers" / "__init__.py", '    "MomentumState"', '    "LionState",\n')
    insert(core / "optimizers" / "__init__.py", '    "lookahead"', '    "lion",\n')
    insert(core / "equals.py", "    # In float32", f"    {pair.strip()},\n")
    insert(folder / "tests" / "optimizers" / "reference.py", "SLIDES", f"{oracle}\n\n")
    return folder


def run_in(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_the_new_optimizer_is_in_every_registry(copy):
    run_in(copy, "-c", FOUND)


@pytest.mark.slow
def test_its_tests_and_those_of_the_house_pass(copy):
    formulas = "tests/optimizers/test_optimizers_formulas.py"
    contract = "tests/optimizers/test_optimizers_contract.py"
    libraries = "tests/optimizers/test_optimizers_integration.py"
    file = "lecture_opt/optimizers/lion.py"
    run_in(copy, "-m", "pytest", "-q", "-k", "lion", formulas, contract, libraries, file)
    run_in(copy, "-m", "pytest", "-q", "tests/test_equals.py", "tests/test_layers.py")
