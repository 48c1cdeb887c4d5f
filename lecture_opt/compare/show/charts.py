"""The comparison's charts as plain data: what the figures and the page draw, and the tests read.

    for chart in charts(study):
        chart.kind, chart.task, [series.name for series in chart.series]

Nothing is drawn here. Missing numbers are None, as in the study.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.types import Cell, Curve, Overall, Study, Task


class Axis(NamedTuple):
    """What is along an axis, with its unit.

    Attributes:
        label: Its name.
        log: Whether it starts out logarithmic.
        top: What lies above is drawn at this height: a run about to diverge stretches nothing.
    """

    label: str
    log: bool = False
    top: float | None = None


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


def charts(study: Study) -> list[Chart]:
    """Every chart of a study: those over all tasks first, then task by task."""
    found = list(_overall(study.overall))
    for task in study.tasks:
        found += [
            _loss(task),
            _metric(task),
            _rates(task, study.protocol),
            _budget(task, study.protocol),
            _differences(task, study.protocol),
        ]
    return [chart for chart in found if chart.series]


def _overall(overall: Overall) -> Iterator[Chart]:
    if profiles := overall.profiles:
        yield Chart(
            "profiles",
            None,
            "performance profiles",
            Axis("steps to target / those of the quickest", log=True),
            Axis("share of (task, seed) pairs solved"),
            [
                Series(name, profiles.ratio, shares)
                for name, shares in sorted(profiles.shares.items())
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
            [_point(name, rank) for name, rank in sorted(ranks.mean.items())],
            line=ranks.critical_difference,
            line_label="critical difference",
            groups=ranks.groups,
            caption="Bars join optimizers whose ranks the critical difference (Nemenyi) does not "
            f"separate. Friedman's test over all: p = {_p(ranks.friedman_p)}.",
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
    return Chart(
        "loss",
        task.name,
        "loss against step",
        Axis("optimizer steps"),
        Axis("training loss", log=True, top=_loss_top(task)),
        _curves(task, lambda cell: cell.loss),
        caption="Median over the reporting seeds; the band holds the middle half of them.",
    )


def _metric(task: Task) -> Chart:
    return Chart(
        "metric",
        task.name,
        f"validation {task.metric} against step",
        Axis("optimizer steps"),
        _metric_axis(task),
        _curves(task, lambda cell: cell.validation),
        line=task.target.value,
        line_label=f"target ({task.target.source})",
        caption="Median over the reporting seeds; the band holds the middle half of them.",
    )


def _rates(task: Task, protocol: Protocol) -> Chart:
    return Chart(
        "rates",
        task.name,
        f"validation {task.metric} against learning rate",
        Axis("learning rate", log=True),
        _metric_axis(task),
        [_rate_series(cell) for cell in _cells(task) if _any(cell.tuning.validation.mean)],
        caption=f"Mean over {len(protocol.tuning_seeds)} tuning seeds after the last step; the "
        "band holds their middle half. Points that no line joins differ in more than the rate.",
    )


def _rate_series(cell: Cell) -> Series:
    draws, values = cell.tuning.draws, cell.tuning.validation
    return Series(
        cell.optimizer,
        draws["learning_rate"],
        values.mean,
        values.low,
        values.high,
        joined=len(draws) == 1,
        notes=_settings(draws),
    )


def _budget(task: Task, protocol: Protocol) -> Chart:
    found = ((cell.optimizer, cell.budget) for cell in _cells(task))
    return Chart(
        "budget",
        task.name,
        "result against tuning budget",
        Axis("settings tried"),
        _metric_axis(task),
        [
            Series(name, one.draws, one.validation.mean, one.validation.low, one.validation.high)
            for name, one in found
            if _any(one.validation.mean)
        ],
        caption="The best of so many settings: mean and middle half of the first "
        f"{protocol.draws - protocol.refined} in random order, then with those around the best.",
    )


def _differences(task: Task, protocol: Protocol) -> Chart:
    gains = ((cell.optimizer, cell.gain) for cell in _cells(task))
    return Chart(
        "differences",
        task.name,
        f"difference from {protocol.baseline}",
        Axis(f"gain in test {task.metric}"),
        Axis("optimizer"),
        [
            _point(name, g.mean, (g.low, g.high), f"{g.verdict}, p = {_p(g.p_holm)}")
            for name, g in gains
            if g is not None and np.isfinite(g.mean)
        ],
        line=0.0,
        line_label=protocol.baseline,
        caption=f"Mean over seeds, each against {protocol.baseline} with the same seed, and its "
        f"{protocol.level:.0%} interval; right of zero is better. p: of no gain, "
        "whenever one looks, with Holm's correction.",
    )


def _cells(task: Task) -> list[Cell]:
    return sorted(task.cells, key=lambda cell: cell.optimizer)


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


def _metric_axis(task: Task) -> Axis:
    """Errors are logarithmic: a rate too high makes them thousands of times as large."""
    better = "higher" if task.higher_is_better else "lower"
    label = f"validation {task.metric} ({better} is better)"
    untrained = task.untrained["validation"]
    top = None if task.higher_is_better or untrained <= 0 else 2 * untrained
    return Axis(label, log=not task.higher_is_better, top=top)


def _loss_top(task: Task) -> float | None:
    """Ten times what half of the optimizers have after the first evaluation."""
    first = np.array([cell.loss.median[0] for cell in task.cells])
    middle = float(np.median(first[np.isfinite(first)])) if np.isfinite(first).any() else 0.0
    return 10 * middle if middle > 0 else None


def _settings(draws: Mapping[str, np.ndarray]) -> list[str] | None:
    """Every draw in words, where more than the rate is drawn."""
    if len(draws) == 1:
        return None
    others = {name: values for name, values in draws.items() if name != "learning_rate"}
    return [
        ", ".join(f"{name} {value:.4g}" for name, value in zip(others, row, strict=True))
        for row in zip(*others.values(), strict=True)
    ]


def _p(value: float) -> str:
    return f"{value:.2g}" if np.isfinite(value) else "–"
