"""One optimizer on one task: from its runs to a cell of the results."""

import math

import numpy as np

from lecture_opt import specs
from lecture_opt.compare import space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import gains, types
from lecture_opt.compare.results.measured import Facts, Measured, Tuned
from lecture_opt.compare.results.statistics import estimates

MARGIN = 0.05
"""A score within this share of the best counts as near it."""


def cell(
    protocol: Protocol,
    spec: specs.OptimizerSpec,
    facts: Facts,
    one: Measured,
    target: float,
    rank: int,
    gain: types.Gain | None,
    side: gains.Side,
) -> types.Cell:
    """The cell: what was chosen, what it gave, and what tuning saw."""
    tuned, reported = one.tuned, one.reported
    chosen = int(reported.settings[0])
    diverged = reported.diverged[0]
    steps = _steps(reported.validation[0], target, facts, protocol)
    time = types.Median(*(one.cost.step_seconds * n for n in (steps.median, steps.low, steps.high)))
    area = np.where(diverged, np.nan, reported.losses[0].mean(axis=1, dtype=np.float64))
    return types.Cell(
        optimizer=spec.name,
        rank=rank,
        hyperparameters=_setting(tuned, chosen),
        on_edge=space.on_edge(protocol.space(spec), tuned.settings, chosen),
        candidates=_candidates(one, side, protocol.level),
        test=_sample(reported.test[0], protocol.level),
        steps_to_target=steps,
        loss_area=types.Sample(
            *estimates.mean_interval(area[~diverged], level=protocol.level), area
        ),
        working_range=_working_range(tuned, facts.higher_is_better),
        wrong_rate=_wrong_rate(one, chosen, facts, protocol),
        diverged=types.Diverged(float(np.mean(tuned.diverged)), int(diverged.sum())),
        gain=gain,
        loss=_curve(reported.losses[0]),
        validation=_curve(reported.validation[0]),
        tuning=_tuning(tuned),
        budget=_budget(tuned, facts.higher_is_better),
        cost=types.Costs(**vars(one.cost) | {"seconds_to_target": time}),
    )


def _setting(tuned: Tuned, place: int) -> dict[str, float]:
    return {name: values[place].item() for name, values in tuned.settings.items()}


def _candidates(one: Measured, side: gains.Side, level: float) -> list[types.Candidate]:
    return [
        types.Candidate(
            _setting(one.tuned, int(place)),
            float(np.mean(side.choices == i)),
            _sample(one.reported.test[i], level),
        )
        for i, place in enumerate(one.reported.settings)
    ]


def _steps(curves: np.ndarray, target: float, facts: Facts, protocol: Protocol) -> types.Steps:
    times = estimates.first_reached(
        curves, facts.steps, target, higher_is_better=facts.higher_is_better
    )
    return types.Steps(
        *estimates.median_interval(times, level=protocol.level),
        reached=int(np.isfinite(times).sum()),
        restricted_mean=float(np.mean(np.minimum(times, facts.steps[-1]))),
        values=times,
    )


def _scores(tuned: Tuned) -> np.ndarray:
    """(settings,) mean validation metric; NaN where any run diverged."""
    scores = estimates.draw_scores(tuned.validation, tuned.diverged)
    return np.where(np.any(tuned.diverged, axis=0), np.nan, scores)


def _working_range(tuned: Tuned, higher_is_better: bool) -> types.WorkingRange:
    scores = _scores(tuned)
    near = estimates.is_near_best(scores, higher_is_better=higher_is_better, margin=MARGIN)
    width = estimates.Range(math.nan, math.nan, math.nan)
    if len(tuned.settings) == 1:
        rates = tuned.settings["learning_rate"]
        order = np.argsort(rates)
        width = estimates.working_range(
            rates[order], scores[order], higher_is_better=higher_is_better, margin=MARGIN
        )
    return types.WorkingRange(*width, share=float(np.mean(near)))


def _wrong_rate(one: Measured, chosen: int, facts: Facts, protocol: Protocol) -> types.WrongRate:
    """Where the rate alone is tuned; a diverged run counts as untrained.

    The chosen rate's cost is that of the seeds that report: by those that chose it, it would look
    better than it is.
    """
    tuned, reported = one.tuned, one.reported
    if len(tuned.settings) > 1:
        unknown = types.Estimate(math.nan, math.nan, math.nan)
        return types.WrongRate(unknown, unknown)
    sign, untrained = (-1 if facts.higher_is_better else 1), facts.untrained["validation"]
    costs = sign * np.where(tuned.diverged, untrained, tuned.validation)
    curves = reported.validation[0]
    taken = estimates.taken(
        curves, curves, protocol.choose, higher_is_better=facts.higher_is_better
    )
    here = sign * np.where(reported.diverged[0], untrained, taken)
    rates = tuned.settings["learning_rate"]
    theirs = (estimates.at_rate(rates, costs, rates[chosen] * factor) for factor in (0.1, 10.0))
    tenth, tenfold = (
        types.Estimate(*estimates.difference_interval(there, here, level=protocol.level))
        for there in theirs
    )
    return types.WrongRate(tenth, tenfold)


def _tuning(tuned: Tuned) -> types.Tuning:
    """In the order of rates where these alone are tuned, else as they were tried."""
    order = np.arange(tuned.validation.shape[1])
    if len(tuned.settings) == 1:
        order = np.argsort(tuned.settings["learning_rate"])
    validation, diverged = tuned.validation[:, order], tuned.diverged[:, order]
    runs = np.where(diverged, np.nan, validation)
    low, _, high = estimates.quartiles(runs)
    mean = estimates.draw_scores(validation, diverged)
    draws = {name: values[order] for name, values in tuned.settings.items()}
    return types.Tuning(draws, types.Validation(mean, low, high, runs), diverged.sum(axis=0))


def _budget(tuned: Tuned, higher_is_better: bool) -> types.Budget:
    """The best of a few draws of the coarse look, taken at random, then of all of it and more."""
    scores = _scores(tuned)
    first = len(scores) - tuned.refined
    means, ends = estimates.best_of(scores[:first], higher_is_better=higher_is_better)
    best = np.fmax.accumulate if higher_is_better else np.fmin.accumulate
    later = best(scores)[first:]
    low, high = (np.concatenate([end, later]) for end in ends.T)
    return types.Budget(
        np.arange(1, len(scores) + 1), types.Spread(np.append(means, later), low, high)
    )


def _sample(values: np.ndarray, level: float) -> types.Sample:
    return types.Sample(*estimates.mean_interval(values, level=level), values)


def _curve(runs: np.ndarray) -> types.Curve:
    low, median, high = estimates.quartiles(runs)
    return types.Curve(median, low, high, runs)
