"""What the losses share: precision, logarithms that stay finite, masks and reductions."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

LOWEST_LOG = -1e30
"""The log-probability of what an infinite logit rules out: 0 times it is 0, not NaN."""

TOLERANCE = 0.01
"""How far from its range a probability may be, or a sum of them: some were bfloat16 once."""


def finite_log(p: jax.Array, floor: float) -> jax.Array:
    """log(p), continued below `floor` by its tangent there, log(floor) + p / floor - 1."""
    low = p < floor
    tangent = p / floor + (math.log(floor) - 1)
    return jnp.where(low, tangent, jnp.log(jnp.where(low, 1, p)))


def finite_log_complement(p: jax.Array, floor: float) -> jax.Array:
    """log(1 - p), with the digits of a small p, continued at 1 as `finite_log` is at 0."""
    below = p < 1
    return jnp.where(below, jnp.log1p(-jnp.where(below, p, 0)), finite_log(1 - p, floor))


def is_probability(p: jax.Array) -> jax.Array:
    """Where `p` is from 0 to 1."""
    return (p >= -TOLERANCE) & (p <= 1 + TOLERANCE)


def clipped(p: jax.Array) -> jax.Array:
    """`p` with values rounded out of [0, 1] put back, and the gradient of `p` all the same."""
    return p + jax.lax.stop_gradient(jnp.clip(p, 0, 1) - p)


def nan_unless(valid: jax.Array, x: jax.Array) -> jax.Array:
    """`x`, but NaN, and so its gradient, where it is not `valid`."""
    return x * jnp.where(valid, 1, jnp.nan).astype(x.dtype)


def hide(x: jax.Array, mask: jax.Array | None, fill: float) -> jax.Array:
    """`x` with `fill` where `mask` is False; a last axis that `mask` lacks is filled as a whole.

    To be done before a loss is computed: hiding its result alone leaves 0 * NaN in the gradient.
    """
    if mask is None:
        return x
    if mask.ndim < x.ndim:
        mask = jnp.broadcast_to(mask[..., None], x.shape)
    return jnp.where(mask, x, jnp.asarray(fill, x.dtype))


def reduce(
    loss: jax.Array,
    reduction: str,
    mask: jax.Array | None,
    weight: jax.Array | None,
    dtype: DTypeLike,
) -> jax.Array:
    """The losses of the examples, their sum, or their mean, as `dtype`.

    The mean divides by the total `weight` of the examples, or by their number, and is 0 where
    that is 0.
    """
    loss = hide(loss, mask, 0)
    if reduction == "none":
        return loss.astype(dtype)
    total = jnp.sum(loss)
    if reduction == "mean":
        size = _size(loss, mask, weight)
        total = total / jnp.where(size == 0, 1, size)
    return total.astype(dtype)


def _size(loss: jax.Array, mask: jax.Array | None, weight: jax.Array | None) -> jax.Array:
    if weight is not None:
        return jnp.sum(hide(weight, mask, 0))
    count = jnp.asarray(loss.size) if mask is None else jnp.sum(mask)
    return count.astype(loss.dtype)
