"""Stochastic gradient descent (slide "SGD")."""

from typing import Any, NamedTuple

import jax
import optax

from lecture_opt.numerics import PyTree
from lecture_opt.optimizers import _base
from lecture_opt.optimizers._base import ScalarOrSchedule


class SgdState(NamedTuple):
    """Steps done, an int32 scalar: what a schedule is asked with."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax


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
    learning_rate = _base.check_learning_rate("sgd", learning_rate)

    def init(params: PyTree) -> SgdState:
        _base.state_dtypes("sgd", params)  # for its errors
        return SgdState(_base.zero_count())

    def update(
        grads: PyTree, state: SgdState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, SgdState]:
        _base.check_state("sgd", state, SgdState)
        return _update(grads, state, learning_rate)

    return optax.GradientTransformationExtraArgs(init, update)


@_base.step
def _update(grads: PyTree, state: SgdState, learning_rate: Any) -> tuple[PyTree, SgdState]:
    rate = _base.current_rate(learning_rate, state.count)
    (updates,) = _base.map_rule(_sgd_rule, grads, learning_rate=rate)
    return updates, SgdState(_base.next_count(state.count))


@_base.leaf_rule
def _sgd_rule(g: jax.Array, *, learning_rate: jax.Array) -> tuple[jax.Array]:
    return (-learning_rate * g,)
