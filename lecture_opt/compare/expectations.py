"""What a study must show: for continuous integration, and for a test of one's own optimizer.

compare.assert_not_worse("mine.py:my_opt", "optax:adamw", "digits-mlp", margin="1%")
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from lecture_opt import specs
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import types
from lecture_opt.compare.runs.study import run
from lecture_opt.problems import Loop, Task, load_all

_TEXT = re.compile(r"(?P<mine>.+?)\s+(?P<word>better|not worse)\s+than\s+(?P<theirs>.+)")


class Expectation(NamedTuple):
    """`mine` is "better" or "not worse" than the baseline, both by name."""

    mine: str
    word: str
    baseline: str


def expectation(text: str) -> Expectation:
    """What a text expects.

    >>> expectation("mine.py:opt not worse than optax:adamw")
    Expectation(mine='mine.py:opt', word='not worse', baseline='optax:adamw')
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r}: wanted 'A better than B' or 'A not worse than B'")
    return Expectation(*(part.strip() for part in found.groups()))


def parse_margin(text: str) -> tuple[float, bool]:
    """A margin in the metric, or with a percent sign as a share of the baseline's metric.

    >>> parse_margin("0.01"), parse_margin("2%")
    ((0.01, False), (0.02, True))
    """
    relative = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"margin {text}: wanted a positive number, as in 0.01 or 2%")
    return (value / 100, True) if relative else (value, False)


def holds(gain: types.Gain, word: str, margin: float) -> bool | None:
    """Whether a gain is as expected; `None` where it is not decided.

    Not worse: no loss as large as the margin is left in the interval.
    """
    if word == "better":
        return {"better": True, "undecided": None}.get(gain.verdict, False)
    if gain.verdict == "worse":
        return False
    return True if gain.verdict != "undecided" or gain.low > -margin else None


def unmet(study: types.Study, wanted: Sequence[Expectation]) -> tuple[list[str], list[str]]:
    """The sentences of what is refuted, and of what is undecided.

    Where the optimizer or its baseline failed, the expectation is refuted.
    """
    refuted, undecided = [], []
    for one in wanted:
        for task in study.tasks:
            if failed := _failed(task, one):
                refuted.append(failed)
                continue
            (gain,) = (cell.gain for cell in task.cells if cell.optimizer == one.mine)
            if gain is None:
                raise ValueError(f"{one.mine} is the baseline and can't be compared with itself")
            held = holds(gain, one.word, task.margin.value)
            if held is None:
                undecided.append(gain.sentence)
            elif not held:
                refuted.append(gain.sentence)
    return refuted, undecided


def _failed(task: types.Task, one: Expectation) -> str | None:
    """Says which of the two failed, and why."""
    why = {failure.optimizer: failure.why for failure in task.failures}
    if one.mine in why:
        return f"{task.name}: {one.mine} failed: {why[one.mine]}."
    if one.baseline in why:
        return (
            f"{task.name}: {one.mine} has no verdict, as its baseline, {one.baseline}, failed: "
            f"{why[one.baseline]}."
        )
    return None


def is_clear(study: types.Study) -> bool:
    """Whether each verdict is decided."""
    gains = (cell.gain for task in study.tasks for cell in task.cells)
    return all(gain is None or gain.verdict != "undecided" for gain in gains)


def extended(protocol: Protocol, seeds: int) -> Protocol:
    """The next look of the same sequence, with more seeds: the planned look stays what it was.

    As many tune as report, except where fewer were asked for.
    """
    tuning = protocol.tuning_seed_count
    return replace(
        protocol,
        planned=protocol.planned or protocol.seeds,
        seeds=seeds,
        tuning_seed_count=tuning if tuning < protocol.seeds else max(tuning, seeds),
    )


def assert_not_worse(
    mine: str,
    baseline: str,
    task: str | Task | Loop,
    *,
    margin: str,
    protocol: Protocol | None = None,
    most_seeds: int = 40,
) -> types.Study:
    """Raises AssertionError where `mine` is worse than `baseline` or either fails; returns a study.

    An unchanged optimizer fails in at most one of twenty such tests (1 - `protocol.level`),
    however many looks are taken: seeds are doubled up to `most_seeds` until it is decided.

    Args:
        mine, baseline: As the command line names optimizers.
        task: A task, or its name.
        margin: The smallest difference that matters, "0.01" in the metric or "5%" of it.
        protocol: Steps, budget and seeds; the defaults of `Protocol` where it is `None`.
        most_seeds: Where to stop.
    """
    value, relative = parse_margin(margin)
    pair = [specs.parse(mine), specs.parse(baseline)]
    given = protocol or Protocol()
    look = replace(given, baseline=pair[1].name, margin=value, relative=relative)
    tasks = load_all([task]) if isinstance(task, str) else [task]
    study = run(tasks, pair, look)
    while not is_clear(study) and look.seeds < most_seeds:
        look = extended(look, min(2 * look.seeds, most_seeds))
        study = run(tasks, pair, look)
    refuted, _ = unmet(study, [Expectation(pair[0].name, "not worse", pair[1].name)])
    assert not refuted, refuted[0]
    return study
