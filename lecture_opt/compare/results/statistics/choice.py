"""The choice of a setting as part of the experiment: what other tuning seeds would have chosen.

The tuning seeds are resampled (Efron, 1979); each resample chooses the setting by the rule that
the study chooses by. The seeds are fixed, and the same resamples serve all optimizers of a task,
which share their tuning seeds.
"""

import functools

import numpy as np

RESAMPLES = 400
MOST = 4
LEAST_SHARE = 0.05


def chosen(validation: np.ndarray, diverged: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """(RESAMPLES,) the setting that each resample of the tuning seeds chooses.

    The setting with the fewest diverged runs, then with the best mean of the others.

    Args:
        validation: (seeds, settings) metric to choose by.
        diverged: (seeds, settings).
        higher_is_better: The metric's direction.

    >>> np.unique(chosen(np.array([[0.5, 0.9]] * 4), np.zeros((4, 2)), higher_is_better=True))
    array([1])
    """
    seeds = len(validation)
    counts = _resampled(seeds)
    alive = ~np.asarray(diverged, bool)
    cost = np.where(alive, -validation if higher_is_better else validation, 0).astype(np.float64)
    failures, kept = counts @ ~alive, counts @ alive
    means = np.divide(counts @ cost, kept, out=np.full(kept.shape, np.inf), where=kept > 0)
    means[failures > failures.min(axis=1, keepdims=True)] = np.inf
    return np.argmin(means, axis=1)


@functools.lru_cache(maxsize=64)
def _resampled(seeds: int) -> np.ndarray:
    """(RESAMPLES, seeds) how often each resample has each seed."""
    rng = np.random.default_rng(0)
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES).astype(np.float64)


def reported(first: int, resampled: np.ndarray) -> np.ndarray:
    """The settings to report: the chosen one, then those that resamples choose most often.

    At most `MOST`, and only those that `LEAST_SHARE` of the resamples choose.

    >>> reported(3, np.array([3, 3, 2, 2, 2, 1]))
    array([3, 2, 1])
    """
    places, counts = np.unique(resampled, return_counts=True)
    often = [
        place
        for place in places[np.argsort(-counts, kind="stable")]
        if place != first and np.mean(resampled == place) >= LEAST_SHARE
    ]
    return np.array([first, *often[: MOST - 1]])


def variance(
    mine: np.ndarray, my_choice: np.ndarray, theirs: np.ndarray, their_choice: np.ndarray
) -> float:
    """Variance of the difference of two means that is due to the choice of settings.

    Args:
        mine, theirs: (reported,) mean metric of each reported setting.
        my_choice, their_choice: (RESAMPLES,) place in these that each resample chooses.
    """
    return float(np.var(mine[my_choice] - theirs[their_choice]))


def places(reported: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """(RESAMPLES,) each choice as a place in `reported`; the first for a choice not reported.

    >>> places(np.array([3, 2]), np.array([3, 2, 1]))
    array([0, 1, 0])
    """
    match = resampled[:, None] == reported
    return np.where(match.any(axis=1), match.argmax(axis=1), 0)
