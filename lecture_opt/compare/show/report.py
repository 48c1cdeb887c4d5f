"""Everything that people see of a comparison, from its results file alone.

report.write(results.read(Path("results/results.json")), Path("results"))
"""

from pathlib import Path
from typing import Any

from lecture_opt.compare.results import plain
from lecture_opt.compare.results.types import Study
from lecture_opt.compare.show import charts, figures, long_table, terminal
from lecture_opt.compare.show.latex import latex
from lecture_opt.compare.show.rows import COLUMNS, DETAILS, is_own, number, rows
from lecture_opt.pages.render import render
from lecture_opt.pages.styles import styles


def write(study: Study, folder: Path) -> list[Path]:
    """Writes report.html, figures/, runs.csv, curves.csv and tables.tex; returns the paths.

    The same results give the same bytes.

    Args:
        study: As `compare.read` gives it.
        folder: Made if need be; what is there under these names is replaced.

    Raises:
        OSError: The folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = charts.charts(study)
    page, table = folder / "report.html", folder / "tables.tex"
    page.write_text(html(study, found), encoding="utf-8")
    table.write_text(latex(study), encoding="utf-8")
    return [
        page,
        *figures.draw(found, folder / "figures"),
        *long_table.write(study, folder),
        table,
    ]


def html(study: Study, found: list[charts.Chart]) -> str:
    """The report as one page that asks the network for nothing."""
    names = sorted(optimizer.name for optimizer in study.optimizers)
    look = styles(names)
    numbered = list(enumerate(found))
    return render(
        "lecture_opt.compare.show",
        "report.html",
        scripts=["scales.js", "charts.js", "report.js"],
        styles=["report.css"],
        data={
            "optimizers": [
                {"name": name, "style": look[name]._asdict(), "own": is_own(name)} for name in names
            ],
            "charts": _short(plain(found)),
        },
        title="Comparison of optimizers",
        study=study,
        number=number,
        columns=COLUMNS,
        details=DETAILS,
        is_own=is_own,
        overall=[pair for pair in numbered if pair[1].task is None],
        tasks=[
            {
                "task": task,
                "rows": rows(task),
                "sentences": terminal.sentences(task, study.protocol),
                "charts": [pair for pair in numbered if pair[1].task == task.name],
            }
            for task in study.tasks
        ],
    )


def _short(value: Any) -> Any:
    """The numbers in six digits, which no picture is finer than: the page is half as long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value
