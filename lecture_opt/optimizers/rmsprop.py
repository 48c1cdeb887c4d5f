"""RMSprop (slide "RMSprop")."""

from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt import numerics
from lecture_opt.numerics import PyTree
from lecture_opt.optimizers import _base
from lecture_opt.optimizers._base import ScalarOrSchedule


class RmspropState(NamedTuple):
    """Steps done, and the decaying mean of the squared gradients of every parameter."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    accumulator: PyTree


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
    learning_rate = _base.check_learning_rate("rmsprop", learning_rate)
    _base.check_scalar("rmsprop", "decay", decay, "[0, 1)")
    _base.check_scalar("rmsprop", "eps", eps, "[0, inf)")
    one_minus_decay = 1 - decay

    def init(params: PyTree) -> RmspropState:
        return RmspropState(_base.zero_count(), _base.zeros("rmsprop", params, real=True))

    def update(
        grads: PyTree, state: RmspropState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, RmspropState]:
        _base.check_state("rmsprop", state, RmspropState)
        return _update(grads, state, learning_rate, decay, one_minus_decay, eps)

    return optax.GradientTransformationExtraArgs(init, update)


@_base.step
def _update(
    grads: PyTree,
    state: RmspropState,
    learning_rate: Any,
    decay: ArrayLike,
    one_minus_decay: ArrayLike,
    eps: ArrayLike,
) -> tuple[PyTree, RmspropState]:
    updates, accumulator = _base.map_rule(
        _rmsprop_rule,
        grads,
        state.accumulator,
        learning_rate=_base.current_rate(learning_rate, state.count),
        decay=_base.scalar(decay),
        one_minus_decay=_base.scalar(one_minus_decay),
        eps=_base.scalar(eps),
    )
    return updates, RmspropState(_base.next_count(state.count), accumulator)


@_base.leaf_rule
def _rmsprop_rule(
    g: jax.Array,
    acc: jax.Array,
    *,
    learning_rate: jax.Array,
    decay: jax.Array,
    one_minus_decay: jax.Array,
    eps: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    acc = decay * acc + one_minus_decay * numerics.abs_sq(g)
    return -learning_rate / numerics.nonzero(numerics.sqrt(acc + eps)) * g, acc
