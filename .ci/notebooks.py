"""Writes the lecture's scripts as notebooks into `examples/notebooks`: `python .ci/notebooks.py`.

The second cell installs the library where it is missing, as in Colab.
"""

from pathlib import Path

import jupytext
import nbformat

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = (
    "adam_dissected",
    "backprop_by_hand",
    "gradient_descent",
    "learning_rate_dilemma",
    "likelihood_to_loss",
    "momentum_and_nesterov",
    "sparse_features",
    "your_own_optimizer",
)
INSTALL = """\
# Installs lecture_opt if it is missing: from the repository around this notebook, or by its name.
# In Colab, first fetch the repository and go there: !git clone ADDRESS; %cd lecture_opt/examples
import importlib.util
from pathlib import Path

if importlib.util.find_spec("lecture_opt") is None:
    around = [path for path in Path.cwd().resolve().parents if (path / "lecture_opt").is_dir()]
    source = f"{around[0]}[judge]" if around else "lecture_opt[judge]"
    %pip install --quiet "{source}"
"""


def notebook(name: str) -> str:
    """The notebook of a script, as text: the same cells, with the one that installs."""
    made = jupytext.read(EXAMPLES / f"{name}.py")
    made.metadata = {"kernelspec": dict(made.metadata["kernelspec"])}
    made.cells.insert(1, nbformat.v4.new_code_cell(INSTALL.rstrip()))
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"  # a random one would differ from run to run
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    folder = EXAMPLES / "notebooks"
    folder.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        (folder / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")
