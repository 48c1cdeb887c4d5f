"""Whether two optimizers differ, judged from runs that are paired by seed.

The null hypothesis of the test: the two are alike, so that which of a pair is called which does
not matter, and every difference is as likely to have had the other sign.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

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


def fewest_pairs(level: float, comparisons: int = 1) -> int:
    """How many pairs the exact test needs for any result below the level, 2 / 2**n, corrected.

    >>> fewest_pairs(0.05), fewest_pairs(0.05, comparisons=11)
    (6, 9)
    """
    return math.ceil(math.log2(2 * comparisons / level))


def pairs_needed(
    differences: np.ndarray, *, level: float = 0.05, comparisons: int = 1, power: float = 0.8
) -> int | None:
    """How many pairs would show a difference of this mean and deviation.

    The number at which the paired t-test, whose power the permutation test has, reaches `power`
    at level / comparisons (Bonferroni's, so that Holm's will do); at least `fewest_pairs`. None
    where the mean is zero or a million are too few.

    >>> pairs_needed(np.array([1.0, -1.0, 2.0, 0.0]))
    55
    """
    mean, deviation = np.mean(differences), np.std(differences, ddof=1)
    floor = fewest_pairs(level, comparisons)
    if mean == 0:
        return None
    if deviation == 0:
        return floor
    effect = abs(mean) / deviation

    def enough(n: int) -> bool:
        return t_test_power(effect, n, level / comparisons) >= power

    high = floor
    while not enough(high):
        high *= 2
        if high > 1_000_000:
            return None
    low = floor
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def t_test_power(effect: float, n: int, level: float) -> float:
    """Power of the two-sided paired t-test at an effect of mean / deviation.

    >>> round(t_test_power(0.5, 34, 0.05), 2)
    0.81
    """
    if n < 2:
        return 0.0
    critical = stats.t.ppf(1 - level / 2, n - 1)
    shift = effect * math.sqrt(n)
    if shift > 30:  # where the non-central t loses its digits, and the power is 1
        return 1.0
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))


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


class Verdict(NamedTuple):
    """`word` is "better", "worse" or "cannot be told apart"; `seeds_needed` only with the last."""

    word: str
    seeds_needed: int | None


def verdict(gain: np.ndarray, p_adjusted: float, *, level: float, comparisons: int) -> Verdict:
    """What the corrected test says of these gains.

    >>> verdict(np.array([1.0, 2.0]), 0.5, level=0.05, comparisons=1).word
    'cannot be told apart'
    """
    if p_adjusted <= level:
        return Verdict("better" if np.mean(gain) > 0 else "worse", None)
    return Verdict("cannot be told apart", pairs_needed(gain, level=level, comparisons=comparisons))
