"""Each optimizer of a task against the baseline: gains, the noise floor, the margin, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import verdicts
from lecture_opt.compare.results.measured import Facts, Measured
from lecture_opt.compare.results.statistics import choice, estimates, paired
from lecture_opt.compare.results.types import Estimate, Gain, Margin, NoiseFloor


@dataclass(frozen=True)
class Side:
    """One side of a comparison: its runs, and what other tuning seeds would have chosen.

    Attributes:
        test: (seeds,) test metric at the chosen setting.
        means: (reported,) mean test metric of each reported setting.
        choices: (resamples,) place in `means` of the setting that each resample chooses.
        resolution: What the metric may lose because settings lie apart: in another unit of rate
            they lie elsewhere.
    """

    test: np.ndarray
    means: np.ndarray
    choices: np.ndarray
    resolution: float = 0.0


def side(one: Measured, *, higher_is_better: bool) -> Side:
    """The measured runs as a side of comparisons."""
    tuned, reported = one.tuned, one.reported
    resampled = choice.chosen(tuned.validation, tuned.diverged, higher_is_better=higher_is_better)
    means = reported.test.mean(axis=1, dtype=np.float64)
    places = choice.places(reported.settings, resampled)
    scores = estimates.draw_scores(tuned.validation, tuned.diverged)
    rates = tuned.settings["learning_rate"] if len(tuned.settings) == 1 else None
    lost = estimates.resolution(rates, scores, int(reported.settings[0]))
    return Side(reported.test[0], means, places, lost)


class Standing(NamedTuple):
    """Which set of candidates one belongs to, how many that has, and the seeds it was planned with.

    The set spends its error rate at the planned number of seeds and at all other looks together.
    """

    number: int = 1
    size: int = 1
    planned: int | None = None


def choice_variance(mine: Side, theirs: Side, tuning_seeds: int) -> float:
    """Of the difference of means: by the seeds that choose, and by where the settings lie.

    A few tuning seeds vary less among themselves than they would.
    """
    variance = choice.variance(mine.means, mine.choices, theirs.means, theirs.choices)
    apart = mine.resolution**2 + theirs.resolution**2
    return variance * tuning_seeds / max(tuning_seeds - 1, 1) + apart


def noise_floor(baseline: Side, twin: Side | None, protocol: Protocol) -> NoiseFloor:
    """The baseline against itself under other seeds and another unit of rate.

    The difference of their means, and the standard deviation of one run, that of the choice of the
    setting included. Without a twin the two are taken to vary alike.
    """
    again = baseline if twin is None else twin
    n = len(baseline.test)
    each = np.var(baseline.test, ddof=1), np.var(again.test, ddof=1)
    # Other seeds: one side's choice says nothing of the other's.
    apart = replace(again, choices=np.roll(again.choices, 1))
    choices = choice_variance(baseline, apart, protocol.tuning_seed_count)
    error = math.sqrt(float(sum(each)) / n + choices)
    deviation = math.sqrt((float(sum(each)) + choices) / 2)
    mean = float(again.means[0] - baseline.means[0])
    half = paired.half_width(n, level=protocol.level, planned=True) * error
    return NoiseFloor(mean, mean - half, mean + half, deviation)


def scale(
    names: Sequence[str],
    sides: Sequence[Side],
    twin: Side | None,
    floor: NoiseFloor | None,
    protocol: Protocol,
) -> tuple[NoiseFloor, Margin]:
    """The noise floor, measured here where it isn't given, and the margin; else of no value."""
    if protocol.baseline not in names:
        return NoiseFloor(*[math.nan] * 4), Margin(math.nan, "none")
    baseline = sides[names.index(protocol.baseline)]
    floor = floor or noise_floor(baseline, twin, protocol)
    return floor, margin(floor, float(baseline.means[0]), protocol)


def margin(floor: NoiseFloor, baseline_mean: float, protocol: Protocol) -> Margin:
    """As given, or a standard deviation of the baseline's runs.

    With a difference of that size a run of the better one beats one of the other, under another
    seed, three times in four: what Bouthillier et al. (2021) take to matter.
    """
    if protocol.margin is None:
        return Margin(floor.deviation, "noise floor")
    scale = abs(baseline_mean) if protocol.relative else 1.0
    return Margin(protocol.margin * scale, "given")


def gains(
    names: Sequence[str],
    sides: Sequence[Side],
    margin: Margin,
    facts: Facts,
    protocol: Protocol,
    standings: Mapping[str, Standing] | None = None,
) -> list[Gain | None]:
    """Each optimizer's gain over the baseline's; `None` for the baseline, and where it failed.

    Without `standings` all belong to one first set.
    """
    if protocol.baseline not in names:
        return [None] * len(names)
    baseline = sides[names.index(protocol.baseline)]
    others = [i for i, name in enumerate(names) if name != protocol.baseline]
    values = {
        i: paired.gains(sides[i].test, baseline.test, higher_is_better=facts.higher_is_better)
        for i in others
    }
    choices = {i: choice_variance(sides[i], baseline, protocol.tuning_seed_count) for i in others}
    errors = {
        i: math.sqrt(np.var(v, ddof=1) / len(v) + choices[i]) if v.any() else 0.0
        for i, v in values.items()
    }
    own = {i: (standings or {}).get(names[i], Standing(planned=protocol.planned)) for i in others}
    found: list[Gain | None] = [None] * len(names)
    for number in {one.number for one in own.values()}:
        members = [i for i in others if own[i].number == number]
        size = max(len(members), *(own[i].size for i in members))
        planned = {i: own[i].planned in (None, protocol.seeds) for i in members}
        raw = [paired.p_value(values[i], errors[i], planned=planned[i]) for i in members]
        adjusted = paired.holm(np.array(raw + [1.0] * (size - len(members))))
        for i, p, p_holm in zip(members, raw, adjusted.tolist(), strict=False):
            given = values[i], errors[i], math.sqrt(choices[i]), p, p_holm
            standing = Standing(number, size, protocol.seeds if planned[i] else own[i].planned)
            found[i] = _gain(names[i], *given, margin, standing, facts, protocol)
    return found


def _gain(
    name: str,
    values: np.ndarray,
    error: float,
    choice_error: float,
    p: float,
    p_holm: float,
    margin: Margin,
    standing: Standing,
    facts: Facts,
    protocol: Protocol,
) -> Gain:
    n, mean, alpha = len(values), float(np.mean(values)), protocol.error_rate(standing.number)
    factor = paired.half_width(n, level=protocol.level, planned=standing.planned == n)
    half = factor * error if error else 0.0
    word = paired.verdict(mean, half, p_holm, margin=margin.value, alpha=alpha)
    needed = None
    if word == "undecided":
        needed = paired.seeds_needed(
            error * math.sqrt(n), n, margin=margin.value, alpha=alpha / standing.size
        )
    interval = Estimate(mean, mean - half, mean + half)
    return Gain(
        **vars(interval),
        values=values,
        error=error,
        choice_error=choice_error,
        wins=int(np.sum(values > 0)),
        ties=int(np.sum(values == 0)),
        losses=int(np.sum(values < 0)),
        p=p,
        p_holm=p_holm,
        verdict=word,
        set_number=standing.number,
        set_size=standing.size,
        planned=standing.planned,
        error_rate=alpha,
        seeds_needed=needed,
        sentence=verdicts.sentence(name, interval, p_holm, word, needed, margin, facts, protocol),
    )
