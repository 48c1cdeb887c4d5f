"""From raw numbers of runs to a study: every number behind every table and plot.

Nothing here trains.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lecture_opt import specs
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import cells, gains, verdicts
from lecture_opt.compare.results.measured import Facts, Failure, Measured, Tuned
from lecture_opt.compare.results.overall import overall
from lecture_opt.compare.results.statistics import choice, estimates
from lecture_opt.compare.results.types import About, NoiseFloor, Optimizer, Study, Target, Task


def assemble(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Sequence[Facts],
    measured: Sequence[Sequence[Measured | Failure]],
    about: About,
    twins: Sequence[Measured | None] = (),
    floors: Sequence[NoiseFloor | None] = (),
    standings: Sequence[Mapping[str, gains.Standing]] = (),
) -> Study:
    """The study.

    Args:
        protocol: What was fixed before any run.
        optimizers: In the order of `measured`'s columns.
        facts: Of each task.
        measured: `measured[i][j]` is task i and optimizer j, or why it failed there.
        about: What the numbers depend on beside the protocol.
        twins: For each task the baseline under other seeds and another unit of rate.
        floors: In place of that, the noise floors that were measured before.
        standings: For each task where the optimizers stand in the folder's ledger.
    """
    tasks = [
        _task(protocol, optimizers, fact, row, twin, floor, standing)
        for fact, row, twin, floor, standing in zip(
            facts,
            measured,
            twins or [None] * len(facts),
            floors or [None] * len(facts),
            standings or [{}] * len(facts),
            strict=True,
        )
    ]
    over_all = overall([spec.name for spec in optimizers], tasks, protocol.level)
    return Study(
        **vars(about),
        protocol=protocol,
        optimizers=[
            Optimizer(spec.name, spec.text, protocol.is_baseline(spec), protocol.space(spec))
            for spec in optimizers
        ],
        tasks=tasks,
        overall=over_all,
        verdicts=verdicts.summary(tasks, over_all, protocol),
    )


def choose(tuned: Tuned, *, higher_is_better: bool) -> np.ndarray:
    """(reported,) settings: what the tuning runs choose, then what other seeds may choose."""
    chosen = estimates.best_draw(
        tuned.validation, tuned.diverged, higher_is_better=higher_is_better
    )
    resampled = choice.chosen(tuned.validation, tuned.diverged, higher_is_better=higher_is_better)
    return choice.reported(chosen, resampled)


def _task(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Facts,
    tried: Sequence[Measured | Failure],
    twin: Measured | None,
    floor: NoiseFloor | None,
    standings: Mapping[str, gains.Standing],
) -> Task:
    failures = [one for one in tried if isinstance(one, Failure)]
    pairs = list(zip(optimizers, tried, strict=True))
    optimizers = [spec for spec, one in pairs if isinstance(one, Measured)]
    row = [one for one in tried if isinstance(one, Measured)]
    target = _target(protocol, optimizers, facts, row)
    names = [spec.name for spec in optimizers]
    sides = [gains.side(one, higher_is_better=facts.higher_is_better) for one in row]
    other = None if twin is None else gains.side(twin, higher_is_better=facts.higher_is_better)
    floor, margin = gains.scale(names, sides, other, floor, protocol)
    found = [
        cells.cell(protocol, spec, facts, one, target.value, rank, gain, side)
        for spec, one, rank, gain, side in zip(
            optimizers,
            row,
            _places(row, facts.higher_is_better),
            gains.gains(names, sides, margin, facts, protocol, standings),
            sides,
            strict=True,
        )
    ]
    found.sort(key=lambda cell: cell.rank)
    return Task(
        **vars(facts),
        target=target,
        noise_floor=floor,
        margin=margin,
        cells=found,
        failures=failures,
        warnings=verdicts.warnings(found, failures, facts, protocol),
    )


def _places(row: Sequence[Measured], higher_is_better: bool) -> list[int]:
    """Ranks: fewest diverged runs, then best mean test metric; equals share the better rank."""
    sign = -1 if higher_is_better else 1

    def order(one: Measured) -> tuple[int, float]:
        mean = float(np.mean(one.reported.test[0], dtype=np.float64))
        mean = float(f"{sign * mean:.5g}")  # what rounding parts is equal
        return int(one.reported.diverged[0].sum()), mean if math.isfinite(mean) else math.inf

    orders = [order(one) for one in row]
    return [1 + sum(other < mine for other in orders) for mine in orders]


def _target(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Facts,
    row: Sequence[Measured],
) -> Target:
    """What is given, or what the task says, or the best baseline reaches in half of its runs."""
    if protocol.target is not None:
        return Target(protocol.target, "given")
    if facts.goal is not None:
        return Target(facts.goal, "the task")
    sign = -1 if facts.higher_is_better else 1
    candidates = [
        (sign * _tuned_median(one, facts), spec.name)
        for spec, one in zip(optimizers, row, strict=True)
        if protocol.is_baseline(spec) or not any(map(protocol.is_baseline, optimizers))
    ]
    if not candidates:
        return Target(math.nan, "none")
    value, source = min(candidates)
    return Target(sign * value, source)


def _tuned_median(one: Measured, facts: Facts) -> float:
    tuned, chosen = one.tuned, one.reported.settings[0]
    values = np.where(tuned.diverged, facts.untrained["validation"], tuned.validation)
    return float(np.median(values[:, chosen]))
