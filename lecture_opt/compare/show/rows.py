"""A task's results as rows of plain entries: the one model behind terminal, page and LaTeX."""

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.results.measured import Failure
from lecture_opt.compare.results.types import Cell, Estimate, Median, Task

COLUMNS = {
    "rank": "1 is best; equals share the better rank",
    "optimizer": "",
    "verdict": "against the baseline",
    "gain": "better than the baseline by, seed by seed",
    "gain interval": "of that difference, the choice of the settings included",
    "p": "of no gain, whenever one looks, with Holm's correction",
    "test": "mean over the reporting seeds",
    "interval": "of that mean",
    "setting": "chosen on the tuning seeds; ! on the edge of what was searched",
    "steps to target": "median and its interval; a run that never got there counts as the slowest",
}
DETAILS = {
    "optimizer": "",
    "reached": "runs that got to the target",
    "loss area": "training loss averaged over all steps",
    "seconds to target": "median and its interval, on this device",
    "working rates": "decades of learning rates within 5 % of the best",
    "a tenth of the rate": "costs so much of the validation metric",
    "ten times the rate": "costs so much of the validation metric",
    "diverged": "share of the tuning runs",
    "step": "microseconds for one step of one run, in the batch of all, while nothing else goes on",
    "compile": "seconds",
    "state": "bytes of the optimizer's state, for one run",
}
"""The columns of the table and of its details, and what each says."""


class Entry(NamedTuple):
    """What is shown, and what is sorted by; `None` sorts last."""

    text: str
    value: float | str | None


Row = Mapping[str, Entry]


def columns(found: Mapping[str, str], cells: int) -> dict[str, str]:
    """Those that say something: an optimizer alone has no rank and no verdict."""
    versus = ("rank", "verdict", "gain", "gain interval", "p")
    return {name: says for name, says in found.items() if cells > 1 or name not in versus}


def diverged(cell: Cell) -> bool:
    """Whether no run of it was left, at whatever setting."""
    return cell.diverged.tuning == 1 and cell.diverged.reporting == len(cell.test.values)


def compared(task: Task) -> bool:
    """Whether anything was measured against a baseline."""
    measured = len(task.cells) > 1 and not all(diverged(cell) for cell in task.cells)
    return measured and task.margin.source != "none"


def rows(task: Task) -> list[Row]:
    """A row for each optimizer, best first, then those that failed: column to entry."""
    has_baseline, told = task.margin.source != "none", compared(task)
    found = [_row(cell, has_baseline, told) for cell in task.cells]
    return found + [_failed(one) for one in task.failures]


def number(value: float, digits: int = 4) -> str:
    """A number in a few digits, an en dash for NaN.

    >>> number(0.97251), number(12345678.0), number(float("nan"))
    ('0.9725', '1.235e+07', '–')
    """
    return f"{value:.{digits}g}" if np.isfinite(value) else "–"


def setting(hyperparameters: Mapping[str, float], on_edge: Sequence[str] = ()) -> str:
    """The chosen hyperparameters: the rate alone, or each with its name.

    >>> setting({"learning_rate": 0.01}), setting({"learning_rate": 0.01, "b1": 0.9}, ["b1"])
    ('0.01', 'learning_rate=0.01, b1=0.9!')
    """
    shown = {
        name: f"{number(value, 3)}{'!' if name in on_edge else ''}"
        for name, value in hyperparameters.items()
    }
    if list(shown) == ["learning_rate"]:
        return shown["learning_rate"]
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def median(time: Median, show: Callable[[float], str]) -> Entry:
    """The median of times and its interval.

    >>> median(Median(20.0, 10.0, np.inf), "{:.0f}".format).text
    '20 (10 to never)'
    """
    if not np.isfinite(time.median):
        return Entry("never", None)
    low, high = (
        show(end) if np.isfinite(end) else word
        for end, word in ((time.low, "–"), (time.high, "never"))
    )
    return Entry(f"{show(time.median)} ({low} to {high})", time.median)


def _failed(one: Failure) -> Row:
    """The reason stands where the setting would."""
    missing = dict.fromkeys((*COLUMNS, *DETAILS), Entry("–", None))
    why = Entry(shorten(f"failed: {one.why}", 60, placeholder=" …"), None)
    name, verdict = Entry(one.optimizer, one.optimizer), Entry("failed", "failed")
    return {**missing, "optimizer": name, "verdict": verdict, "setting": why}


def _row(cell: Cell, has_baseline: bool, told: bool) -> Row:
    gain, lost = cell.gain if told else None, cell.diverged.tuning
    by = gain or Estimate(math.nan, math.nan, math.nan)
    alone = "baseline" if has_baseline else "–"
    verdict = "diverged" if diverged(cell) else alone if gain is None else gain.verdict
    reached = cell.steps_to_target.reached
    return {
        "rank": Entry(str(cell.rank), cell.rank),
        "optimizer": Entry(cell.optimizer, cell.optimizer),
        "setting": Entry("diverged", None)
        if diverged(cell)
        else Entry(
            setting(cell.hyperparameters, cell.on_edge), cell.hyperparameters["learning_rate"]
        ),
        "test": _plain(cell.test.mean),
        "interval": _interval(cell.test),
        "gain": _signed(by.mean),
        "gain interval": _interval(by, 2),
        "p": _plain(gain.p_holm if gain else math.nan, 2),
        "verdict": Entry(verdict, verdict),
        "steps to target": median(cell.steps_to_target, "{:.0f}".format),
        "reached": Entry(f"{reached} of {len(cell.test.values)}", reached),
        "loss area": _plain(cell.loss_area.mean),
        "seconds to target": median(cell.cost.seconds_to_target, lambda x: number(x, 2)),
        "a tenth of the rate": _plain(cell.wrong_rate.tenth.mean, 2),
        "ten times the rate": _plain(cell.wrong_rate.tenfold.mean, 2),
        "working rates": _plain(cell.working_range.decades, 2),
        "diverged": Entry(f"{lost:.0%}", lost),
        "step": _plain(1e6 * cell.cost.step_seconds, 3),
        "compile": _plain(cell.cost.compile_seconds, 2),
        "state": Entry(str(cell.cost.state_bytes), cell.cost.state_bytes),
    }


def _plain(value: float, digits: int = 4) -> Entry:
    return Entry(number(value, digits), value if np.isfinite(value) else None)


def _interval(estimate: Estimate, digits: int = 4) -> Entry:
    if not np.isfinite([estimate.low, estimate.high]).any():
        return Entry("–", None)
    ends = number(estimate.low, digits), number(estimate.high, digits)
    return Entry(" to ".join(ends), estimate.low)


def _signed(value: float) -> Entry:
    """With its sign; what float32 makes of equal numbers is 0."""
    if not np.isfinite(value):
        return Entry("–", None)
    return Entry("0" if abs(value) < 1e-7 else f"{value:+.2g}", value)
