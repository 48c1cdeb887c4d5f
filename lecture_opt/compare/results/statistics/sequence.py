"""Tests and intervals that hold at every number of seeds at once, so that looking early is safe.

The test martingale of the t-statistic whose effect size is normal with variance `EFFECT` under
the alternative: its ratio of likelihoods exceeds 1 / alpha at any n, of all that are looked at,
with a probability of at most alpha (Ville). See Lai (1976), "On confidence sequences"; Wang and
Ramdas (2024), "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance".
"""

import math

from scipy import stats

EFFECT = 1.0


def e_value(t: float, n: int) -> float:
    """The evidence against a mean of zero in a t-statistic of n values; above 1 / alpha it counts.

    >>> round(e_value(4.0, 10), 2), e_value(0.0, 1)
    (23.58, 1.0)
    """
    if n < 2:
        return 1.0
    ratio, square = 1 + n * EFFECT, t * t / (n - 1)
    if math.isinf(square):
        return float(ratio ** ((n - 1) / 2))
    power = n / 2 * (math.log1p(square) - math.log1p(square / ratio))
    return math.exp(min(power - math.log(ratio) / 2, 700.0))


def critical(n: int, alpha: float) -> float:
    """The t-statistic at which `e_value` reaches 1 / alpha; infinity where n is too small.

    >>> round(e_value(critical(10, 0.05), 10), 9), critical(2, 0.05)
    (20.0, inf)
    """
    if n < 2:
        return math.inf
    ratio = 1 + n * EFFECT
    factor = (math.sqrt(ratio) / alpha) ** (2 / n)
    return math.inf if factor >= ratio else math.sqrt((n - 1) * (factor - 1) / (1 - factor / ratio))


def power(effect: float, n: int, alpha: float) -> float:
    """How often n values of this mean over deviation pass `critical` on the right side."""
    bound, shift = critical(n, alpha), effect * math.sqrt(n)
    if math.isinf(bound):
        return 0.0
    if shift > 30:  # where the non-central t loses its digits
        return float(shift > bound)
    return float(stats.nct.sf(bound, n - 1, shift))


def needed(
    effect: float, alpha: float, *, wanted: float = 0.8, most: int = 1_000_000
) -> int | None:
    """The fewest values with which `power` is as wanted; `None` where `most` are too few.

    >>> needed(1.0, 0.05), needed(0.0, 0.05)
    (20, None)
    """
    low, high = 2, 2
    while power(effect, high, alpha) < wanted:
        low, high = high, 2 * high
        if low > most:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, alpha) >= wanted else (middle + 1, high)
    return high
