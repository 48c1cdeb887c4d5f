"""The axes of the charts: what is along them, how it is spaced, and which part of it is shown."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.results.types import Task


class Axis(NamedTuple):
    """What is along an axis, with its unit.

    Attributes:
        label: Its name.
        scale: "linear", "log", or "error": accuracies, spaced as the logarithm of the error.
        low, high: Ends of what is shown, or None for those of the data. Lines may leave it: a run
            about to diverge stretches nothing.
    """

    label: str
    scale: str = "linear"
    low: float | None = None
    high: float | None = None


def places(values: np.ndarray, scale: str) -> np.ndarray:
    """How far along the axis each value lies, up to a shift and a factor; NaN where it can't.

    >>> [float(one) for one in (places(np.array([0, 0.9, 0.99]), "error") / np.log(10)).round(6)]
    [0.0, 1.0, 2.0]
    """
    values = np.asarray(values, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        spaced = {"log": np.log(values), "error": -np.log1p(-values)}.get(scale, values)
    return np.where(np.isfinite(spaced), spaced, np.nan)


def values(found: np.ndarray, scale: str) -> np.ndarray:
    """The values at these places: the inverse of `places`.

    >>> [float(value) for value in values(np.log([1.0, 10.0]), "error").round(6)]
    [0.0, 0.9]
    """
    found = np.asarray(found, float)
    with np.errstate(over="ignore"):
        return {"log": np.exp(found), "error": -np.expm1(-found)}.get(scale, found)


def metric_axis(task: Task, columns: Sequence[np.ndarray]) -> Axis:
    """Of the validation metric: not much worse than untrained, and spread where it is good.

    Errors are logarithmic, since a rate too high makes them thousands of times as large;
    accuracies near 1 are spaced by their error.
    """
    better = "higher" if task.higher_is_better else "lower"
    label = f"validation {task.metric} ({better} is better)"
    seen = _finite(columns)
    if not seen.size:
        return Axis(label)
    if task.higher_is_better and 0.8 <= seen.max() <= 1 and seen.min() >= 0:
        best = 1 - 0.5 / max(1, task.examples["validation"])  # half an example from all of them
        return Axis(label, "error", min(seen.min(), best), min(seen.max(), best))
    sign = -1.0 if task.higher_is_better else 1.0
    scale = "log" if sign > 0 and seen.min() > 0 else "linear"
    low, high = _ends(sign * seen, task.untrained["validation"] * sign, scale)
    return Axis(label, scale, low, high) if sign > 0 else Axis(label, scale, -high, -low)


def loss_axis(columns: Sequence[np.ndarray], first: Sequence[float]) -> Axis:
    """Of the training loss; `first`: after the first evaluation, of each optimizer."""
    seen, start = _finite(columns), _finite([np.array(first)])
    if not seen.size or not start.size:
        return Axis("training loss")
    scale = "log" if seen.min() >= 0 and seen.max() > 0 else "linear"
    shown = seen[seen > 0] if scale == "log" else seen
    middle = float(np.median(start))
    return Axis("training loss", scale, *_ends(shown, 5 * middle if middle > 0 else middle, scale))


def gain_axis(label: str, ends: Sequence[np.ndarray], margin: float) -> Axis:
    """Of gains: zero and the margin are in it, and intervals up to four times the usual reach."""
    if not ends:
        return Axis(label)
    reaches = np.array([np.abs(pair).max() for pair in ends])
    margin = margin if np.isfinite(margin) else 0.0
    usual = max(4 * float(np.median(reaches)), 2 * margin)
    shown = np.clip([-margin, margin, *np.ravel(ends)], -usual, usual)
    return Axis(label, "linear", float(shown.min()), float(shown.max()))


def coinciding(
    columns: Sequence[tuple[str, np.ndarray, np.ndarray]], axis: Axis
) -> list[list[str]]:
    """Names whose lines lie on each other: nowhere farther apart than half a percent of the axis.

    Args:
        columns: For each line its name, its x and its y.
        axis: Of y; what lies outside of it is not seen, and lines are not told apart there.
    """
    low = -np.inf if axis.low is None else axis.low
    high = np.inf if axis.high is None else axis.high
    placed = [(name, x, places(np.clip(y, low, high), axis.scale)) for name, x, y in columns]
    seen = [bool(np.any((y >= low) & (y <= high))) for _, _, y in columns]
    every = np.concatenate([y for _, _, y in placed]) if placed else np.array([])
    apart = 0.005 * float(np.ptp(every[np.isfinite(every)])) if np.isfinite(every).any() else 0.0
    groups: list[tuple[np.ndarray, np.ndarray, list[str]]] = []
    for inside, (name, x, y) in zip(seen, placed, strict=True):
        for other_x, other_y, names in groups if inside else ():
            if np.array_equal(x, other_x) and _near(y, other_y, apart):
                names.append(name)
                break
        else:
            groups.append((x, y, [name]))
    return [names for _, _, names in groups if len(names) > 1]


def _near(a: np.ndarray, b: np.ndarray, apart: float) -> bool:
    gone = np.isnan(a)
    same = np.array_equal(gone, np.isnan(b))
    return same and bool(np.all(np.abs(a - b)[~gone] <= apart))


def _ends(values: np.ndarray, start: float, scale: str) -> tuple[float, float]:
    """From the best, the lowest, to the worst that is shown: a little beyond the start."""
    best, worst = float(values.min()), float(values.max())
    if not start > best:  # nothing was learned: what is usual counts as the start
        start = max(best, float(np.median(values)))
    beyond = 1.5 * start if scale == "log" else start + 0.25 * (start - best)
    return best, min(worst, beyond)


def _finite(columns: Sequence[np.ndarray]) -> np.ndarray:
    every = np.concatenate([np.ravel(column) for column in columns]) if columns else np.array([])
    return every[np.isfinite(every)]
