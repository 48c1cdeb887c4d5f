"""AdaGrad (slide "AdaGrad")."""

from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt import numerics
from lecture_opt.numerics import PyTree
from lecture_opt.optimizers import _base
from lecture_opt.optimizers._base import ScalarOrSchedule


class AdagradState(NamedTuple):
    """Steps done, and the sum of the squared gradients of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    accumulator: PyTree


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
    learning_rate = _base.check_learning_rate("adagrad", learning_rate)
    _base.check_scalar("adagrad", "eps", eps, "[0, inf)")

    def init(params: PyTree) -> AdagradState:
        return AdagradState(_base.zero_count(), _base.zeros("adagrad", params, real=True))

    def update(
        grads: PyTree, state: AdagradState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, AdagradState]:
        _base.check_state("adagrad", state, AdagradState)
        return _update(grads, state, learning_rate, eps)

    return optax.GradientTransformationExtraArgs(init, update)


@_base.step
def _update(
    grads: PyTree, state: AdagradState, learning_rate: Any, eps: ArrayLike
) -> tuple[PyTree, AdagradState]:
    updates, accumulator = _base.map_rule(
        _adagrad_rule,
        grads,
        state.accumulator,
        learning_rate=_base.current_rate(learning_rate, state.count),
        eps=_base.scalar(eps),
    )
    return updates, AdagradState(_base.next_count(state.count), accumulator)


@_base.leaf_rule
def _adagrad_rule(
    g: jax.Array, acc: jax.Array, *, learning_rate: jax.Array, eps: jax.Array
) -> tuple[jax.Array, jax.Array]:
    acc = acc + numerics.abs_sq(g)
    return -learning_rate / numerics.nonzero(numerics.sqrt(acc + eps)) * g, acc
