"""Nesterov's accelerated gradient (slide "Nesterov")."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree
from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import (
    BELOW_ONE,
    Decay,
    ScalarOrSchedule,
    check_scalar,
    hinted,
)
from lecture_opt.optimizers.momentum import MomentumState


class NesterovState(NamedTuple):
    """Steps done, and the velocity v of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    velocity: PyTree


@hinted
def nesterov(
    learning_rate: ScalarOrSchedule = 0.01, momentum: ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient, as the slide's update rule gives it.

        v <- momentum * v - learning_rate * g
        p <- p + momentum * v - learning_rate * g

    The slide's other reading, "jump first, then measure the gradient", is `momentum` with the
    gradient taken at `lookahead(params, state)`. Both walk the same path: the params here are
    the points at which that one measures.

    With a constant rate equal to `optax.sgd(learning_rate, momentum, nesterov=True)`. With a
    schedule the equal is `optax.chain(optax.scale_by_learning_rate(schedule),
    optax.trace(momentum, nesterov=True))`.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        momentum: The part of the velocity that each step keeps, in [0, 1).

    Raises:
        TypeError, ValueError: An argument is no real scalar, or outside its interval.

    Source: the lecture's slide "Nesterov"; Nesterov, 1983; Sutskever et al., 2013.

    >>> import jax.numpy as jnp
    >>> optimizer = nesterov(learning_rate=0.5, momentum=0.5)
    >>> updates, state = optimizer.update(jnp.array([2.0]), optimizer.init(jnp.array([1.0])))
    >>> updates
    Array([-1.5], dtype=float32)
    """
    return elementwise(
        "nesterov", NesterovState, _rule, learning_rate, momentum=(momentum, BELOW_ONE)
    )


def _rule(t: jax.Array, learning_rate: jax.Array, momentum: Decay) -> Leaf:
    def leaf(g: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = momentum * v - learning_rate * g
        return momentum * v - learning_rate * g, v

    return leaf


def lookahead(params: PyTree, state: MomentumState, momentum: ArrayLike = 0.9) -> PyTree:
    """Where the velocity alone would carry the params: the point to measure the gradient at.

        params + momentum * v

    The slide's "first the big jump, then measure the gradient", with `optimizer = momentum(...)`:

        grads = jax.grad(loss_fn)(lookahead(params, state, momentum=0.9))
        updates, state = optimizer.update(grads, state)

    Args:
        params: The tree that `state` was made for; the result has its shapes and dtypes.
        state: Of `momentum`.
        momentum: The optimizer's own, in [0, 1).

    Raises:
        TypeError, ValueError: `state` is not of `momentum`, or not of these params.

    Source: the lecture's slide "Nesterov".

    >>> import jax.numpy as jnp
    >>> state = MomentumState(count=jnp.int32(1), velocity=jnp.array([-1.0]))
    >>> lookahead(jnp.array([3.0]), state, momentum=0.5)
    Array([2.5], dtype=float32)
    """
    check_scalar("lookahead", "momentum", momentum, BELOW_ONE)
    if not isinstance(state, MomentumState):
        raise TypeError(f"lookahead: state is a {type(state).__name__}; wanted a MomentumState")
    trees: tuple[Any, Any] = jax.tree.structure(params), jax.tree.structure(state.velocity)
    if trees[0] != trees[1]:
        raise ValueError(
            "lookahead: params and state differ in structure; was the state made by init for these "
            f"params?\n  params: {trees[0]}\n  state: {trees[1]}"
        )

    def jump(p: jax.Array, v: jax.Array) -> jax.Array:
        return (p.astype(v.dtype) + jnp.asarray(momentum, v.dtype) * v).astype(p.dtype)

    return jax.tree.map(jump, params, state.velocity)
