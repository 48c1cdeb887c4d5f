"""From raw numbers of runs to a study: every number behind every table and plot.

Nothing here trains.
"""

import math
from collections.abc import Sequence

import numpy as np

from lecture_opt import specs
from lecture_opt.compare import space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import verdicts
from lecture_opt.compare.results.measured import Facts, Measured, Tuned
from lecture_opt.compare.results.statistics import across, estimates, paired
from lecture_opt.compare.results.types import (
    About,
    Budget,
    Cell,
    Curve,
    Diverged,
    Gain,
    Optimizer,
    Overall,
    Profiles,
    Ranks,
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
    measured: Sequence[Sequence[Measured]],
    about: About,
) -> Study:
    """The study. `measured[i][j]` is task i and optimizer j."""
    tasks = [
        _task(protocol, optimizers, fact, row) for fact, row in zip(facts, measured, strict=True)
    ]
    overall = _overall([spec.name for spec in optimizers], tasks, protocol.level)
    return Study(
        **vars(about),
        protocol=protocol,
        optimizers=[
            Optimizer(spec.name, spec.text, protocol.is_baseline(spec), protocol.space(spec))
            for spec in optimizers
        ],
        tasks=tasks,
        overall=overall,
        verdicts=verdicts.summary(tasks, overall, protocol),
    )


def choose(tuned: Tuned, *, higher_is_better: bool) -> np.ndarray:
    """(1,) the place of the setting that the tuning runs choose."""
    chosen = estimates.best_draw(
        tuned.validation, tuned.diverged, higher_is_better=higher_is_better
    )
    return np.array([chosen])


def _task(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Facts,
    row: Sequence[Measured],
) -> Task:
    target = _target(protocol, optimizers, facts, row)
    tests = [one.reported.test[0] for one in row]
    gains = _gains([spec.name for spec in optimizers], tests, facts, protocol)
    cells = [
        _cell(protocol, spec, facts, one, target.value, rank, gain)
        for spec, one, rank, gain in zip(
            optimizers, row, _places(row, facts.higher_is_better), gains, strict=True
        )
    ]
    cells.sort(key=lambda cell: cell.rank)
    return Task(
        **vars(facts),
        steps=protocol.evaluated_steps(),
        target=target,
        cells=cells,
        warnings=verdicts.warnings(cells),
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
    """What the best baseline reaches in half of its tuning runs, unless one is given."""
    if protocol.target is not None:
        return Target(protocol.target, "given")
    sign = -1 if facts.higher_is_better else 1
    candidates = [
        (sign * _tuned_median(one, facts), spec.name)
        for spec, one in zip(optimizers, row, strict=True)
        if protocol.is_baseline(spec) or not any(map(protocol.is_baseline, optimizers))
    ]
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
) -> Cell:
    tuned, reported = one.tuned, one.reported
    chosen = int(reported.settings[0])
    diverged = reported.diverged[0]
    area = np.where(diverged, np.nan, reported.losses[0].mean(axis=1, dtype=np.float64))
    return Cell(
        optimizer=spec.name,
        rank=rank,
        hyperparameters={name: values[chosen].item() for name, values in tuned.settings.items()},
        on_edge=space.on_edge(protocol.space(spec), tuned.settings, chosen),
        test=_sample(reported.test[0], protocol.level),
        steps_to_target=_steps(reported.validation[0], target, facts, protocol),
        loss_area=Sample(*estimates.mean_interval(area[~diverged], level=protocol.level), area),
        working_range=_working_range(tuned, facts.higher_is_better),
        diverged=Diverged(float(np.mean(tuned.diverged)), int(diverged.sum())),
        gain=gain,
        loss=_curve(reported.losses[0]),
        validation=_curve(reported.validation[0]),
        tuning=_tuning(tuned),
        budget=_budget(tuned, facts.higher_is_better),
        cost=one.cost,
    )


