"""RMSprop (slide "RMSprop")."""

from typing import NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, abs_sq, nonzero, sqrt
from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import (
    BELOW_ONE,
    NOT_NEGATIVE,
    Decay,
    ScalarOrSchedule,
    hinted,
)


class RmspropState(NamedTuple):
    """Steps done, and the decaying mean of the squared gradients of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    accumulator: PyTree


@hinted
def rmsprop(
    learning_rate: ScalarOrSchedule = 0.001, decay: ArrayLike = 0.9, eps: ArrayLike = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """RMSprop: AdaGrad that forgets, so that the rate does not shrink for ever.

        acc <- decay * acc + (1 - decay) * g^2
        p   <- p - learning_rate / sqrt(acc + eps) * g

    The accumulator starts at zero and epsilon is inside the root. Equal to
    `optax.rmsprop(learning_rate, decay=0.9, eps=1e-6)`; optax's default epsilon is 1e-8. The
    slides call the decay rho. For complex parameters g^2 is |g|^2.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        decay: The part of the mean that each step keeps, in [0, 1).
        eps: >= 0; with 0, a parameter whose gradients were all zero stays where it is.

    Raises:
        TypeError, ValueError: An argument is no real scalar, or outside its interval.

    Source: the lecture's slide "RMSprop"; Tieleman and Hinton, 2012.

    >>> import jax.numpy as jnp
    >>> optimizer = rmsprop(learning_rate=0.5, decay=0.75)
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(jnp.array([1.0])))
    >>> updates.round(4), state.accumulator
    (Array([-1.], dtype=float32), Array([4.], dtype=float32))
    """
    scalars = {"decay": (decay, BELOW_ONE), "eps": (eps, NOT_NEGATIVE)}
    return elementwise(
        "rmsprop", RmspropState, _rule, learning_rate, **scalars, squares=("accumulator",)
    )


def _rule(t: jax.Array, learning_rate: jax.Array, decay: Decay, eps: jax.Array) -> Leaf:
    def leaf(g: jax.Array, acc: jax.Array) -> tuple[jax.Array, jax.Array]:
        acc = decay * acc + (1 - decay) * abs_sq(g)
        return -learning_rate / nonzero(sqrt(acc + eps)) * g, acc

    return leaf
