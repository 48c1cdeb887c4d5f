"""The one factory: an optimizer from its state, its hyperparameters and the rule of its slide.

A rule is written as on the slide, for one array. Everything else is here: `init` and `update`,
the count, schedules, dtypes, compilation outside `jax.jit`, and trees of many leaves.

>>> from typing import NamedTuple
>>> import jax, jax.numpy as jnp
>>> class HalfState(NamedTuple):
...     count: jax.Array
...     mean: jax.Array
>>> def rule(t, learning_rate, decay):
...     def leaf(g, m):
...         m = decay * m + (1 - decay) * g
...         return -learning_rate * m / (1 - decay**t), m
...     return leaf
>>> optimizer = elementwise("half", HalfState, rule, 0.1, decay=(0.5, BELOW_ONE))
>>> updates, state = optimizer.update(jnp.array([2.0]), optimizer.init(jnp.array([1.0])))
>>> updates, state.mean
(Array([-0.2], dtype=float32), Array([1.], dtype=float32))
"""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, compute_dtype
from lecture_opt.optimizers import trees
from lecture_opt.optimizers.hyperparameters import (
    BELOW_ONE,
    NOT_NEGATIVE,
    UP_TO_ONE,
    Decay,
    Interval,
    ScalarOrSchedule,
    check_scalar,
    current_rate,
    weak,
)

Leaf: TypeAlias = Callable[..., tuple[jax.Array, ...]]
"""`(g, *slots) -> (update, *slots)` for one array of the gradients and those of its state."""
Rule: TypeAlias = Callable[..., Leaf]
"""`(t, learning_rate, **hyperparameters) -> leaf`, at step t = 1, 2, ..."""

BLOCK = 64
"""How many leaves of one shape and dtype go through a rule in one call."""


def elementwise(
    name: str,
    state_type: type,
    rule: Rule,
    learning_rate: ScalarOrSchedule,
    /,
    *,
    squares: tuple[str, ...] = (),
    **hyperparameters: tuple[ArrayLike, Interval],
) -> optax.GradientTransformationExtraArgs:
    """The optimizer whose step is `rule`, with a state that starts at zero.

    Args:
        name: As messages begin.
        state_type: A NamedTuple of `count`, then of trees like the params: the slots of `rule`, in
            its order.
        rule: A function of a module, so that all optimizers made with it share what is compiled.
        learning_rate: A scalar >= 0, or a schedule `count -> scalar`.
        squares: The fields of the state that are real for complex params.
        hyperparameters: Each with its interval. Those that end at 1 reach the rule as `Decay`.

    Raises:
        TypeError, ValueError: A hyperparameter is not a real scalar, or outside its interval.
    """
    if not callable(learning_rate):
        check_scalar(name, "learning_rate", learning_rate, NOT_NEGATIVE)
    for key, (value, interval) in hyperparameters.items():
        check_scalar(name, key, value, interval)
    fixed = {
        key: Decay.of(value) if interval in (BELOW_ONE, UP_TO_ONE) else weak(value)
        for key, (value, interval) in hyperparameters.items()
    }

    def init(params: PyTree) -> Any:
        trees.state_dtypes(name, params)  # for its errors, where the state is the count alone
        slots = (trees.zeros(name, params, real=f in squares) for f in state_type._fields[1:])  # type: ignore[attr-defined]  # a NamedTuple
        return state_type(jnp.zeros((), jnp.int32), *slots)

    def update(
        grads: PyTree, state: Any, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        _check_state(name, state, state_type)
        scalars = {"learning_rate": weak(current_rate(learning_rate, state.count)), **fixed}
        return _step(name, rule, grads, state, scalars)

    return optax.GradientTransformationExtraArgs(init, update)


def _check_state(name: str, state: Any, wanted: type) -> None:
    """Raises where `state` is not of the optimizer's own type, before its fields are missed."""
    if not isinstance(state, wanted):
        pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], wanted)
        given = "the pair (updates, state)" if pair else f"of type {type(state).__name__}"
        raise TypeError(
            f"{name}.update: state is {given}; wanted the {wanted.__name__} that init(params) "
            "or the last update gave"
        )


# Compiled outside `jax.jit`, where a step is one dispatch; inlined under it. Hyperparameters are
# arguments, so that another learning rate compiles nothing.
@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _step(
    name: str, rule: Rule, grads: PyTree, state: Any, scalars: dict[str, Any]
) -> tuple[PyTree, Any]:
    rows, treedef = trees.rows_of(name, grads, state[1:])
    count = optax.safe_increment(state.count)
    # A leaf's arrays are of one width. What is left to promote is a scalar that meets an array.
    with jax.numpy_dtype_promotion("standard"):
        t = 1.0 * count  # weak, as a Python float

        @functools.cache
        def block_rule(real: Any) -> Callable[[list[trees.Row]], list[trees.Row]]:
            of_width = jax.tree.map(lambda s: _strong_as(s, real), scalars)
            return _in_blocks(rule(t, **of_width))

        for form, group in trees.alike(rows):
            step = block_rule(jnp.finfo(_wide(form)).dtype)
            for start in range(0, len(group), BLOCK):
                block = group[start : start + BLOCK]
                for i, row in zip(block, step([rows[i] for i in block]), strict=True):
                    rows[i] = row
    columns = zip(*rows, strict=True) if rows else [()] * len(state)
    updates, *slots = (jax.tree.unflatten(treedef, column) for column in columns)
    return updates, type(state)(count, *slots)


def _strong_as(scalar: ArrayLike, real: Any) -> ArrayLike:
    if isinstance(scalar, float):  # jax.disable_jit leaves it what it is
        return scalar
    scalar = jnp.asarray(scalar)
    return scalar if scalar.weak_type else scalar.astype(real)


def _wide(form: trees.Form) -> Any:
    return compute_dtype(*(dtype for _, dtype in form))


def _in_blocks(leaf: Leaf) -> Callable[[list[trees.Row]], list[trees.Row]]:
    """The rule for a list of leaves alike, traced once for all of their shape.

    The scalars of the step that `leaf` holds become arguments of the traced function. One call
    for a block traces a tree of thousands of leaves in a fraction of the time of one call, or one
    set of operations, for each leaf. Compiled, the calls are inlined and nothing differs.
    """

    @functools.partial(jax.jit, inline=True)
    def one(g: jax.Array, *slots: jax.Array) -> trees.Row:
        wide = compute_dtype(g.dtype, *(slot.dtype for slot in slots))
        update, *new = leaf(g.astype(wide), *slots)
        return update.astype(g.dtype), *map(lambda n, old: n.astype(old.dtype), new, slots)

    return jax.jit(lambda rows: [one(*row) for row in rows])
