"""Adam (slide "Adam")."""

from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt import numerics
from lecture_opt.numerics import PyTree
from lecture_opt.optimizers import _base
from lecture_opt.optimizers._base import ScalarOrSchedule


class AdamState(NamedTuple):
    """Steps done, and the decaying means of the gradients (mu) and of their squares (nu)."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    mu: PyTree
    nu: PyTree


def adam(
    learning_rate: ScalarOrSchedule = 0.001,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    b1_decay: ArrayLike = 1 - 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Adam: RMSprop with momentum, both means corrected for having started at zero.

    At step t = 1, 2, ...

        b1_t <- b1 * b1_decay^(t - 1)
        m    <- b1_t * m + (1 - b1_t) * g
        v    <- b2 * v + (1 - b2) * g^2
        p    <- p - learning_rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    The correction uses b1^t, not the product of the b1_t, as the slide and the paper do. With
    `b1_decay=1` equal to `optax.adam(learning_rate, b1, b2, eps)`, and so it is in float32 with
    the default, which rounds to 1 there; in float64 no optax call has the decay. The slides call
    `b1_decay` l. For complex parameters g^2 is |g|^2.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        b1, b2: The parts of the means that each step keeps, in [0, 1).
        eps: >= 0, outside the root; with 0, zero gradients still give zero updates.
        b1_decay: In [0, 1].

    Raises:
        TypeError, ValueError: An argument is no real scalar, or outside its interval.

    Source: the lecture's slide "Adam"; Kingma and Ba, 2015 (`b1_decay`: arXiv v8, section 4).

    >>> import jax.numpy as jnp
    >>> optimizer = adam(learning_rate=0.5)
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(jnp.array([1.0])))
    >>> updates.round(4)
    Array([-0.5], dtype=float32)
    """
    learning_rate = _base.check_learning_rate("adam", learning_rate)
    _base.check_scalar("adam", "b1", b1, "[0, 1)")
    _base.check_scalar("adam", "b2", b2, "[0, 1)")
    _base.check_scalar("adam", "eps", eps, "[0, inf)")
    _base.check_scalar("adam", "b1_decay", b1_decay, "[0, 1]")
    decays = (b1, 1 - b1, b2, 1 - b2, b1_decay)

    def init(params: PyTree) -> AdamState:
        mu = _base.zeros("adam", params)
        nu = _base.zeros("adam", params, real=True)
        return AdamState(_base.zero_count(), mu, nu)

    def update(
        grads: PyTree, state: AdamState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, AdamState]:
        _base.check_state("adam", state, AdamState)
        return _update(grads, state, learning_rate, decays, eps)

    return optax.GradientTransformationExtraArgs(init, update)


@_base.step
def _update(
    grads: PyTree,
    state: AdamState,
    learning_rate: Any,
    decays: tuple[ArrayLike, ...],
    eps: ArrayLike,
) -> tuple[PyTree, AdamState]:
    count = _base.next_count(state.count)
    t = _base.scalar(count)
    b1, one_minus_b1, b2, one_minus_b2, b1_decay = map(_base.scalar, decays)
    # Without a power to wait for, XLA's CPU computes a leaf's means one after the other, with the
    # gradient still in the cache; in float32 the default b1_decay is 1.
    decayed = 1.0 if _base.is_one(decays[-1]) else b1_decay ** (t - 1)
    updates, mu, nu = _base.map_rule(
        _adam_rule,
        grads,
        state.mu,
        state.nu,
        learning_rate=_base.current_rate(learning_rate, state.count),
        b1_t=b1 * decayed,
        one_minus_b1_t=one_minus_b1 + b1 * (1 - decayed),
        b2=b2,
        one_minus_b2=one_minus_b2,
        correction1=1 - b1**t,
        correction2=1 - b2**t,
        eps=_base.scalar(eps),
    )
    return updates, AdamState(count, mu, nu)


@_base.leaf_rule
def _adam_rule(
    g: jax.Array,
    m: jax.Array,
    v: jax.Array,
    *,
    learning_rate: jax.Array,
    b1_t: jax.Array,
    one_minus_b1_t: jax.Array,
    b2: jax.Array,
    one_minus_b2: jax.Array,
    correction1: jax.Array,
    correction2: jax.Array,
    eps: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    m = b1_t * m + one_minus_b1_t * g
    v = b2 * v + one_minus_b2 * numerics.abs_sq(g)
    m_c = m / correction1
    v_c = v / correction2
    return -learning_rate * (m_c / numerics.nonzero(numerics.sqrt(v_c) + eps)), m, v
