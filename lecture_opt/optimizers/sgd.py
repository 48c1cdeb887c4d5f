"""Stochastic gradient descent (slide "SGD")."""

from typing import NamedTuple

import jax
import optax

from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import ScalarOrSchedule, hinted


class SgdState(NamedTuple):
    """Steps done, an int32 scalar: what a schedule is asked with."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax


@hinted
def sgd(learning_rate: ScalarOrSchedule = 0.01) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent: a step against the gradient.

        p <- p - learning_rate * g

    Equal to `optax.sgd(learning_rate)`.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.

    Raises:
        TypeError, ValueError: `learning_rate` is no real scalar, or negative.

    Source: the lecture's slide "SGD"; Robbins and Monro, 1951.

    >>> import jax.numpy as jnp
    >>> optimizer = sgd(learning_rate=0.5)
    >>> updates, state = optimizer.update(jnp.array([2.0]), optimizer.init(jnp.array([1.0])))
    >>> updates
    Array([-1.], dtype=float32)
    """
    return elementwise("sgd", SgdState, _rule, learning_rate)


def _rule(t: jax.Array, learning_rate: jax.Array) -> Leaf:
    def leaf(g: jax.Array) -> tuple[jax.Array]:
        return (-learning_rate * g,)

    return leaf
