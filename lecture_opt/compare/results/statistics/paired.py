"""Whether two optimizers differ, judged from runs that are paired by seed.

The null hypothesis of the test: the two are alike, so that which of a pair is called which does
not matter, and every difference is as likely to have had the other sign.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from lecture_opt.compare.results.statistics import sequence

EXACT_UP_TO = 16
SAMPLED_FLIPS = 100_000


def permutation_p(differences: np.ndarray) -> float:
    """Two-sided p of the paired permutation test of a mean of zero (Fisher, 1935).

    Exact over all 2**n flips of signs for n up to 16; from 100,000 random flips, the observed one
    counted among them, beyond.

    Args:
        differences: (n,) finite, one for each pair.

    >>> permutation_p(np.array([1.0, 2.0, 3.0]))
    0.25
    """
    differences = np.asarray(differences, np.float64)  # one sum in float32 would not be the other's
    n = len(differences)
    if n <= EXACT_UP_TO:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(2, size=(SAMPLED_FLIPS, n))
        bits[0] = 0
    sums = np.abs((1 - 2 * bits) @ differences)
    slack = 1e-12 * np.sum(np.abs(differences))  # sums in another order round differently
    return float(np.mean(sums >= abs(np.sum(differences)) - slack))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's (1979) p-values: whatever is below a level there is so at that familywise error rate.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def p_value(values: np.ndarray, error: float, *, planned: bool) -> float:
    """Two-sided p of a mean of zero that holds however often, and whenever, one looks.

    Half of the error is spent at the planned number of seeds, on Student's test with the error of
    the choice. The other half serves all other looks, by `sequence`. The exact permutation test
    must agree each time: it needs no normal values.

    Args:
        values: (n,) differences.
        error: Standard error of their mean, that of the choice of settings included.
        planned: Whether n is the number of seeds that was planned before any run.

    >>> p_value(np.array([1.0, 1.2, 0.9, 1.1, 1.3, 0.8, 1.0, 1.1]), 0.1, planned=True)
    0.015625
    """
    n, mean = len(values), float(np.mean(values))
    if mean == 0 or n < 2:
        return 1.0
    t = abs(mean) / error if error > 0 else math.inf
    p = 2 * float(stats.t.sf(t, n - 1)) if planned else 1 / sequence.e_value(t, n)
    return min(1.0, 2 * max(p, permutation_p(values)))


def half_width(n: int, *, level: float, planned: bool) -> float:
    """How many standard errors the interval of a mean reaches to either side.

    Of the same tests as `p_value`: Student's at the planned number of seeds, the confidence
    sequence's elsewhere.

    >>> round(half_width(10, level=0.95, planned=True), 3)
    2.685
    """
    alpha = (1 - level) / 2
    if n < 2:
        return math.inf
    anytime = sequence.critical(n, alpha)
    return min(anytime, float(stats.t.ppf(1 - alpha / 2, n - 1))) if planned else anytime


def least_p(n: int, comparisons: int = 1) -> float:
    """The least p, corrected, that any difference of n seeds can have.

    >>> least_p(3), least_p(10, comparisons=11)
    (0.5, 0.04296875)
    """
    return min(1.0, 2 * comparisons * max(2.0 ** (1 - n), 1 / SAMPLED_FLIPS))


def gains(
    values: np.ndarray, baseline: np.ndarray, *, higher_is_better: bool, rounding: float = 1e-5
) -> np.ndarray:
    """How much better each run is than its pair; positive is better whatever the direction.

    Two float32 programs of one formula differ in their last digits, always to the same side
    perhaps; what is within `rounding`, relatively, is a tie.

    >>> gains(np.array([1.0, 2.0]), np.array([1.5, 2.0000001]), higher_is_better=False)
    array([0.5, 0. ])
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    difference = (values - baseline) * (1 if higher_is_better else -1)
    same = np.abs(difference) <= rounding * np.maximum(np.abs(values), np.abs(baseline))
    return np.where(same, 0.0, difference)


def verdict(mean: float, half: float, p_adjusted: float, *, margin: float, alpha: float) -> str:
    """What is said: equivalent within the margin, better, worse or undecided.

    A difference that is surely smaller than the margin does not count, however significant.

    Args:
        mean: Gain.
        half: Its interval reaches so far to either side.
        p_adjusted: Of no gain, corrected for the number of comparisons.
        margin: The smallest difference that matters.
        alpha: Error rate.

    >>> verdict(0.2, 0.1, 0.01, margin=0.25, alpha=0.05)
    'better'
    """
    if abs(mean) + half <= margin:
        return "equivalent"
    if p_adjusted <= alpha:
        return "better" if mean > 0 else "worse"
    return "undecided"


class Needed(NamedTuple):
    """How many seeds settle a difference of the margin, and the ends of that number's interval."""

    seeds: int | None
    low: int | None
    high: int | None

    def __str__(self) -> str:
        most = "over a million" if self.high is None else f"{self.high:,}"
        return f"about {self.seeds:,} seeds ({self.low:,} to {most})"


def seeds_needed(
    deviation: float, n: int, *, margin: float, alpha: float, level: float = 0.95
) -> Needed:
    """How many seeds find a difference of the margin four times in five, whenever one looks.

    Args:
        deviation: Of one seed's difference, estimated from n seeds.
        n: Seeds.
        margin: The difference to find.
        alpha: Error rate of one comparison.
        level: Of the interval, which the uncertainty of the deviation gives (chi-squared).

    >>> seeds_needed(1.0, 10, margin=1.0, alpha=0.05)
    Needed(seeds=22, low=13, high=66)
    """
    if deviation == 0:
        return Needed(2, 2, 2)
    tails = stats.chi2.ppf([1 - (1 - level) / 2, (1 - level) / 2], n - 1)
    ends = deviation * np.sqrt((n - 1) / tails)
    found = [sequence.needed(margin / d, alpha / 2) for d in (deviation, *ends.tolist())]
    return Needed(*found)
