"""Updates compared whatever the learning rates are that they were multiplied by."""

import numpy as np

from lecture_opt.check.diagnosis.rules import Array


def unit(updates: Array, runs: int) -> Array:
    """Each run's updates of a step as a vector of length 1, one that rests as zeros."""
    apart = updates.reshape(*updates.shape[:-1], runs, -1)
    length = np.sqrt(np.sum(np.nan_to_num(apart) ** 2, axis=-1, keepdims=True))
    return (apart / np.where(length > 0, length, 1.0)).reshape(updates.shape)


def beside_sums(steps: Array, wanted: Array, every: int) -> Array:
    """What no learning rates, a square of time in each sum, make of a rule's steps as the sums.

    Of each four sums the worst is left out: there a schedule may have a corner.
    """
    count = len(steps) // every
    windows = steps[: count * every].reshape(count, every, *steps.shape[1:])
    weights = np.linspace(-1, 1, every) ** np.arange(min(3, every))[:, None]
    parts = np.nan_to_num(np.einsum("pi,ji...n->j...np", weights, windows))
    axes, _ = np.linalg.qr(parts)
    target = np.broadcast_to(unit(wanted, 1), parts.shape[:-1])[..., None]
    gap = (axes @ (axes.swapaxes(-1, -2) @ target) - target)[..., 0]
    order = np.argsort(np.abs(gap).max(axis=-1), axis=0)
    ranks = np.argsort(order, axis=0)[..., None]
    return np.where(ranks < count - count // 4, gap, 0.0)


def sums(steps: Array, every: int) -> Array:
    """The sums of so many steps each; steps that are left over are left out."""
    count = len(steps) // every
    return steps[: count * every].reshape(count, every, *steps.shape[1:]).sum(axis=1)
