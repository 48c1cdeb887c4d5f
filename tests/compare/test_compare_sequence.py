"""What verdicts promise, by simulation: intervals that cover, looks that are safe, power."""

import numpy as np
import pytest
from scipy import stats

from lecture_opt import compare
from lecture_opt.compare.results import gains
from lecture_opt.compare.results.statistics import choice, estimates, paired, sequence


@pytest.mark.parametrize("n", [3, 5, 10, 20])
@pytest.mark.parametrize(
    ("noise", "least"), [("standard_normal", 0.94), ("standard_exponential", 0.85)]
)
def test_the_interval_of_a_mean_covers(n, noise, least):
    rng = np.random.default_rng(n)
    values = getattr(rng, noise)((3000, n)) - (noise == "standard_exponential")
    found = [estimates.mean_interval(row) for row in values]
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= least


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_the_interval_of_a_gain_covers(n, planned):
    values = np.random.default_rng(n).normal(size=(20_000, n))
    error = values.std(axis=1, ddof=1) / np.sqrt(n)
    half = paired.half_width(n, level=0.95, planned=planned) * error
    assert np.mean(np.abs(values.mean(axis=1)) <= half) >= 0.95


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_the_noise_floor_covers(n):
    protocol = compare.Protocol(seeds=n, tuning_seed_count=n)
    runs = np.random.default_rng(n).normal(size=(2000, 2, n))
    chosen = np.zeros(9, int)
    found = [
        gains.noise_floor(
            *(gains.Side(test, test[None].mean(1), chosen) for test in pair), protocol
        )
        for pair in runs
    ]
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.95


@pytest.mark.parametrize("n", [3, 5, 10, 20])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_price_of_a_wrong_rate_covers_though_the_noise_chooses_the_rate(n, noise):
    """The best rate lies near 0.016; a study's choice is a rate where its noise is low."""
    rng, logs = np.random.default_rng(n), np.linspace(-4, 1, 16)
    true, missed, studies = (logs + 1.8) ** 2, 0, 1000
    for _ in range(studies):
        tuning = true + noise * (rng.normal(size=(n, 1)) + rng.normal(size=(n, 16)))
        best = int(tuning.mean(axis=0).argmin())
        here = true[best] + noise * (rng.normal(size=n) + rng.normal(size=n))
        wanted = 10 ** (logs[best] + 1)
        found = estimates.difference_interval(estimates.at_rate(10**logs, tuning, wanted), here)
        want = estimates.at_rate(10**logs, true[None], wanted)[0] - true[best]
        missed += not found.low <= want <= found.high
    assert missed / studies <= 0.07


