"""Adam (slide "Adam")."""

from typing import NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, abs_sq, nonzero, sqrt
from lecture_opt.optimizers.elementwise import Leaf, elementwise
from lecture_opt.optimizers.hyperparameters import (
    BELOW_ONE,
    NOT_NEGATIVE,
    UP_TO_ONE,
    Decay,
    ScalarOrSchedule,
    hinted,
)


class AdamState(NamedTuple):
    """Steps done, and the decaying means of the gradients (mu) and of their squares (nu)."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in optax
    mu: PyTree
    nu: PyTree


@hinted
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

    The correction uses b1^t, not the product of the b1_t, as the slide and the paper do. The
    slides call `b1_decay` l. With `b1_decay=1` this is `optax.adam(learning_rate, b1, b2, eps)`.
    The default rounds to 1 in float32 and gives the same; in float64 it decays, which optax does
    not offer. For complex parameters g^2 is |g|^2.

    Args:
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`, called with 0 first.
        b1, b2: The parts of the means that each step keeps, in [0, 1).
        eps: >= 0, outside the root; with 0, zero gradients still give zero updates.
        b1_decay: In [0, 1].

    Raises:
        TypeError, ValueError: An argument is not a real scalar, or outside its interval.

    Source: the lecture's slide "Adam"; Kingma and Ba, 2015 (`b1_decay`: arXiv v8, section 4).

    >>> import jax.numpy as jnp
    >>> optimizer = adam(learning_rate=0.5)
    >>> updates, state = optimizer.update(jnp.array([4.0]), optimizer.init(jnp.array([1.0])))
    >>> updates.round(4)
    Array([-0.5], dtype=float32)
    """
    decays = {"b1": (b1, BELOW_ONE), "b2": (b2, BELOW_ONE), "b1_decay": (b1_decay, UP_TO_ONE)}
    return elementwise(
        "adam", AdamState, _rule, learning_rate, **decays, eps=(eps, NOT_NEGATIVE), squares=("nu",)
    )


def _rule(
    t: jax.Array, learning_rate: jax.Array, b1: Decay, b2: Decay, eps: jax.Array, b1_decay: Decay
) -> Leaf:
    b1_t = b1 * b1_decay ** (t - 1)
    correction1, correction2 = 1 - b1**t, 1 - b2**t

    def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
        m = b1_t * m + (1 - b1_t) * g
        v = b2 * v + (1 - b2) * abs_sq(g)
        m_c, v_c = m / correction1, v / correction2
        return -learning_rate * (m_c / nonzero(sqrt(v_c) + eps)), m, v

    return leaf
