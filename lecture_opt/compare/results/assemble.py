"""From raw numbers of runs to a study: every number behind every table and plot.

Nothing here trains.
"""

import math
from collections.abc import Sequence

import numpy as np

from lecture_opt import specs
from lecture_opt.compare import space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import gains, verdicts
from lecture_opt.compare.results.measured import Facts, Failure, Measured, Tuned
from lecture_opt.compare.results.overall import overall
from lecture_opt.compare.results.statistics import choice, estimates
from lecture_opt.compare.results.types import (
    About,
    Budget,
    Candidate,
    Cell,
    Curve,
    Diverged,
    Estimate,
    Gain,
    Optimizer,
    Sample,
    Spread,
    Steps,
    Study,
    Target,
    Task,
    Tuning,
    Validation,
    WorkingRange,
)

MARGIN = 0.05


def assemble(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Sequence[Facts],
    measured: Sequence[Sequence[Measured | Failure]],
    about: About,
    twins: Sequence[Measured | None] = (),
    floors: Sequence[Estimate | None] = (),
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
    """
    tasks = [
        _task(protocol, optimizers, fact, row, twin, floor)
        for fact, row, twin, floor in zip(
            facts,
            measured,
            twins or [None] * len(facts),
            floors or [None] * len(facts),
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
    floor: Estimate | None,
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
    cells = [
        _cell(protocol, spec, facts, one, target.value, rank, gain, side)
        for spec, one, rank, gain, side in zip(
            optimizers,
            row,
            _places(row, facts.higher_is_better),
            gains.gains(names, sides, margin, facts, protocol),
            sides,
            strict=True,
        )
    ]
    cells.sort(key=lambda cell: cell.rank)
    return Task(
        **vars(facts),
        target=target,
        noise_floor=floor,
        margin=margin,
        cells=cells,
        failures=failures,
        warnings=verdicts.warnings(cells, failures, facts, protocol),
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


def _cell(
    protocol: Protocol,
    spec: specs.OptimizerSpec,
    facts: Facts,
    one: Measured,
    target: float,
    rank: int,
    gain: Gain | None,
    side: gains.Side,
) -> Cell:
    tuned, reported = one.tuned, one.reported
    chosen = int(reported.settings[0])
    diverged = reported.diverged[0]
    area = np.where(diverged, np.nan, reported.losses[0].mean(axis=1, dtype=np.float64))
    return Cell(
        optimizer=spec.name,
        rank=rank,
        hyperparameters=_setting(tuned, chosen),
        on_edge=space.on_edge(protocol.space(spec), tuned.settings, chosen),
        candidates=_candidates(one, side, protocol.level),
        test=_sample(reported.test[0], protocol.level),
        steps_to_target=_steps(reported.validation[0], target, facts, protocol),
        loss_area=Sample(*estimates.mean_interval(area[~diverged], level=protocol.level), area),
        working_range=_working_range(tuned, facts.higher_is_better),
        diverged=Diverged(float(np.mean(tuned.diverged)), int(diverged.sum())),
        gain=gain,
        loss=_curve(reported.losses[0]),
        validation=_curve(reported.validation[0]),
        tuning=_tuning(tuned),
        budget=_budget(tuned, protocol.refined, facts.higher_is_better),
        cost=one.cost,
    )


def _setting(tuned: Tuned, place: int) -> dict[str, float]:
    return {name: values[place].item() for name, values in tuned.settings.items()}


def _candidates(one: Measured, side: gains.Side, level: float) -> list[Candidate]:
    return [
        Candidate(
            _setting(one.tuned, int(place)),
            float(np.mean(side.choices == i)),
            _sample(one.reported.test[i], level),
        )
        for i, place in enumerate(one.reported.settings)
    ]


def _steps(curves: np.ndarray, target: float, facts: Facts, protocol: Protocol) -> Steps:
    times = estimates.first_reached(
        curves, facts.steps, target, higher_is_better=facts.higher_is_better
    )
    return Steps(
        *estimates.median_interval(times, level=protocol.level),
        reached=int(np.isfinite(times).sum()),
        restricted_mean=float(np.mean(np.minimum(times, facts.steps[-1]))),
        values=times,
    )


def _scores(tuned: Tuned) -> np.ndarray:
    """(settings,) mean validation metric; NaN where any run diverged."""
    scores = estimates.draw_scores(tuned.validation, tuned.diverged)
    return np.where(np.any(tuned.diverged, axis=0), np.nan, scores)


def _working_range(tuned: Tuned, higher_is_better: bool) -> WorkingRange:
    scores = _scores(tuned)
    near = estimates.is_near_best(scores, higher_is_better=higher_is_better, margin=MARGIN)
    width = estimates.Range(math.nan, math.nan, math.nan)
    if len(tuned.settings) == 1:
        rates = tuned.settings["learning_rate"]
        order = np.argsort(rates)
        width = estimates.working_range(
            rates[order], scores[order], higher_is_better=higher_is_better, margin=MARGIN
        )
    return WorkingRange(*width, share=float(np.mean(near)))


def _tuning(tuned: Tuned) -> Tuning:
    """In the order of rates where these alone are tuned, else as they were tried."""
    order = np.arange(tuned.validation.shape[1])
    if len(tuned.settings) == 1:
        order = np.argsort(tuned.settings["learning_rate"])
    validation, diverged = tuned.validation[:, order], tuned.diverged[:, order]
    runs = np.where(diverged, np.nan, validation)
    low, _, high = estimates.quartiles(runs)
    mean = estimates.draw_scores(validation, diverged)
    draws = {name: values[order] for name, values in tuned.settings.items()}
    return Tuning(draws, Validation(mean, low, high, runs), diverged.sum(axis=0))


def _budget(tuned: Tuned, refined: int, higher_is_better: bool) -> Budget:
    """The best of a few draws of the coarse look, taken at random, then of all of it and more."""
    scores = _scores(tuned)
    first = len(scores) - refined
    means, ends = estimates.best_of(scores[:first], higher_is_better=higher_is_better)
    best = np.fmax.accumulate if higher_is_better else np.fmin.accumulate
    later = best(scores)[first:]
    low, high = (np.concatenate([end, later]) for end in ends.T)
    return Budget(np.arange(1, len(scores) + 1), Spread(np.append(means, later), low, high))


def _sample(values: np.ndarray, level: float) -> Sample:
    return Sample(*estimates.mean_interval(values, level=level), values)


def _curve(runs: np.ndarray) -> Curve:
    low, median, high = estimates.quartiles(runs)
    return Curve(median, low, high, runs)
