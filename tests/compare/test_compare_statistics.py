"""The statistics: against scipy, closed forms, brute force and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lecture_opt.compare.results.statistics import across, estimates, paired

finite = st.floats(-1e3, 1e3, width=32)


@pytest.mark.parametrize("n", [3, 6, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_permutation_test_is_scipys(n, dtype):
    differences = np.random.default_rng(n).normal(0.4, size=n).astype(dtype)
    theirs = stats.permutation_test(
        (differences.astype(np.float64), np.zeros(n)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert paired.permutation_p(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_on_one_side_has_the_least_p(dtype):
    for seed in range(20):
        differences = np.random.default_rng(seed).uniform(0.1, 1, size=10).astype(dtype)
        assert paired.permutation_p(differences) == 2 / 2**10


@given(st.lists(finite, min_size=2, max_size=8))
def test_the_permutation_test_knows_no_side_and_no_order(values):
    differences = np.array(values)
    p = paired.permutation_p(differences)
    assert 2 / 2 ** len(values) <= p <= 1
    assert paired.permutation_p(-differences) == p
    assert paired.permutation_p(differences[::-1]) == p


def test_many_pairs_are_sampled_near_the_normal_limit():
    differences = np.random.default_rng(0).normal(0.25, size=60)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert paired.permutation_p(differences) == pytest.approx(expected, rel=0.2)
    assert paired.permutation_p(np.full(60, 1.0)) == 1 / paired.SAMPLED_FLIPS


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(values, level):
    p_values = np.array(values)
    rejected = np.zeros(len(p_values), bool)
    for k, i in enumerate(np.argsort(p_values)):
        if p_values[i] * (len(p_values) - k) > level:
            break
        rejected[i] = True
    np.testing.assert_array_equal(paired.holm(p_values) <= level, rejected)


def test_fewer_pairs_than_the_fewest_show_nothing():
    for n, comparisons in ((7, 1), (9, 5), (10, 11)):
        assert paired.least_p(n, comparisons) <= 0.05 < paired.least_p(n - 1, comparisons)
        values = np.ones(n) + 1e-3 * np.arange(n)
        error = values.std(ddof=1) / np.sqrt(n)
        p = paired.p_value(values, error, planned=True) * comparisons
        assert p == pytest.approx(paired.least_p(n, comparisons))


@pytest.mark.parametrize("noise", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_optimizers_that_are_one_are_told_apart_at_most_at_the_stated_rate(noise):
    """The same optimizer under six names: the share of studies that tell any of five apart."""
    rng = np.random.default_rng(0)
    studies, names, seeds, level = 1000, 6, 10, 0.05
    wrong = 0
    for _ in range(studies):
        metrics = getattr(rng, noise)((names, seeds))
        wrong += any(corrected_p(metrics) <= level)
    assert wrong <= stats.binom.ppf(0.9999, studies, level)


def test_a_difference_of_four_deviations_is_told():
    rng = np.random.default_rng(0)
    metrics = rng.normal(size=(6, 10))
    metrics[1] += 4
    metrics[2] -= 4
    p_values = corrected_p(metrics)
    words = [
        paired.verdict(np.mean(m - metrics[0]), 1.5, p, margin=1, alpha=0.05)
        for m, p in zip(metrics[1:], p_values, strict=True)
    ]
    assert words == ["better", "worse", *["undecided"] * 3]


@pytest.mark.parametrize(
    ("mean", "half", "p", "word"),
    [
        (0.2, 0.1, 0.01, "better"),
        (-0.2, 0.1, 0.01, "worse"),
        (0.05, 0.04, 0.01, "equivalent"),  # significant, and smaller than what matters
        (0.0, 0.0, 1.0, "equivalent"),
        (0.05, 0.2, 0.6, "undecided"),
    ],
)
def test_each_verdict_has_its_evidence(mean, half, p, word):
    assert paired.verdict(mean, half, p, margin=0.1, alpha=0.05) == word


def corrected_p(metrics):
    """Of each row against the first."""
    gains = [paired.gains(m, metrics[0], higher_is_better=True) for m in metrics[1:]]
    return paired.holm(np.array([paired.permutation_p(gain) for gain in gains]))


def test_gains_are_positive_where_better_and_zero_within_rounding():
    values, baseline = np.array([1.0, 2.0, 3.0]), np.array([1.0 + 1e-7, 1.0, 4.0])
    np.testing.assert_array_equal(paired.gains(values, baseline, higher_is_better=True), [0, 1, -1])
    np.testing.assert_array_equal(
        paired.gains(values, baseline, higher_is_better=False), [0, -1, 1]
    )


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(1).normal(size=40)
    interval = estimates.mean_interval(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([interval.low, interval.high], theirs)
    assert interval.centre == values.mean()


@pytest.mark.parametrize("n", [6, 10, 17])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_the_median_is_scipys(n, level):
    times = np.random.default_rng(n).permutation(n).astype(float)
    interval = estimates.median_interval(times, level=level)
    theirs = stats.quantile_test(times, q=0, p=0.5).confidence_interval(level)
    assert (interval.low, interval.high) == (theirs.low, theirs.high)
    assert interval.centre == np.median(times)


def test_runs_that_never_arrive_count_as_the_slowest():
    inf = np.inf
    assert estimates.median_interval(np.array([inf, inf, 5.0])).centre == inf
    assert estimates.median_interval(np.array([1.0, inf, 5.0])).centre == 5.0
    assert estimates.median_interval(np.array([1.0, inf])).centre == inf
    few = estimates.median_interval(np.array([1.0, 2.0, 3.0]))
    assert (few.low, few.high) == (-inf, inf)


def test_lower_is_reached_from_above_and_nan_reaches_nothing():
    curves = np.array([[3.0, 1.0], [np.nan, np.nan]])
    steps = estimates.first_reached(curves, np.array([10, 20]), 2.0, higher_is_better=False)
    np.testing.assert_array_equal(steps, [20.0, np.inf])


def test_the_chosen_draw_is_the_best_that_did_not_diverge():
    values = np.array([[0.1, 0.3, 0.9], [0.2, 0.4, np.nan]])
    diverged = np.isnan(values)
    assert estimates.best_draw(values, diverged, higher_is_better=True) == 1
    assert estimates.best_draw(values, diverged, higher_is_better=False) == 0


@given(st.lists(finite, min_size=1, max_size=6), st.booleans())
def test_the_best_of_fewer_draws_is_the_mean_over_all_choices(scores, higher):
    means, quartiles = estimates.best_of(np.array(scores), higher_is_better=higher)
    pick = max if higher else min
    for k in range(1, len(scores) + 1):
        best = [pick(chosen) for chosen in itertools.combinations(scores, k)]
        np.testing.assert_allclose(means[k - 1], np.mean(best), rtol=1e-9, atol=1e-9)
        # Quartiles of equal weights may fall on either side of a step.
        below = np.mean(np.array(best) < quartiles[k - 1, 0])
        above = np.mean(np.array(best) > quartiles[k - 1, 1])
        assert below <= 0.25 + 1e-9
        assert above <= 0.25 + 1e-9
    assert quartiles[-1, 0] == quartiles[-1, 1] == pick(scores)


def test_a_draw_that_failed_is_as_bad_as_the_worst():
    means, _ = estimates.best_of(np.array([1.0, np.nan, 3.0]), higher_is_better=True)
    np.testing.assert_allclose(means, [(1 + 1 + 3) / 3, (1 + 3 + 3) / 3, 3])


def test_the_working_range_ends_where_the_margin_is_crossed():
    rates = np.logspace(-3, 0, 4)
    scores = np.array([2.0, 1.0, 1.1, 3.0])
    found = estimates.working_range(rates, scores, higher_is_better=False, margin=0.5)
    np.testing.assert_allclose(np.log10([found.low, found.high]), [-2.5, -1 + 0.4 / 1.9])
    assert found.decades == pytest.approx(1.5 + 0.4 / 1.9)


def test_the_working_range_stops_at_the_grid_and_at_what_diverged():
    rates = np.logspace(-3, 0, 4)
    whole = estimates.working_range(rates, np.ones(4), higher_is_better=True)
    assert whole.decades == pytest.approx(3)
    cut = estimates.working_range(rates, np.array([np.nan, 1, 1, np.nan]), higher_is_better=True)
    assert (cut.low, cut.high) == (pytest.approx(1e-2), pytest.approx(1e-1))
    none = estimates.working_range(rates, np.full(4, np.nan), higher_is_better=True)
    assert np.isnan(none.decades)


def test_profiles_rise_to_the_share_that_was_solved():
    times = np.array([[1.0, 2.0, np.inf], [4.0, 2.0, np.inf], [np.inf, np.inf, np.inf]])
    ratios = across.corners(times)
    np.testing.assert_array_equal(ratios, [1, 2])
    shares = across.performance_profile(times, ratios)
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3], [1 / 3, 2 / 3], [0, 0]])


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsars(k, q):
    costs = np.arange(6.0 * k).reshape(6, k)
    expected = q * np.sqrt(k * (k + 1) / 36)
    assert across.ranks(costs).critical_difference == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("decimals", [8, 0])
def test_friedmans_test_is_scipys_with_and_without_ties(decimals):
    costs = np.random.default_rng(0).normal(size=(9, 4)).round(decimals)
    theirs = stats.friedmanchisquare(*costs.T).pvalue
    assert across.friedman_p(costs) == pytest.approx(theirs)


def test_groups_are_the_longest_and_cover_no_gap():
    ranks = np.array([1.0, 1.5, 2.5, 4.5])
    assert across.groups(ranks, 1.0) == [[0, 1], [1, 2]]
    assert across.groups(ranks, 0.1) == []
    assert across.groups(ranks, 9.0) == [[0, 1, 2, 3]]


def test_quartiles_leave_out_what_is_not_there():
    runs = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 7.0], [np.nan, 9.0]])
    np.testing.assert_allclose(estimates.quartiles(runs)[:, 0], [1.5, 2, 2.5])
    np.testing.assert_allclose(estimates.quartiles(runs)[:, 1], [7.5, 8, 8.5])


def test_the_cost_at_a_rate_lies_on_a_line_over_log_rate():
    rates = np.array([1e-3, 1.0, 1e-2, 1e-1])
    costs = np.array([[3.0, 9.0, 1.0, 2.0], [4.0, np.inf, 2.0, 2.5]])
    np.testing.assert_allclose(estimates.at_rate(rates, costs, 1e-3), [3.0, 4.0])
    np.testing.assert_allclose(estimates.at_rate(rates, costs, 1e-1), [2.0, 2.5])
    np.testing.assert_allclose(estimates.at_rate(rates, costs, 10**-2.5), [2.0, 3.0])
    assert np.all(np.isnan(estimates.at_rate(rates, costs, 10.0)))


def test_the_interval_of_a_difference_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), 3 * rng.normal(size=4) + 1
    found = estimates.difference_interval(a, b, level=0.9)
    want = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose([found.low, found.high], [want.low, want.high])
    assert found.centre == pytest.approx(a.mean() - b.mean())