def _steps(curves: np.ndarray, target: float, facts: Facts, protocol: Protocol) -> Steps:
    times = estimates.first_reached(
        curves, protocol.evaluated_steps(), target, higher_is_better=facts.higher_is_better
    )
    return Steps(
        *estimates.median_interval(times, level=protocol.level),
        reached=int(np.isfinite(times).sum()),
        restricted_mean=float(np.mean(np.minimum(times, protocol.steps))),
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
        width = estimates.working_range(
            tuned.settings["learning_rate"],
            scores,
            higher_is_better=higher_is_better,
            margin=MARGIN,
        )
    return WorkingRange(*width, share=float(np.mean(near)))


def _tuning(tuned: Tuned) -> Tuning:
    runs = np.where(tuned.diverged, np.nan, tuned.validation)
    low, _, high = estimates.quartiles(runs)
    mean = estimates.draw_scores(tuned.validation, tuned.diverged)
    return Tuning(tuned.settings, Validation(mean, low, high, runs), tuned.diverged.sum(axis=0))


def _budget(tuned: Tuned, higher_is_better: bool) -> Budget:
    scores = _scores(tuned)
    means, ends = estimates.best_of(scores, higher_is_better=higher_is_better)
    return Budget(np.arange(1, len(scores) + 1), Spread(means, ends[:, 0], ends[:, 1]))


def _gains(
    names: Sequence[str], tests: Sequence[np.ndarray], facts: Facts, protocol: Protocol
) -> list[Gain | None]:
    """Each optimizer's gain over the baseline's; `None` for the baseline itself."""
    baseline = tests[names.index(protocol.baseline)]
    others = [name for name in names if name != protocol.baseline]
    found = {
        name: paired.gains(test, baseline, higher_is_better=facts.higher_is_better)
        for name, test in zip(names, tests, strict=True)
        if name in others
    }
    raw = np.array([paired.permutation_p(gain) for gain in found.values()])
    adjusted = dict(zip(others, zip(raw, paired.holm(raw), strict=True), strict=True))
    return [
        _gain(name, found[name], *adjusted[name], len(others), facts, protocol)
        if name in found
        else None
        for name in names
    ]


def _gain(
    name: str,
    values: np.ndarray,
    p: float,
    p_holm: float,
    comparisons: int,
    facts: Facts,
    protocol: Protocol,
) -> Gain:
    sample = _sample(values, protocol.level)
    verdict = paired.verdict(values, p_holm, level=1 - protocol.level, comparisons=comparisons)
    return Gain(
        **vars(sample),
        wins=int(np.sum(values > 0)),
        ties=int(np.sum(values == 0)),
        losses=int(np.sum(values < 0)),
        p=float(p),
        p_holm=float(p_holm),
        verdict=verdict.word,
        seeds_needed=verdict.seeds_needed,
        sentence=verdicts.sentence(name, sample, float(p_holm), verdict, facts, protocol),
    )


def _overall(names: Sequence[str], tasks: Sequence[Task], level: float) -> Overall:
    if len(names) < 2 or len(tasks) < 2:
        return Overall(None, None)
    by_name = [{cell.optimizer: cell for cell in task.cells} for task in tasks]
    times = np.concatenate(
        [np.stack([cells[name].steps_to_target.values for name in names], 1) for cells in by_name]
    )
    ratios = across.corners(times)
    shares = across.performance_profile(times, ratios)
    costs = np.array([[cells[name].rank for name in names] for cells in by_name])
    ranks = across.ranks(costs, level=1 - level)
    return Overall(
        Profiles(ratios, dict(zip(names, shares, strict=True))),
        Ranks(
            dict(zip(names, ranks.mean.tolist(), strict=True)),
            ranks.critical_difference,
            ranks.friedman_p,
            [[names[i] for i in group] for group in ranks.groups],
            len(tasks),
        ),
    )


def _sample(values: np.ndarray, level: float) -> Sample:
    return Sample(*estimates.mean_interval(values, level=level), values)


def _curve(runs: np.ndarray) -> Curve:
    low, median, high = estimates.quartiles(runs)
    return Curve(median, low, high, runs)
