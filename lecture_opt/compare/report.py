"""Everything that people see of a comparison, from its results file alone.

report.write(json.loads(Path("results/results.json").read_text()), Path("results"))
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lecture_opt import pages
from lecture_opt.compare import charts, figures, long_table, summary
from lecture_opt.pages.styles import styles


def write(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes report.html, figures/, runs.csv, curves.csv and tables.tex; returns the paths.

    The same results give the same bytes.

    Args:
        results: Of format 2, as `results.json` holds it (see README.md beside this file).
        folder: Made if need be; what is there under these names is replaced.

    Raises:
        ValueError: The results are of another format.
        OSError: The folder can't be written.
    """
    if results.get("format") != 2:
        raise ValueError(f"report.write: results have format {results.get('format')!r}; wanted 2")
    folder.mkdir(parents=True, exist_ok=True)
    found = charts.charts(results)
    page, table = folder / "report.html", folder / "tables.tex"
    page.write_text(html(results, found), encoding="utf-8")
    table.write_text(summary.latex(results), encoding="utf-8")
    return [
        page,
        *figures.draw(found, folder / "figures"),
        *long_table.write(results, folder),
        table,
    ]


def html(results: Mapping[str, Any], found: list[charts.Chart]) -> str:
    """The report as one page that asks the network for nothing."""
    names = sorted(optimizer["name"] for optimizer in results["optimizers"])
    look = styles(names)
    seeds = len(results["protocol"]["reporting_seeds"])
    numbered = list(enumerate(found))
    return pages.render(
        "lecture_opt.compare",
        "report.html",
        scripts=["scales.js", "charts.js", "report.js"],
        styles=["report.css"],
        data={
            "optimizers": [{"name": name, "style": look[name]._asdict()} for name in names],
            "charts": _short([_plain(chart) for chart in found]),
        },
        title="Comparison of optimizers",
        results=results,
        columns=summary.COLUMNS,
        overall=[pair for pair in numbered if pair[1].task is None],
        tasks=[
            {
                "task": task,
                "rows": summary.rows(task, seeds),
                "charts": [pair for pair in numbered if pair[1].task == task["name"]],
            }
            for task in results["tasks"]
        ],
    )


def _plain(chart: charts.Chart) -> dict[str, Any]:
    return {
        **chart._asdict(),
        "x": chart.x._asdict(),
        "y": chart.y._asdict(),
        "series": [series._asdict() for series in chart.series],
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
