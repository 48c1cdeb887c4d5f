"""The comparison's charts as plain data: what the figures and the page draw, and the tests read.

    for chart in charts(study):
        chart.kind, chart.task, [series.name for series in chart.series]

Nothing is drawn here. Missing numbers are NaN, as in the study.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.types import Cell, Curve, Overall, Spread, Study, Task
from lecture_opt.compare.show.axes import Axis, coinciding, gain_axis, loss_axis, metric_axis
from lecture_opt.compare.show.rows import compared, number
from lecture_opt.pages.styles import users_first


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
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
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
        series: One for each optimizer that has any number: the user's own, then by name;
            "differences": best first.
        line: A value to compare with, along y ("differences": along x), or None.
        line_label: What it is.
        groups: "ranks": names that are not told apart.
        coinciding: Names whose lines lie on each other: one line with all their names.
        margin: "differences": less than this does not matter.
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
    coinciding: Sequence[Sequence[str]] = ()
    margin: float | None = None
    caption: str = ""


def charts(study: Study) -> list[Chart]:
    """Every chart of a study: those over all tasks first, then task by task."""
    found = list(_overall(study.overall))
    for task in study.tasks:
        found += [
            _differences(task, study.protocol),
            _loss(task),
            _metric(task),
            _rates(task, study.protocol),
            _budget(task, study.protocol),
        ]
    return [_joined(chart) for chart in found if chart.series]


def _joined(chart: Chart) -> Chart:
    """With the names of the lines that lie on each other."""
    if chart.kind in ("differences", "ranks"):
        return chart
    lines = [(one.name, one.x, one.y) for one in chart.series if one.joined]
    return chart._replace(coinciding=coinciding(lines, chart.y))


def _overall(overall: Overall) -> Iterator[Chart]:
    profiles = overall.profiles
    if profiles is not None and len(profiles.ratio) > 1:
        yield Chart(
            "profiles",
            None,
            "performance profiles",
            Axis("steps to target / those of the quickest", "log"),
            Axis("share of (task, seed) pairs solved", low=0.0, high=1.0),
            [
                Series(name, profiles.ratio, profiles.shares[name])
                for name in users_first(profiles.shares)
            ],
            caption="Higher is better: at 1, how often an optimizer was the quickest; to the right,"
            " how often it got there at all (Dolan and Moré, 2002).",
        )
    if ranks := overall.ranks:
        yield Chart(
            "ranks",
            None,
            "mean ranks",
            Axis(f"mean rank over {ranks.tasks} tasks (1 is best)"),
            Axis("optimizer"),
            [_point(name, ranks.mean[name]) for name in users_first(ranks.mean)],
            line=ranks.critical_difference,
            line_label="critical difference",
            groups=ranks.groups,
            caption="Bars join optimizers whose ranks the critical difference (Nemenyi) does not "
            f"separate. Friedman's test over all: p = {number(ranks.friedman_p, 2)}.",
        )


def _point(
    name: str, x: float, ends: tuple[float, float] | None = None, note: str | None = None
) -> Series:
    """One number along x."""
    low, high = (None, None) if ends is None else (np.array([end]) for end in ends)
    notes = None if note is None else [note]
    return Series(name, np.array([x]), np.array([np.nan]), low, high, notes=notes)


def _curves(task: Task, curve: Callable[[Cell], Curve]) -> list[Series]:
    found = ((cell.optimizer, curve(cell)) for cell in _cells(task))
    return [
        Series(name, task.steps, one.median, one.low, one.high)
        for name, one in found
        if _any(one.median)
    ]


def _loss(task: Task) -> Chart:
    lines = _curves(task, lambda cell: cell.loss)
    return Chart(
        "loss",
        task.name,
        "loss against step",
        Axis("optimizer steps"),
        loss_axis(_columns(lines), [one.y[0] for one in lines]),
        lines,
        caption=_BAND + _gone(task, lambda cell: cell.loss),
    )


def _metric(task: Task) -> Chart:
    lines = _curves(task, lambda cell: cell.validation)
    return Chart(
        "metric",
        task.name,
        f"validation {task.metric} against step",
        Axis("optimizer steps"),
        metric_axis(task, _columns(lines)),
        lines,
        line=task.target.value,
        line_label="target",
        caption=_BAND + _gone(task, lambda cell: cell.validation),
    )


def _gone(task: Task, curve: Callable[[Cell], Curve]) -> str:
    """Whose line does not go to the end."""
    names = [c.optimizer for c in _cells(task) if not np.isfinite(curve(c).median[-1])]
    return f" Diverged, so no line to the end: {', '.join(names)}." if names else ""


def _rates(task: Task, protocol: Protocol) -> Chart:
    found = [_rate_series(c) for c in _cells(task) if _any(c.tuning.validation.mean)]
    apart = " Points that no line joins differ in more than the rate."
    return Chart(
        "rates",
        task.name,
        f"validation {task.metric} against learning rate",
        Axis("learning rate", "log"),
        metric_axis(task, _columns(found)),
        found,
        line=task.untrained["validation"],
        line_label="untrained",
        caption=f"Mean over {len(protocol.tuning_seeds)} tuning seeds, each run at its "
        f"{protocol.choose} evaluation; the band holds their middle half. A line leaves the frame "
        "where the rate makes it worse than untrained, and ends where runs diverge."
        f"{'' if all(s.joined for s in found) else apart}",
    )


def _rate_series(cell: Cell) -> Series:
    draws = cell.tuning.draws
    series = _spread(cell.optimizer, draws["learning_rate"], cell.tuning.validation)
    return series._replace(joined=len(draws) == 1, notes=_settings(draws))


def _budget(task: Task, protocol: Protocol) -> Chart:
    cells = [cell for cell in _cells(task) if _any(cell.budget.validation.mean)]
    found = [_spread(cell.optimizer, cell.budget.draws, cell.budget.validation) for cell in cells]
    return Chart(
        "budget",
        task.name,
        "result against tuning budget",
        Axis("settings tried"),
        metric_axis(task, [one.y for one in found]),
        found,
        caption="The best of so many settings: mean and middle half of the first "
        f"{protocol.draws - protocol.refined} in random order, then with those around the best. "
        "All settings of an optimizer whose constructor takes no tracer are in random order.",
    )


def _spread(name: str, x: np.ndarray, y: Spread) -> Series:
    return Series(name, x, y.mean, y.low, y.high)


def _differences(task: Task, protocol: Protocol) -> Chart:
    gains = [
        (cell.optimizer, cell.gain)
        for cell in task.cells
        if cell.gain is not None and np.isfinite(cell.gain.mean) and compared(task)
    ]
    left = {cell.optimizer for cell in task.cells if cell.diverged.reporting < protocol.seeds}
    ends = [np.nan_to_num([g.mean, g.low, g.high]) for name, g in gains if name in left]
    label = f"gain in test {task.metric}"
    margin = task.margin.value if np.isfinite(task.margin.value) else None
    return Chart(
        "differences",
        task.name,
        f"difference from {protocol.baseline}",
        gain_axis(label, [np.nan_to_num(one) for one in ends], task.margin.value)
        if ends
        else Axis(label),
        Axis("optimizer"),
        [
            _point(name, g.mean, (g.low, g.high), f"{g.verdict}, p = {number(g.p_holm, 2)}")
            for name, g in gains
        ],
        line=0.0,
        line_label=protocol.baseline,
        margin=margin,
        caption=f"Mean over seeds, each against {protocol.baseline} with the same seed, and its "
        f"{protocol.level:.0%} interval; right of zero is better"
        f"{'' if margin is None else ', the shade holds what does not matter'}. "
        "An arrow: beyond the frame.",
    )


_BAND = "Median over the reporting seeds; the band holds the middle half of them."


def _cells(task: Task) -> list[Cell]:
    cells = {cell.optimizer: cell for cell in task.cells}
    return [cells[name] for name in users_first(cells)]


def _columns(found: Sequence[Series]) -> list[np.ndarray]:
    """Every number along y, those of the bands included."""
    return [column for one in found for column in (one.y, one.low, one.high) if column is not None]


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


def _settings(draws: Mapping[str, np.ndarray]) -> list[str] | None:
    """Every draw in words, where more than the rate is drawn."""
    if len(draws) == 1:
        return None
    others = {name: values for name, values in draws.items() if name != "learning_rate"}
    return [
        ", ".join(f"{name} {value:.4g}" for name, value in zip(others, row, strict=True))
        for row in zip(*others.values(), strict=True)
    ]
