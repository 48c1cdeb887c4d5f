"""What many tasks say together: performance profiles and mean ranks."""

from typing import NamedTuple

import numpy as np
from scipy import stats


def performance_profile(times: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """The share of problems each solver solves within a ratio of the quickest (Dolan, Moré, 2002).

    Args:
        times: (problems, solvers), infinity for what was not solved.
        ratios: (m,) of at least 1.

    Returns:
        (solvers, m). A problem that nobody solves counts for nobody.

    >>> performance_profile(np.array([[1.0, 2.0], [np.inf, 3.0]]), np.array([1.0, 2.0]))
    array([[0.5, 0.5],
           [0.5, 1. ]])
    """
    return np.mean(_relative(times)[:, :, None] <= ratios * (1 + 1e-12), axis=0)


def corners(times: np.ndarray) -> np.ndarray:
    """The ratios, from 1, at which some profile of these times steps up.

    >>> corners(np.array([[1.0, 2.0], [np.inf, 3.0]]))
    array([1., 2.])
    """
    relative = _relative(times)
    return np.unique(np.append(np.round(relative[np.isfinite(relative)], 9), 1.0))


def _relative(times: np.ndarray) -> np.ndarray:
    """The times over the quickest of each problem; infinity where nobody solved it."""
    quickest = times.min(axis=1, keepdims=True)
    out = np.full(times.shape, np.inf)
    return np.divide(times, quickest, out=out, where=np.isfinite(quickest))


class Ranks(NamedTuple):
    """What ranks say.

    Attributes:
        mean: (solvers,) mean rank over problems, 1 is best.
        critical_difference: What two mean ranks must differ by (Nemenyi, 1963).
        friedman_p: Of the hypothesis that all rank alike (Friedman, 1937).
        groups: Sets of solvers, as indices best first, that lie within the critical difference.
    """

    mean: np.ndarray
    critical_difference: float
    friedman_p: float
    groups: list[list[int]]


def ranks(costs: np.ndarray, *, level: float = 0.05) -> Ranks:
    """Mean ranks, as Demsar (2006) advises for comparisons over several data sets.

    Args:
        costs: (problems, solvers), lower is better; equal ones share the mean of their ranks.
        level: Error rate of the critical difference.

    >>> ranks(np.array([[1.0, 2.0], [3.0, 4.0]])).mean
    array([1., 2.])
    """
    problems, solvers = costs.shape
    mean = stats.rankdata(costs, axis=1).mean(axis=0)
    quantile = stats.studentized_range.ppf(1 - level, solvers, np.inf) / np.sqrt(2)
    critical = float(quantile * np.sqrt(solvers * (solvers + 1) / (6 * problems)))
    return Ranks(mean, critical, friedman_p(costs), groups(mean, critical))


def friedman_p(costs: np.ndarray) -> float:
    """Friedman's test, with its chi-squared approximation and correction for ties.

    One where all are equal on every problem; NaN for fewer than two solvers or problems.

    >>> round(friedman_p(np.array([[1.0, 2.0, 3.0]] * 4)), 4)
    0.0183
    """
    problems, solvers = costs.shape
    if problems < 2 or solvers < 2:
        return float("nan")
    table = stats.rankdata(costs, axis=1)
    spread = np.sum((table - (solvers + 1) / 2) ** 2)
    if spread == 0:
        return 1.0
    between = problems**2 * np.sum((table.mean(axis=0) - (solvers + 1) / 2) ** 2)
    statistic = (solvers - 1) * between / spread
    return float(stats.chi2.sf(statistic, solvers - 1))


def groups(mean_ranks: np.ndarray, critical_difference: float) -> list[list[int]]:
    """The largest runs of neighbours, by mean rank, within the critical difference.

    >>> groups(np.array([1.0, 3.0, 2.0]), 1.0)
    [[0, 2], [2, 1]]
    """
    order = np.argsort(mean_ranks, kind="stable")
    found: list[list[int]] = []
    reach = -1
    for start, first in enumerate(order):
        within = mean_ranks[order[start:]] - mean_ranks[first] <= critical_difference
        end = start + int(np.flatnonzero(within)[-1])
        if end > reach and end > start:
            found.append([int(i) for i in order[start : end + 1]])
        reach = max(reach, end)
    return found