@pytest.mark.parametrize("noise", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_looking_after_every_five_seeds_up_to_fifty_errs_at_most_at_the_stated_rate(noise):
    """Differences of two runs of one kind, looked at again and again until one look tells."""
    rng = np.random.default_rng(0)
    streams, told = 1000, 0
    a, b = getattr(rng, noise)((2, streams, 50))
    for values in a - b:
        for n in range(5, 51, 5):
            seen = values[:n]
            t = abs(seen.mean()) / (seen.std(ddof=1) / np.sqrt(n))
            # The permutation test only makes p larger: it is asked where the rest would tell.
            first = 2 * stats.t.sf(t, n - 1) if n == 10 else 1 / sequence.e_value(t, n)
            if 2 * first <= 0.05:
                error = seen.std(ddof=1) / np.sqrt(n)
                if paired.p_value(seen, error, planned=n == 10) <= 0.05:
                    told += 1
                    break
    assert told <= 50


def test_the_seeds_asked_for_find_a_difference_of_the_margin():
    margin, studies = 0.9, 200
    needed = paired.seeds_needed(1.0, 10, margin=margin, alpha=0.05)
    assert needed.low < needed.seeds < needed.high
    values = np.random.default_rng(0).normal(margin, size=(studies, needed.seeds))
    errors = values.std(axis=1, ddof=1) / np.sqrt(needed.seeds)
    found = [
        paired.p_value(v, e, planned=False) <= 0.05 and v.mean() > 0
        for v, e in zip(values, errors, strict=True)
    ]
    assert np.mean(found) >= 0.8 - 3 * np.sqrt(0.8 * 0.2 / studies)


def test_the_bound_of_the_sequence_is_where_its_evidence_is_enough():
    for n in (5, 10, 100):
        for alpha in (0.05, 0.001):
            bound = sequence.critical(n, alpha)
            if np.isfinite(bound):
                assert sequence.e_value(bound, n) == pytest.approx(1 / alpha)


def test_the_evidence_is_a_ratio_of_likelihoods_of_mean_one_under_the_null():
    """The mean of the e-value over t-statistics of a mean of zero, by numerical integration."""
    for n in (2, 5, 20):
        t = np.linspace(-200, 200, 400_001)
        values = np.array([sequence.e_value(x, n) for x in t[200_000::100]])
        density = stats.t.pdf(t[200_000::100], n - 1)
        mean = 2 * np.trapezoid(values * density, t[200_000::100])
        assert mean == pytest.approx(1, abs=0.1)  # n = 2 has mass beyond 200


@pytest.mark.parametrize("higher", [True, False])
def test_resamples_choose_by_the_rule_of_the_study(higher):
    rng = np.random.default_rng(0)
    validation, diverged = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.2
    found = choice.chosen(validation, diverged, higher_is_better=higher)
    counts = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), choice.RESAMPLES)
    for weights, place in zip(counts, found, strict=True):
        rows = np.repeat(np.arange(6), weights)
        best = estimates.best_draw(validation[rows], diverged[rows], higher_is_better=higher)
        assert place == best


def test_a_setting_that_all_seeds_agree_on_leaves_no_doubt():
    validation = np.tile([0.1, 0.9, 0.2], (5, 1))
    found = choice.chosen(validation, np.zeros((5, 3)), higher_is_better=True)
    np.testing.assert_array_equal(choice.reported(1, found), [1])
    means, places = np.array([0.9]), choice.places(np.array([1]), found)
    assert choice.variance(means, places, means, places) == 0


def tuned(rng, studies, seeds, rates, shift):
    """Metrics of one made-up optimizer: a parabola over log rate that each seed moves."""
    moved = 0.4 * rng.normal(size=(studies, seeds, 1)) + shift
    return (rates - moved) ** 2 + 0.3 * rng.normal(size=(studies, seeds, 1))


@pytest.mark.parametrize("seeds", [5, 10])
def test_an_optimizer_in_another_unit_of_rate_is_told_apart_at_most_at_the_stated_rate(seeds):
    """Tuned on a grid and reported on other seeds, as the study does it; the grid is coarse."""
    rng = np.random.default_rng(seeds)
    studies, told, rates = 1000, 0, np.arange(-4, 5) * 0.77
    for shift in rng.uniform(0, 0.77, size=studies):
        units = (0.0, shift)
        tuning = [tuned(rng, 1, seeds, rates, unit)[0] for unit in units]
        moved = 0.4 * rng.normal(size=(seeds, 1))
        reports = [
            (rates - moved - unit) ** 2 + 0.3 * rng.normal(size=(seeds, 1)) for unit in units
        ]
        sides = []
        for validation, test in zip(tuning, reports, strict=True):
            alive = np.zeros(validation.shape)
            found = choice.chosen(validation, alive, higher_is_better=False)
            kept = choice.reported(
                estimates.best_draw(validation, alive, higher_is_better=False), found
            )
            sides.append((test[:, kept], choice.places(kept, found)))
        (mine, c), (theirs, d) = sides
        values = paired.gains(mine[:, 0], theirs[:, 0], higher_is_better=False)
        due = choice.variance(mine.mean(axis=0), c, theirs.mean(axis=0), d)
        error = np.sqrt(values.var(ddof=1) / seeds + due * seeds / (seeds - 1))
        told += paired.p_value(values, error, planned=True) <= 0.05
    assert told <= 0.05 * studies
