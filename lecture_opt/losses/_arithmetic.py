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


def log_softmax(logits: jax.Array) -> jax.Array:
    """log(softmax) over the last axis, `LOWEST_LOG` for a class that an infinite logit rules out.

    The distance of two finite logits may overflow: it is then the largest number, and its slope
    is still 1.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    overflown = (shifted == -jnp.inf) & (logits > -jnp.inf)
    x = jnp.where(overflown, logits, 0)
    furthest = float(-jnp.finfo(x.dtype).max) + (x - jax.lax.stop_gradient(x))
    shifted = jnp.where(overflown, furthest, shifted)
    return lowest(shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=-1, keepdims=True)))


def lowest(log_p: jax.Array) -> jax.Array:
    """`log_p` with `LOWEST_LOG` for minus infinity."""
    return jnp.where(log_p == -jnp.inf, LOWEST_LOG, log_p)


@jax.custom_jvp
def quotient(x: jax.Array, scale: jax.Array) -> jax.Array:
    """The quotient x / scale, with a slope that stays finite where 1 / scale^2 overflows.

    The slope multiplies by 1 / scale: XLA makes x / scale / scale into x / (scale * scale).
    """
    return x / scale


@quotient.defjvp
def _quotient_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    z, scale = quotient(*primals), primals[1]
    return z, (tangents[0] - z * tangents[1]) * (1 / scale)


@jax.custom_jvp
def quotient_of_log(x: jax.Array, log_scale: jax.Array) -> jax.Array:
    """The quotient x / exp(log_scale), also where exp(log_scale) or its inverse overflows.

    Dividing twice by its root reaches every quotient that is finite: where the root overflows,
    the quotient does so for each x but 0.
    """
    limit = math.log(jnp.finfo(x.dtype).max) - 1
    root = jnp.exp(jnp.minimum(-log_scale / 2, limit))
    return x * root * root


@quotient_of_log.defjvp
def _quotient_of_log_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    z = quotient_of_log(*primals)
    return z, quotient_of_log(tangents[0], primals[1]) - z * tangents[1]


def is_probability(p: jax.Array) -> jax.Array:
    """Whether each `p` is from 0 to 1."""
    return (p >= -TOLERANCE) & (p <= 1 + TOLERANCE)


def clipped(p: jax.Array) -> jax.Array:
    """`p` with values that rounding put out of [0, 1] put back; the gradient stays that of `p`."""
    return p + jax.lax.stop_gradient(jnp.clip(p, 0, 1) - p)


def nan_unless(valid: jax.Array, x: jax.Array) -> jax.Array:
    """`x` where `valid`; elsewhere NaN, and so is the gradient."""
    return x * jnp.sqrt(jnp.where(valid, 1, -1).astype(x.dtype))  # a NaN only where one is wanted


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
    if mask is None:
        return jnp.asarray(float(loss.size), loss.dtype)
    if loss.size < 2**31:
        return jnp.sum(mask).astype(loss.dtype)
    return jnp.sum(jnp.sum(mask, axis=-1, dtype=jnp.uint32).astype(loss.dtype))
