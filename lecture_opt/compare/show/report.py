"""Everything that people see of a comparison, from its results file alone.

report.write(results.read(Path("results/results.json")), Path("results"))
"""

from pathlib import Path
from typing import Any

from lecture_opt import files
from lecture_opt.compare.results.types import Study, Task
from lecture_opt.compare.show import captions, charts, figures, long_table, terminal
from lecture_opt.compare.show.answers import answers
from lecture_opt.compare.show.latex import latex
from lecture_opt.compare.show.rows import COLUMNS, DETAILS, columns, number, rows
from lecture_opt.pages.render import render
from lecture_opt.pages.styles import is_users, labels, styles, users_first

MARKS = {"better": "▲", "worse": "▼", "equivalent": "≈", "undecided": "?"}
MARKS |= {"diverged": "✕", "failed": "✕"}
"""A sign for each verdict, for those who see no colour."""


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
        *figures.draw(study, found, folder / "figures"),
        *long_table.write(study, folder),
        table,
    ]


def html(study: Study, found: list[charts.Chart]) -> str:
    """The report as one page that asks the network for nothing."""
    names = users_first(optimizer.name for optimizer in study.optimizers)
    look, labelled = styles(names), labels(names)
    numbered = list(enumerate(found))
    given = answers(study)
    return render(
        "lecture_opt.compare.show",
        "report.html",
        scripts=["scales.js", "charts.js", "report.js"],
        styles=["report.css"],
        data={
            "optimizers": [
                {"name": name, "label": labelled[name], "own": is_users(name)}
                | {"style": look[name]._asdict()}
                for name in names
            ],
            "charts": _short(files.plain(found)),
        },
        title=_title(study),
        study=study,
        caption=captions.protocol(study),
        number=number,
        marks=MARKS,
        columns=columns(COLUMNS, len(names)),
        details=columns(DETAILS, len(names)),
        is_users=is_users,
        answers=given,
        open=[name for name in given if is_users(name) or len(given) <= 3],
        overall=[pair for pair in numbered if pair[1].task is None],
        tasks=[
            _task(task, study, [pair for pair in numbered if pair[1].task == task.name])
            for task in study.tasks
        ],
    )


def _title(study: Study) -> str:
    """Who against whom, where one optimizer is the user's."""
    names = [optimizer.name for optimizer in study.optimizers]
    own = [name for name in names if is_users(name) and name != study.protocol.baseline]
    if len(names) == 1:
        return names[0]
    if len(own) == 1:
        return f"{own[0]} against {study.protocol.baseline}"
    return f"Comparison of {len(names)} optimizers"


def _task(task: Task, study: Study, numbered: list[tuple[int, charts.Chart]]) -> dict[str, Any]:
    return {
        "task": task,
        "rows": rows(task),
        "sentences": terminal.remarks(task, study.protocol),
        "charts": numbered,
    }


def _short(value: Any) -> Any:
    """The numbers in six digits, which no picture is finer than: the page is half as long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value
