"""Costs for the last module: each returns the loss and its delta, the derivative by the output.

The losses of the same names in `lecture_opt` return the loss alone.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lecture_opt import losses


def softmax_cross_entropy(logits: jax.Array, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The pair (loss, delta): the mean cross-entropy of softmax(logits), and (q - p) / N.

    From L = -sum_j p_j log q_j and the softmax: dL/dz_j = -sum_k p_k (1[j = k] - q_j) = q_j - p_j,
    as the p sum to 1. The N examples are averaged.

    Args:
        logits: `(..., classes)`.
        labels: Class ids or distributions, as in `lecture_opt.softmax_cross_entropy`.

    Example:
        >>> loss, delta = softmax_cross_entropy(jnp.zeros((1, 2)), jnp.array([0]))
        >>> print(delta)
        [[-0.5  0.5]]
    """
    loss = losses.softmax_cross_entropy(logits, labels)
    q, p = jax.nn.softmax(logits), jnp.asarray(labels)
    if p.ndim < logits.ndim:
        p = jax.nn.one_hot(p, logits.shape[-1])
    return loss, (q - p.astype(q.dtype)) / float(logits.size // logits.shape[-1])


def sigmoid_cross_entropy(logits: jax.Array, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The pair (loss, delta): the mean binary cross-entropy of sigmoid(logits), and (q - p) / N.

    Example:
        >>> loss, delta = sigmoid_cross_entropy(jnp.zeros(2), jnp.array([1, 0]))
        >>> print(delta)
        [-0.25  0.25]
    """
    loss = losses.sigmoid_cross_entropy(logits, labels)
    return loss, (jax.nn.sigmoid(logits) - jnp.asarray(labels).astype(logits.dtype)) / float(
        logits.size
    )


def squared_error(predictions: jax.Array, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The pair (loss, delta): the mean of (y - f)^2, and 2 (f - y) / N.

    Example:
        >>> loss, delta = squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))
        >>> print(loss, delta)
        2.0 [ 0. -2.]
    """
    loss = losses.mean_squared_error(predictions, targets)
    error = predictions - jnp.asarray(targets).astype(predictions.dtype)
    return loss, error * 2 / float(predictions.size)
