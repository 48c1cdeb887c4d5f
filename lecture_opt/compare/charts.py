"""The comparison's charts as plain data: what the figures and the page draw, and the tests read.

    for chart in charts(results):
        chart.kind, chart.task, [series.name for series in chart.series]

Nothing is drawn here. Missing numbers are None, as in the results.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Numbers = Sequence[float | None]


class Axis(NamedTuple):
    """What is along an axis, with its unit; whether it starts out logarithmic."""

    label: str
    log: bool = False


class Series(NamedTuple):
    """One optimizer's points, with the ends of an interval where there is one.

    Attributes:
        name: Of the optimizer.
        x, y: The points.
        low, high: The band around y, or None.
        joined: Whether a line goes through the points.
        notes: A few words for each point, or None.
    """

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    joined: bool = True
    notes: Sequence[str] | None = None


class Chart(NamedTuple):
    """A chart; what `kind` it is says how its series are drawn.

    Attributes:
        kind: "loss", "metric", "rates", "budget", "profiles" (lines), "differences" (a row for each
            series: one point with its interval, along x), "ranks" (one point for each series, along
            x).
        task: Name of the task, or None for a chart over all of them.
        title: A few words.
        x, y: The axes.
        series: One for each optimizer that has any number, in the order of their names.
        line: A value to compare with, along y ("differences": along x), or None.
        line_label: What it is.
        groups: "ranks": names that are not told apart.
        caption: How to read it.
    """

    kind: str
    task: str | None
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    line: float | None = None
    line_label: str = ""
    groups: Sequence[Sequence[str]] = ()
    caption: str = ""


def charts(results: Mapping[str, Any]) -> list[Chart]:
    """Every chart of a results file of format 2: those over all tasks first, then task by task."""
    found = list(_overall(results))
    for task in results["tasks"]:
        found += [
            _loss(task),
            _metric(task),
            _rates(task, results["protocol"]),
            _budget(task, results["protocol"]),
            _differences(task, results["protocol"]),
        ]
    return [chart for chart in found if chart.series]


def _overall(results: Mapping[str, Any]) -> Iterator[Chart]:
    overall = results["overall"] or {}
    if profiles := overall.get("profiles"):
        yield Chart(
            "profiles",
            None,
            "performance profiles",
            Axis("steps to target / those of the quickest", log=True),
            Axis("share of (task, seed) pairs solved"),
            [
                Series(name, profiles["ratio"], shares)
                for name, shares in sorted(profiles["shares"].items())
            ],
            caption="Higher is better: at 1, how often an optimizer was the quickest; to the right,"
            " how often it got there at all (Dolan and Moré, 2002).",
        )
    if ranks := overall.get("ranks"):
        yield Chart(
            "ranks",
            None,
            "mean ranks",
            Axis(f"mean rank over {ranks['tasks']} tasks (1 is best)"),
            Axis("optimizer"),
            [Series(name, [rank], [None]) for name, rank in sorted(ranks["mean"].items())],
            line=ranks["critical_difference"],
            line_label="critical difference",
            groups=ranks["groups"],
            caption="Bars join optimizers whose ranks the critical difference (Nemenyi) does not "
            f"separate. Friedman's test over all: p = {_p(ranks['friedman_p'])}.",
        )


def _curves(task: Mapping[str, Any], key: str) -> list[Series]:
    return [
        Series(
            cell["optimizer"],
            task["steps"],
            cell[key]["median"],
            cell[key]["low"],
            cell[key]["high"],
        )
        for cell in _cells(task)
        if any(value is not None for value in cell[key]["median"])
    ]


def _loss(task: Mapping[str, Any]) -> Chart:
    return Chart(
        "loss",
        task["name"],
        "loss against step",
        Axis("optimizer steps"),
        Axis("training loss", log=True),
        _curves(task, "loss"),
        caption="Median over the reporting seeds; the band holds the middle half of them.",
    )


def _metric(task: Mapping[str, Any]) -> Chart:
    return Chart(
        "metric",
        task["name"],
        f"validation {task['metric']} against step",
        Axis("optimizer steps"),
        _metric_axis(task),
        _curves(task, "validation"),
        line=task["target"]["value"],
        line_label=f"target ({task['target']['source']})",
        caption="Median over the reporting seeds; the band holds the middle half of them.",
    )


def _rates(task: Mapping[str, Any], protocol: Mapping[str, Any]) -> Chart:
    series = []
    for cell in _cells(task):
        draws, values = cell["tuning"]["draws"], cell["tuning"]["validation"]
        if any(value is not None for value in values["mean"]):
            series.append(
                Series(
                    cell["optimizer"],
                    draws["learning_rate"],
                    values["mean"],
                    values["low"],
                    values["high"],
                    joined=len(draws) == 1,
                    notes=_settings(draws),
                )
            )
    return Chart(
        "rates",
        task["name"],
        f"validation {task['metric']} against learning rate",
        Axis("learning rate", log=True),
        _metric_axis(task),
        series,
        caption=f"Mean over {len(protocol['tuning_seeds'])} tuning seeds after the last step; the "
        "band holds their middle half. Points that no line joins differ in more than the rate.",
    )


def _budget(task: Mapping[str, Any], protocol: Mapping[str, Any]) -> Chart:
    return Chart(
        "budget",
        task["name"],
        "result against tuning budget",
        Axis("settings tried"),
        _metric_axis(task),
        [
            Series(
                cell["optimizer"],
                cell["budget"]["draws"],
                cell["budget"]["validation"]["mean"],
                cell["budget"]["validation"]["low"],
                cell["budget"]["validation"]["high"],
            )
            for cell in _cells(task)
            if any(value is not None for value in cell["budget"]["validation"]["mean"])
        ],
        caption=f"The best of so many settings, taken at random from the {protocol['draws']} tried:"
        " mean, and the middle half.",
    )


def _differences(task: Mapping[str, Any], protocol: Mapping[str, Any]) -> Chart:
    baseline = protocol["baseline"]
    rows = [cell for cell in _cells(task) if cell["gain"] and cell["gain"]["mean"] is not None]
    return Chart(
        "differences",
        task["name"],
        f"difference from {baseline}",
        Axis(f"gain in test {task['metric']}"),
        Axis("optimizer"),
        [
            Series(
                cell["optimizer"],
                [cell["gain"]["mean"]],
                [None],
                [cell["gain"]["low"]],
                [cell["gain"]["high"]],
                notes=[f"{cell['gain']['verdict']}, p = {_p(cell['gain']['p_holm'])}"],
            )
            for cell in rows
        ],
        line=0.0,
        line_label=baseline,
        caption=f"Mean over seeds, each against {baseline} with the same seed, and its "
        f"{protocol['level']:.0%} interval; right of zero is better. p: exact paired permutation "
        "test, with Holm's correction.",
    )


def _cells(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(task["cells"], key=lambda cell: cell["optimizer"])


def _metric_axis(task: Mapping[str, Any]) -> Axis:
    """Errors are logarithmic: a rate too high makes them thousands of times as large."""
    better = "higher" if task["higher_is_better"] else "lower"
    label = f"validation {task['metric']} ({better} is better)"
    return Axis(label, log=not task["higher_is_better"])


def _settings(draws: Mapping[str, Sequence[Any]]) -> list[str] | None:
    """Every draw in words, where more than the rate is drawn."""
    if len(draws) == 1:
        return None
    others = {name: values for name, values in draws.items() if name != "learning_rate"}
    return [
        ", ".join(f"{name} {_number(value)}" for name, value in zip(others, row, strict=True))
        for row in zip(*others.values(), strict=True)
    ]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _p(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"
