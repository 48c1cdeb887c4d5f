"""The statistics of a comparison: small pure functions of arrays of runs."""

import numpy as np


def best_rate(validation: np.ndarray, diverged: np.ndarray, *, higher_is_better: bool) -> int:
    """Index of the learning rate with the best mean validation metric over seeds.

    Args:
      validation: (seeds, rates) final validation metric.
      diverged: (seeds, rates); a rate with a diverged run is chosen only if all have one.
      higher_is_better: the metric's direction.

    >>> best_rate(np.array([[0.5, 0.9, 1.0]]), np.array([[0, 0, 1]]), higher_is_better=True)
    1
    """
    score = np.mean(np.nan_to_num(validation, nan=np.inf), axis=0)
    score = score if not higher_is_better else -np.mean(validation, axis=0)
    failures = np.sum(diverged, axis=0)
    return int(np.lexsort((np.nan_to_num(score, nan=np.inf), failures))[0])


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, draws: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron, 1979), with a fixed seed.

    >>> bootstrap_interval(np.array([2.0, 2.0, 2.0]))
    (2.0, 2.0)
    """
    rows = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    means = values[rows].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def steps_to_target(
    curves: np.ndarray, steps: np.ndarray, target: float, *, higher_is_better: bool
) -> np.ndarray:
    """For each run the first step at which its curve reaches the target; NaN where none does.

    Args:
      curves: (runs, evaluations).
      steps: (evaluations,) steps done at each evaluation.
      target: the value to reach.
      higher_is_better: whether to reach it from below.

    >>> steps_to_target(np.array([[0.2, 0.8], [0.1, 0.2]]), np.array([10, 20]), 0.5,
    ...                 higher_is_better=True)
    array([20., nan])
    """
    reached = curves >= target if higher_is_better else curves <= target
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), -1)
    return np.where(first >= 0, steps[first].astype(float), np.nan)


def median_censored(steps: np.ndarray) -> float | None:
    """The median number of steps, runs that never got there counted as the slowest.

    None where half of the runs or more never got there.

    >>> median_censored(np.array([10.0, 20.0, np.nan]))
    20.0
    """
    middle = float(np.median(np.where(np.isnan(steps), np.inf, steps)))
    return middle if np.isfinite(middle) else None
