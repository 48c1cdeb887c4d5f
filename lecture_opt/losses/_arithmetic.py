"""Arithmetic that the losses share: logarithms that stay finite, masks and reductions."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

LOWEST_LOG = -1e30
"""The log-probability of a class that an infinite logit rules out: 0 times it is 0, not NaN."""

TOLERANCE = 0.01
"""How far a probability, or a sum of them, may be out of its range: some come from bfloat16."""


def finite_log(p: jax.Array, floor: float) -> jax.Array:
    """log(p), and below `floor` the tangent at `floor`, log(floor) + p / floor - 1."""
    low = p < floor
    tangent = p / floor + (math.log(floor) - 1)
    return jnp.where(low, tangent, jnp.log(jnp.where(low, 1, p)))


def finite_log_complement(p: jax.Array, floor: float) -> jax.Array:
    """log(1 - p), exact for small p, and at p = 1 as finite as `finite_log` at 0."""
    below = p < 1
    return jnp.where(below, jnp.log1p(-jnp.where(below, p, 0)), finite_log(1 - p, floor))


def is_probability(p: jax.Array) -> jax.Array:
    """Whether each `p` is from 0 to 1."""
    return (p >= -TOLERANCE) & (p <= 1 + TOLERANCE)


def clipped(p: jax.Array) -> jax.Array:
    """`p` with values that rounding put out of [0, 1] put back; the gradient stays that of `p`."""
    return p + jax.lax.stop_gradient(jnp.clip(p, 0, 1) - p)


def nan_unless(valid: jax.Array, x: jax.Array) -> jax.Array:
    """`x` where `valid`; elsewhere NaN, and so is the gradient."""
    return x * jnp.where(valid, 1, jnp.nan).astype(x.dtype)


def hide(x: jax.Array, mask: jax.Array | None, fill: float) -> jax.Array:
    """`x` with `fill` where `mask` is False; a last axis that `mask` lacks is filled as a whole.

    Hide before the loss is computed: hiding only its result leaves 0 * NaN in the gradient.
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
    """The losses of the examples, their sum or their mean, as `dtype`.

    The mean divides by the total `weight` of the examples, or by their number; it is 0 where
    the divisor is 0.
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
