"""What a reader asks of each optimizer: is it better, by how much, how sure, what would change it.

>>> [answer.verdict for answer in answers(study)["mine.py:opt"]]  # doctest: +SKIP
['better', 'undecided']
"""

import math
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.types import Cell, Gain, Study, Task
from lecture_opt.compare.show.rows import diverged, number
from lecture_opt.pages.styles import users_first


class Answer(NamedTuple):
    """One optimizer against the baseline on one task, in words.

    Attributes:
        task: Its name.
        verdict: "better", "worse", "equivalent", "undecided", "diverged" or "failed".
        by: By how much, in the metric and as a share of the baseline's.
        sure: The interval and p.
        change: What would change the verdict, and what to look at first.
    """

    task: str
    verdict: str
    by: str
    sure: str
    change: str


def answers(study: Study) -> dict[str, list[Answer]]:
    """For every optimizer but the baseline, the user's own first: an answer for each task."""
    found: dict[str, list[Answer]] = {}
    for task in study.tasks:
        for cell in task.cells:
            if cell.gain is not None:
                found.setdefault(cell.optimizer, []).append(
                    _answer(cell, cell.gain, task, study.protocol)
                )
        for one in task.failures:
            why = f"it failed: {one.why}"
            failed = Answer(task.name, "failed", "–", why, "mend it and compare again")
            found.setdefault(one.optimizer, []).append(failed)
    return {name: found[name] for name in users_first(found)}


def _answer(cell: Cell, gain: Gain, task: Task, protocol: Protocol) -> Answer:
    if diverged(cell):
        return Answer(
            task.name,
            "diverged",
            "–",
            "every run diverged",
            "other learning rates, if any: it diverged at each that was tried",
        )
    if not np.any(gain.values) and gain.low == gain.high == 0:
        return Answer(task.name, gain.verdict, "0", "every run is the same", "nothing: same runs")
    (baseline,) = [one for one in task.cells if one.gain is None]
    share = abs(gain.mean / baseline.test.mean) if baseline.test.mean else math.nan
    by = f"{gain.mean:+.2g} in {task.metric}"
    level, p = f"{protocol.level:.0%}", number(gain.p_holm, 2)
    return Answer(
        task.name,
        gain.verdict,
        f"{by} ({share:.1%} of the baseline's {number(baseline.test.mean, 3)})"
        if np.isfinite(share)
        else by,
        f"{level} interval {number(gain.low, 2)} to {number(gain.high, 2)}; p = {p}",
        "; ".join([_turn(gain, task), *_doubts(cell, gain)]),
    )


def _turn(gain: Gain, task: Task) -> str:
    """What turns the verdict into another."""
    reach, margin = max(abs(gain.low), abs(gain.high)), number(task.margin.value, 2)
    if gain.verdict == "undecided":
        needed = gain.seeds_needed
        if needed is None or needed.seeds is None:
            return "no number of seeds: the settings differ by more than seeds do"
        return f"{needed} for a gain of {margin}"
    if gain.verdict == "equivalent":
        return f"a margin below {number(reach, 2)} would leave it undecided (it is {margin})"
    return f"a margin above {number(reach, 2)} would make them equivalent (it is {margin})"


def _doubts(cell: Cell, gain: Gain) -> list[str]:
    """What weakens the verdict."""
    found = []
    if cell.diverged.reporting:
        found.append(
            f"{cell.diverged.reporting} of {len(cell.test.values)} runs diverged and count as "
            "untrained"
        )
    if cell.on_edge:
        found.append(f"a wider range: the best {' and '.join(cell.on_edge)} lies on its edge")
    if gain.error > 0 and gain.choice_error**2 > 0.5 * gain.error**2:
        found.append(
            f"{gain.choice_error**2 / gain.error**2:.0%} of the variance is the choice of the "
            "setting: a larger budget narrows it"
        )
    return found
