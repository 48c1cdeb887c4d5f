"""An optimizer's state in bfloat16, rounded so that small changes are not lost.

A mean with a decay of 0.999 changes by a thousandth per step, and bfloat16 tells apart numbers that
differ by four thousandths. Rounded to the nearest, the mean of the squared gradients of Adam stands
still. Rounded up or down by chance, so that the expected value is the number itself, it follows.

Example:
    >>> import jax.numpy as jnp, optax
    >>> optimizer = bfloat16_state(optax.sgd(0.5, momentum=0.9))
    >>> state = optimizer.init(jnp.ones(3))
    >>> state.state[0].trace.dtype.name
    'bfloat16'
    >>> updates, state = optimizer.update(jnp.ones(3), state)
    >>> float(updates[0])
    -0.5
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lecture_opt.numerics import PyTree
from lecture_opt.training.checks import check_optimizer


class Bfloat16State(NamedTuple):
    """Steps done, which number the draws of the roundings, and the narrowed state."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    state: PyTree


def bfloat16_state(
    optimizer: optax.GradientTransformation, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    """The optimizer with the float32 arrays of its state kept in bfloat16: half the memory.

        state <- R(update(grads, float32(state), params))

    R rounds to one of the two neighbours in bfloat16, with probabilities such that E[R(x)] = x; in
    one step equal numbers are rounded alike. Scalars of the state stay as they are, and so do
    params and updates. A run with the same seed rounds alike, whatever it was resumed from.

    Args:
        optimizer: Any whose state is made of arrays.
        seed: Of the roundings.

    Raises:
        TypeError: `optimizer` is not an optimizer, or `seed` is not an integer.

    Source: Gupta et al., "Deep learning with limited numerical precision", 2015.
    """
    check_optimizer("bfloat16_state", optimizer)
    if not isinstance(seed, int):
        raise TypeError(f"bfloat16_state: seed is {seed!r}; wanted an integer")
    inner = optax.with_extra_args_support(optimizer)

    def narrow(state: PyTree, count: jax.Array) -> PyTree:
        words = jax.random.bits(jax.random.fold_in(jax.random.key(seed), count), (2,), jnp.uint32)
        return jax.tree.map(lambda leaf: stochastic(leaf, words) if _wide(leaf) else leaf, state)

    def init(params: PyTree) -> Bfloat16State:
        count = jnp.zeros((), jnp.int32)
        return Bfloat16State(count, narrow(inner.init(params), count))

    def update(
        updates: PyTree, state: Bfloat16State, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, Bfloat16State]:
        count = optax.safe_increment(state.count)
        wide = jax.tree.map(_widened, state.state)
        updates, wide = inner.update(updates, wide, params, **extra_args)
        return updates, Bfloat16State(count, narrow(wide, count))

    return optax.GradientTransformationExtraArgs(init, update)


def stochastic(x: jax.Array, words: jax.Array) -> jax.Array:
    """float32 to bfloat16, up or down by chance: E[result] = x. Infinities and NaN stay.

    bfloat16 is the upper half of float32, so a draw of 16 bits is added to the lower half and what
    carries over is kept. The draw is a hash of the words and of the upper bits without the sign:
    numbers that are equal, opposite or a rounding error apart are rounded alike, wherever they
    stand. Drawing by `jax.random` would take longer than the step.

    Args:
        x: Any shape.
        words: Two numbers of uint32 that tell this rounding from others.
    """
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    kept = (bits >> 16) & jnp.uint32(0x7FFF)  # without the sign
    draws = _mixed(_mixed(kept ^ words[0]) + words[1]) & jnp.uint32(0xFFFF)
    upper = (bits + draws) & jnp.uint32(0xFFFF0000)
    rounded = lax.bitcast_convert_type(upper, jnp.float32)
    return jnp.where(jnp.isfinite(x) & jnp.isfinite(rounded), rounded, x).astype(jnp.bfloat16)


def _mixed(x: jax.Array) -> jax.Array:
    """Each bit of the result depends on each of the argument; one to one (Wellons, 2018)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = (x ^ (x >> 15)) * jnp.uint32(0x735A2D97)
    return x ^ (x >> 15)


def _wide(leaf: Any) -> bool:
    return getattr(leaf, "dtype", None) == jnp.float32 and leaf.ndim > 0


def _widened(leaf: Any) -> Any:
    if getattr(leaf, "dtype", None) == jnp.bfloat16 and leaf.ndim > 0:
        return leaf.astype(jnp.float32)
    return leaf
