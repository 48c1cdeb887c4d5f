"""Momentum (slide "SGD + Momentum")."""

from typing import NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree
from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import BELOW_ONE, Decay, ScalarOrSchedule, hinted


class MomentumState(NamedTuple):
    """Steps done, and the velocity v of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    velocity: PyTree


@hinted
def momentum(
    learning_rate: ScalarOrSchedule = 0.01, momentum: ArrayLike = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with momentum: steps add up to a velocity that decays.

        v <- momentum * v - learning_rate * g
        p <- p + v

    With a constant rate equal to `optax.sgd(learning_rate, momentum)`. With a schedule the rate
    is inside the velocity, so the equal is `optax.chain(optax.scale_by_learning_rate(schedule),
    optax.trace(momentum))`; `optax.sgd` would scale old gradients by the new rate.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        momentum: The part of the velocity that each step keeps, in [0, 1).

    Raises:
        TypeError, ValueError: An argument is no real scalar, or outside its interval.

    Source: the lecture's slide "SGD + Momentum"; Polyak, 1964.

    >>> import jax.numpy as jnp
    >>> optimizer = momentum(learning_rate=0.5, momentum=0.5)
    >>> g, state = jnp.array([2.0]), optimizer.init(jnp.array([1.0]))
    >>> updates, state = optimizer.update(g, state)
    >>> updates, state = optimizer.update(g, state)
    >>> updates
    Array([-1.5], dtype=float32)
    """
    return elementwise(
        "momentum", MomentumState, _rule, learning_rate, momentum=(momentum, BELOW_ONE)
    )


def _rule(t: jax.Array, learning_rate: jax.Array, momentum: Decay) -> Leaf:
    def leaf(g: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = momentum * v - learning_rate * g
        return v, v

    return leaf
