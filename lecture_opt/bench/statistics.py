"""The statistics of timings: medians, bootstrap intervals and ratios of paired rounds."""

import numpy as np
from numpy.typing import ArrayLike

from lecture_opt.bench.types import Estimate

DRAWS = 2_000


def median_interval(samples: ArrayLike, *, level: float = 0.95) -> Estimate:
    """The median and its percentile bootstrap interval (Efron, 1979), with a fixed seed.

    >>> median_interval([2.0, 2.0, 2.0])
    Estimate(value=2.0, low=2.0, high=2.0)
    """
    values = np.asarray(samples, float)
    rows = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(np.median(values[rows], axis=1), [tail, 1 - tail])
    return Estimate(float(np.median(values)), float(low), float(high))


def ratio_interval(samples: ArrayLike, against: ArrayLike) -> Estimate:
    """The median over rounds of samples / against, and its interval.

    The two were measured in turn in each round, so what slows one round slows both.

    >>> ratio_interval([2.0, 20.0], [1.0, 10.0])
    Estimate(value=2.0, low=2.0, high=2.0)
    """
    return median_interval(np.asarray(samples, float) / np.asarray(against, float))


def times_limit(seconds: float, moved_bytes: float, bandwidth: float) -> float:
    """How many times longer than moving the bytes once at the bandwidth, in bytes per second.

    >>> times_limit(seconds=2.0, moved_bytes=100.0, bandwidth=100.0)
    2.0
    """
    return seconds * bandwidth / moved_bytes
