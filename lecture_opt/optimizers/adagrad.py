"""AdaGrad (slide "AdaGrad")."""

from typing import NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, abs_sq, nonzero, sqrt
from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import NOT_NEGATIVE, ScalarOrSchedule, hinted


class AdagradState(NamedTuple):
    """Steps done, and the sum of the squared gradients of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    accumulator: PyTree


@hinted
def adagrad(
    learning_rate: ScalarOrSchedule = 0.01, eps: ArrayLike = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """AdaGrad: large steps for parameters seldom moved, small ones for those often moved.

        acc <- acc + g^2
        p   <- p - learning_rate / sqrt(acc + eps) * g

    The accumulator starts at zero and epsilon is inside the root. Equal to
    `optax.adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-6)`; optax's default
    starts at 0.1. For complex parameters g^2 is |g|^2.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        eps: >= 0; with 0, a parameter whose gradients were all zero stays where it is.

    Raises:
        TypeError, ValueError: An argument is no real scalar, or outside its interval.

    Source: the lecture's slide "AdaGrad"; Duchi, Hazan and Singer, 2011.

    >>> import jax.numpy as jnp
    >>> optimizer = adagrad(learning_rate=0.5)
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(jnp.array([1.0])))
    >>> updates.round(4), state.accumulator
    (Array([-0.5], dtype=float32), Array([16.], dtype=float32))
    """
    scalars = {"eps": (eps, NOT_NEGATIVE)}
    return elementwise(
        "adagrad", AdagradState, _rule, learning_rate, **scalars, squares=("accumulator",)
    )


def _rule(t: jax.Array, learning_rate: jax.Array, eps: jax.Array) -> Leaf:
    def leaf(g: jax.Array, acc: jax.Array) -> tuple[jax.Array, jax.Array]:
        acc = acc + abs_sq(g)
        return -learning_rate / nonzero(sqrt(acc + eps)) * g, acc

    return leaf
