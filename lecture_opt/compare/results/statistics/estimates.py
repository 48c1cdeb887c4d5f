"""What one optimizer's runs on one task say: means, medians, widths, with intervals."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A number and the ends of its interval."""

    centre: float
    low: float
    high: float


def mean_interval(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """The mean with Student's interval.

    It covers as stated for normal values, however few; the bootstrap's does not below twenty.

    >>> mean_interval(np.array([2.0, 2.0, 2.0]))
    Interval(centre=2.0, low=2.0, high=2.0)
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2 or not np.all(np.isfinite(values)):
        return Interval(float(np.mean(values)) if n else math.nan, math.nan, math.nan)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half)


def first_reached(
    curves: np.ndarray, steps: np.ndarray, target: float, *, higher_is_better: bool
) -> np.ndarray:
    """For each run the first step at which its curve reaches the target; infinity for never.

    Args:
        curves: (runs, evaluations); NaN reaches nothing.
        steps: (evaluations,) steps done at each evaluation.
        target: The value to reach.
        higher_is_better: Whether to reach it from below.

    >>> first_reached(np.array([[0.2, 0.8], [0.1, 0.2]]), np.array([10, 20]), 0.5,
    ...               higher_is_better=True)
    array([20., inf])
    """
    reached = curves >= target if higher_is_better else curves <= target
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)].astype(float), np.inf)


def taken(
    values: np.ndarray, curves: np.ndarray, choose: str, *, higher_is_better: bool
) -> np.ndarray:
    """(runs,) each run's value at the evaluation that counts: the last, or the first best.

    Args:
        values, curves: (runs, evaluations); `curves`, the validation metric, says the best.
        choose: "last" or "best".
        higher_is_better: The metric's direction.

    >>> taken(np.array([[1, 2, 3]]), np.array([[0.5, 0.9, np.nan]]), "best", higher_is_better=True)
    array([2])
    """
    if choose == "last":
        return values[:, -1]
    cost = np.where(np.isnan(curves), np.inf, -curves if higher_is_better else curves)
    return values[np.arange(len(cost)), np.argmin(cost, axis=1)]


def median_interval(times: np.ndarray, *, level: float = 0.95) -> Interval:
    """The median of times, infinity for what never came, with its interval from order statistics.

    All runs are watched for the same number of steps, so the Kaplan-Meier estimate of the median
    is the median with the censored runs last. The interval holds for any distribution: between
    the order statistics k and n + 1 - k, k the largest with P(Binomial(n, 1/2) < k) at most half
    of 1 - level; infinite, both ends, where n is too small for any.

    >>> median_interval(np.array([10.0, 20.0, np.inf, 15.0, 12.0, 11.0]))
    Interval(centre=13.5, low=10.0, high=inf)
    """
    ordered = np.sort(times)
    n = len(ordered)
    middle = ordered[(n - 1) // 2], ordered[n // 2]
    median = float(np.mean(middle)) if np.isfinite(middle[1]) else math.inf
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    if stats.binom.cdf(k, n, 0.5) <= (1 - level) / 2:
        k += 1
    if k == 0:
        return Interval(median, -math.inf, math.inf)
    return Interval(median, float(ordered[k - 1]), float(ordered[n - k]))


def best_draw(validation: np.ndarray, diverged: np.ndarray, *, higher_is_better: bool) -> int:
    """Index of the draw to choose: fewest diverged runs, then best mean validation metric.

    Args:
        validation: (seeds, draws) final validation metric.
        diverged: (seeds, draws).
        higher_is_better: The metric's direction.

    >>> best_draw(np.array([[0.5, 0.9, 1.0]]), np.array([[0, 0, 1]]), higher_is_better=True)
    1
    """
    score = draw_scores(validation, diverged)
    failures = np.sum(diverged, axis=0)
    worst_last = np.nan_to_num(-score if higher_is_better else score, nan=np.inf)
    return int(np.lexsort((worst_last, failures))[0])


def draw_scores(validation: np.ndarray, diverged: np.ndarray) -> np.ndarray:
    """(draws,) mean validation metric of the runs that did not diverge; NaN where all did.

    >>> draw_scores(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[0, 1], [0, 1]]))
    array([ 2., nan])
    """
    kept = ~np.asarray(diverged, bool)
    total = np.where(kept, validation, 0.0).astype(np.float64).sum(axis=0)
    return np.divide(total, kept.sum(axis=0), out=np.full(kept.shape[1], np.nan), where=kept.any(0))


class Range(NamedTuple):
    """The learning rates that work: `decades` = log10(high / low)."""

    decades: float
    low: float
    high: float


def is_near_best(scores: np.ndarray, *, higher_is_better: bool, margin: float) -> np.ndarray:
    """Which scores are within `margin`, a share of the best one's size, of the best one.

    >>> is_near_best(np.array([0.5, 0.96, 1.0]), higher_is_better=True, margin=0.05)
    array([False,  True,  True])
    """
    if not np.any(np.isfinite(scores)):
        return np.zeros(len(scores), bool)
    sign = -1 if higher_is_better else 1
    best = np.nanmin(sign * scores)
    return sign * scores <= best + margin * abs(best)


def working_range(
    rates: np.ndarray, scores: np.ndarray, *, higher_is_better: bool, margin: float = 0.05
) -> Range:
    """The unbroken range of rates around the best whose scores are within `margin` of it.

    Its ends lie where the line between two neighbours, over log rate, crosses the margin; next to
    a score that does not exist, at the last rate that works.

    Args:
        rates: (n,) ascending.
        scores: (n,) metric at each, NaN where it is unknown.
        higher_is_better: The metric's direction.
        margin: A share of the best score's size.

    >>> working_range(np.array([1e-3, 1e-2, 1e-1]), np.array([0.5, 1.0, np.nan]),
    ...               higher_is_better=True, margin=0.25)
    Range(decades=0.5, low=0.0031622776601683794, high=0.01)
    """
    near = is_near_best(scores, higher_is_better=higher_is_better, margin=margin)
    if not near.any():
        return Range(math.nan, math.nan, math.nan)
    cost = -scores if higher_is_better else scores
    best = int(np.nanargmin(cost))
    limit = cost[best] + margin * abs(cost[best])
    logs = np.log10(rates)

    def end(step: int) -> float:
        last = best
        while 0 <= last + step < len(near) and near[last + step]:
            last += step
        beyond = last + step
        if not 0 <= beyond < len(near) or not np.isfinite(cost[beyond]):
            return float(logs[last])
        share = (limit - cost[last]) / (cost[beyond] - cost[last])
        return float(logs[last] + share * (logs[beyond] - logs[last]))

    low, high = end(-1), end(1)
    return Range(high - low, 10**low, 10**high)


def at_rate(rates: np.ndarray, costs: np.ndarray, wanted: float) -> np.ndarray:
    """(seeds,) the cost at the rate `wanted`: a line over log rate between two tried, NaN beyond.

    Args:
        rates: (n,) in any order.
        costs: (seeds, n) finite.

    >>> at_rate(np.array([1e-3, 1e-1, 1e-2]), np.array([[5.0, 2.0, 1.0]]), 10**-1.5)
    array([1.5])
    """
    order = np.argsort(rates)
    logs, at = np.log10(rates[order]), np.log10(wanted)
    if not logs[0] - 1e-9 <= at <= logs[-1] + 1e-9:
        return np.full(len(costs), np.nan)
    return np.array([np.interp(at, logs, row[order]) for row in costs.astype(np.float64)])


def difference_interval(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Interval:
    """The mean of `a` minus that of `b`, of other seeds, with Welch's interval.

    >>> difference_interval(np.array([3.0, 3.0]), np.array([1.0, 1.0]))
    Interval(centre=2.0, low=2.0, high=2.0)
    """
    mean = float(np.mean(a, dtype=np.float64) - np.mean(b, dtype=np.float64))
    if min(len(a), len(b)) < 2:
        return Interval(mean, math.nan, math.nan)
    each = [float(np.var(x, ddof=1, dtype=np.float64)) / len(x) for x in (a, b)]
    if not sum(each):
        return Interval(mean, mean, mean)
    pairs = zip(each, (a, b), strict=True)
    freedom = sum(each) ** 2 / sum(v**2 / (len(x) - 1) for v, x in pairs)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(sum(each))
    return Interval(mean, mean - half, mean + half)


def resolution(rates: np.ndarray | None, scores: np.ndarray, chosen: int) -> float:
    """What the chosen setting's metric may lose because the settings that were tried lie apart.

    Around the best rate the metric is a parabola over log rate, and the best lies within half of
    the distance to a neighbour: an eighth of what the worse neighbour loses is the deviation. A
    rate over four times away is not a neighbour, and says nothing of the parabola. Where more than
    the rate is tuned, it is the distance to the next best score.

    Args:
        rates: (n,) in any order; `None` where more is tuned.
        scores: (n,) NaN where there is none.
        chosen: Index of the setting.

    >>> resolution(np.array([1.0, 9.0, 3.0]), np.array([3.0, 2.6, 1.0]), 2)
    0.25
    """
    gaps = np.abs(scores - scores[chosen])
    if rates is None:
        others = np.delete(gaps, chosen)
        others = others[np.isfinite(others)]
        return float(others.min()) if len(others) else 0.0
    order = np.argsort(rates)
    place = int(np.flatnonzero(order == chosen)[0])
    next_to = order[max(place - 1, 0) : place + 2]
    near = np.abs(np.log(rates[next_to] / rates[chosen])) <= np.log(4)
    around = gaps[next_to[near]]
    around = around[np.isfinite(around)]
    return float(around.max()) / 8 if len(around) else 0.0


def best_of(scores: np.ndarray, *, higher_is_better: bool) -> tuple[np.ndarray, np.ndarray]:
    """The best score of k draws taken at random from n: what a smaller tuning budget gives.

    The best of k is the i-th best of all with probability C(n - i, k - 1) / C(n, k). A draw
    without a score is worse than any, and counted as the worst score there is.

    Args:
        scores: (n,) a score for each draw, NaN where it failed.
        higher_is_better: The scores' direction.

    Returns:
        means (n,) and quartiles (n, 2), the low and the high one, for k = 1, ..., n.

    >>> best_of(np.array([1.0, 3.0]), higher_is_better=True)[0]
    array([2., 3.])
    """
    n = len(scores)
    sign = -1 if higher_is_better else 1
    filled = np.where(np.isfinite(scores), sign * scores, np.inf)
    finite = filled[np.isfinite(filled)]
    filled[~np.isfinite(filled)] = finite.max() if len(finite) else np.nan
    ordered = sign * np.sort(filled)
    weights = np.array(
        [
            [math.comb(n - i, k - 1) / math.comb(n, k) for i in range(1, n + 1)]
            for k in range(1, n + 1)
        ]
    )
    reached = np.cumsum(weights, axis=1)
    quartiles = np.array(
        [
            [ordered[min(int(np.searchsorted(row, q)), n - 1)] for q in (0.25, 0.75)]
            for row in reached
        ]
    )
    return weights @ ordered, np.sort(quartiles, axis=1)


def quartiles(runs: np.ndarray) -> np.ndarray:
    """(3, ...) lower quartile, median and upper quartile over the first axis, without the NaNs.

    >>> quartiles(np.array([[1.0, np.nan], [3.0, np.nan]]))
    array([[1.5, nan],
           [2. , nan],
           [2.5, nan]])
    """
    result = np.full((3, *runs.shape[1:]), np.nan)
    some = ~np.all(np.isnan(runs), axis=0)
    kept = runs[:, some].astype(np.float64)  # what float32 holds may overflow in its arithmetic
    result[:, some] = np.nanquantile(kept, [0.25, 0.5, 0.75], axis=0)
    return result.astype(runs.dtype)
