"""What the optimizers share: hyperparameters, the step count, and rules lifted to trees.

A rule is written for one array, as on the slides: it takes a gradient, the state's arrays for
that parameter and the scalars of the step, and returns the update and the new arrays of the
state. `leaf_rule` compiles it and `map_rule` applies it to every leaf of a tree.

Rules compute in float32 at least (float64 for 64-bit leaves), and the state is kept so: in
bfloat16 a decay of 0.999 is 1, and in float16 the square of 1e-4 is 0. Updates come back in the
dtype of the gradients.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, compute_dtype

Schedule: TypeAlias = Callable[[jax.Array], ArrayLike]
ScalarOrSchedule: TypeAlias = ArrayLike | Schedule


# ---- hyperparameters ----------------------------------------------------------------------


def check_learning_rate(function: str, learning_rate: ScalarOrSchedule) -> Any:
    """A learning rate fit to be passed to a jitted function: a scalar, or a wrapped schedule."""
    if callable(learning_rate):
        return jax.tree_util.Partial(learning_rate)
    return check_scalar(function, "learning_rate", learning_rate, "[0, inf)")


def check_scalar(function: str, name: str, value: ArrayLike, interval: str) -> ArrayLike:
    """Returns `value`, or raises where it is no scalar or, being concrete, leaves the interval.

    The interval is judged after rounding to the default float dtype, in which the scalars of a
    step are computed: 1 - 1e-9 is no decay below 1 in float32.
    """
    try:
        shape, dtype = np.shape(value), jnp.result_type(value)
    except (TypeError, ValueError):
        shape, dtype = None, np.dtype(object)
    if (
        value is None
        or shape != ()
        or not jnp.issubdtype(dtype, jnp.number)
        or jnp.issubdtype(dtype, jnp.complexfloating)
    ):
        raise TypeError(f"{function}: {name} must be a real scalar; got {_describe(value)}")
    if not isinstance(value, jax.core.Tracer):
        rounded = float(np.asarray(value, dtype=jnp.result_type(float)))
        if not _inside(rounded, interval):
            why = f" (it is {rounded} in {jnp.result_type(float)})"
            raise ValueError(
                f"{function}: {name}={value} is outside {interval}"
                + (why if _inside(float(np.asarray(value)), interval) else "")
            )
    return value


def _inside(value: float, interval: str) -> bool:
    low, high = (float(bound) for bound in interval[1:-1].split(", "))
    return low <= value and (value < high if interval.endswith(")") else value <= high)


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"{value!r}" if shape is None else f"an array of shape {shape} and type {value.dtype}"  # type: ignore[attr-defined]  # it has a shape


def check_state(function: str, state: Any, wanted: type) -> None:
    """Raises where `state` is not of the optimizer's own type, before its fields are missed."""
    if not isinstance(state, wanted):
        pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], wanted)
        given = "the pair (updates, state)" if pair else f"of type {type(state).__name__}"
        raise TypeError(
            f"{function}.update: state is {given}; wanted the {wanted.__name__} that init(params) "
            "or the last update gave"
        )


# ---- scalars of a step --------------------------------------------------------------------


def scalar(value: ArrayLike) -> jax.Array:
    """The value as an array of the default float dtype, in which step scalars are computed."""
    return jnp.asarray(value, dtype=float)


def is_one(value: ArrayLike) -> bool:
    """Whether the value is known to be 1 in the default float dtype."""
    if isinstance(value, jax.core.Tracer):
        return False
    return bool(np.asarray(value, dtype=jnp.result_type(float)) == 1)


def current_rate(learning_rate: Any, count: jax.Array) -> jax.Array:
    """The learning rate at `count` steps done: the schedule's value there, or the constant."""
    if not callable(learning_rate):
        return scalar(learning_rate)
    value = learning_rate(count)
    if value is None or np.shape(value) != ():
        raise TypeError(f"the learning_rate's schedule gives {_describe(value)}; wanted a scalar")
    return scalar(value)


def zero_count() -> jax.Array:
    """The step count of a new state."""
    return jnp.zeros((), dtype=jnp.int32)


next_count = optax.safe_increment


# ---- trees --------------------------------------------------------------------------------


def zeros(function: str, params: PyTree, *, real: bool = False) -> PyTree:
    """Zeros shaped and sharded as the params; with `real`, real ones for complex params."""

    def leaf(p: ArrayLike, dtype: Any) -> jax.Array:
        dtype = jnp.finfo(dtype).dtype if real else dtype
        if not isinstance(p, jax.core.Tracer):
            return jnp.zeros_like(p, dtype=dtype)
        # A use of p, so that under jit too the zeros are sharded like it.
        return jnp.where(False, jnp.real(p).astype(dtype), jnp.zeros((), dtype))

    return jax.tree.map(leaf, params, state_dtypes(function, params))


def state_dtypes(function: str, params: PyTree) -> PyTree:
    """The dtype of the state for each leaf of the params; raises for one that is no array."""

    def leaf(path: tuple[Any, ...], p: ArrayLike) -> Any:
        try:
            return compute_dtype(jnp.result_type(p))
        except (TypeError, ValueError):
            name = jax.tree_util.keystr(path)
            raise TypeError(
                f"{function}.init: params{name} is {p!r}; every leaf must be a numeric array"
            ) from None

    return jax.tree_util.tree_map_with_path(leaf, params)


def step(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function(grads, state, *hyperparameters)` where nothing else does.

    Outside `jax.jit` a step is then one dispatch. Under it, where the count is traced, the
    function is traced in place: a second `jit` around it would only be in the way.
    """
    compiled = jax.jit(function)

    @functools.wraps(function)
    def run(grads: PyTree, state: Any, *hyperparameters: Any) -> Any:
        traced = isinstance(state.count, jax.core.Tracer)
        return (function if traced else compiled)(grads, state, *hyperparameters)

    return run


class Rule(NamedTuple):
    """A rule for one array, lifted from its compute dtype to any dtype, and compiled.

    Attributes:
        name: Of the optimizer.
        one: (g, slots, scalars) -> (update, *slots).
        many: (rows, scalars) -> rows, where a row is (g, *slots) or (update, *slots).
    """

    name: str
    one: Callable[..., tuple[jax.Array, ...]]
    many: Callable[..., list[tuple[jax.Array, ...]]]


def leaf_rule(rule: Callable[..., Any]) -> Rule:
    """Lifts `rule(g, *slots, **scalars) -> (update, *slots)`, a function of 32 or 64 bits."""

    @functools.partial(jax.jit, inline=True)
    @functools.wraps(rule)
    def one(
        g: jax.Array, slots: Sequence[jax.Array], scalars: dict[str, jax.Array]
    ) -> tuple[jax.Array, ...]:
        dtype = compute_dtype(g.dtype, *(slot.dtype for slot in slots))
        real = jnp.finfo(dtype).dtype
        scalars = {name: s.astype(real) for name, s in scalars.items()}
        # All is of one width here; what is left to promote is a real scalar times a complex array.
        with jax.numpy_dtype_promotion("standard"):
            update, *new_slots = rule(g.astype(dtype), *slots, **scalars)
        kept = (new.astype(old.dtype) for new, old in zip(new_slots, slots, strict=True))
        return update.astype(g.dtype), *kept

    @jax.jit
    def many(
        rows: list[tuple[jax.Array, ...]], scalars: dict[str, jax.Array]
    ) -> list[tuple[jax.Array, ...]]:
        return [one(g, slots, scalars) for g, *slots in rows]

    return Rule(rule.__name__.strip("_").removesuffix("_rule"), one, many)


BLOCK = 64


def map_rule(rule: Rule, grads: PyTree, *slots: PyTree, **scalars: jax.Array) -> tuple[PyTree, ...]:
    """Applies a rule to every leaf: returns the updates and the new slots, as trees.

    Where a gradient is None its update is None and its slots stay as they are. Leaves of one
    shape go through the rule in blocks, each block one call of a function traced once: that
    traces a tree of thousands of leaves in a fraction of the time of one call, or one set of
    operations, a leaf. Compiled, the calls are inlined and nothing differs.
    """
    leaves, treedef = jax.tree.flatten(grads, is_leaf=lambda leaf: leaf is None)
    try:
        columns = [treedef.flatten_up_to(slot) for slot in slots]  # type: ignore[attr-defined]  # jax has no stub for it
    except (ValueError, TypeError):
        raise ValueError(_two_trees(rule, grads, slots[0])) from None
    rows = list(zip(leaves, *columns, strict=True))
    alike: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        if row[0] is None:
            continue
        if not isinstance(row[0], jax.Array):
            rows[i] = row = (jnp.asarray(row[0]), *row[1:])
        alike.setdefault(tuple(map(_form, row)), []).append(i)
    if not all(map(_fits, alike)):
        raise _misfit(rule, grads, slots)
    for group in alike.values():
        for start in range(0, len(group), BLOCK):
            block = group[start : start + BLOCK]
            new = rule.many([rows[i] for i in block], scalars)
            for i, row in zip(block, new, strict=True):
                rows[i] = row
    outputs = zip(*rows, strict=True) if rows else [()] * (1 + len(slots))
    return tuple(jax.tree.unflatten(treedef, column) for column in outputs)


def _form(leaf: Any) -> tuple[Any, Any]:
    return getattr(leaf, "shape", None), getattr(leaf, "dtype", None)


def _fits(forms: tuple[tuple[Any, Any], ...]) -> bool:
    (shape, dtype), *slots = forms
    return jnp.issubdtype(dtype, jnp.inexact) and all(slot[0] == shape for slot in slots)


def _two_trees(rule: Rule, grads: PyTree, slot: PyTree) -> str:
    return (
        f"{rule.name}.update: grads and state differ in structure; was the state made by init for "
        f"these params?\n  grads: {jax.tree.structure(grads)}\n  state: {jax.tree.structure(slot)}"
    )


def _misfit(rule: Rule, grads: PyTree, slots: tuple[PyTree, ...]) -> Exception:
    """What to raise for the first gradient that is no inexact array or not of its slots' shape."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(grads, is_leaf=lambda leaf: leaf is None)
    columns = [treedef.flatten_up_to(slot) for slot in slots]  # type: ignore[attr-defined]  # jax has no stub for it
    for (path, g), *old in zip(pairs, *columns, strict=True):
        if g is not None and not _fits(tuple(map(_form, (jnp.asarray(g), *old)))):
            name = f"grads{jax.tree_util.keystr(path)}"
            if not jnp.issubdtype(jnp.result_type(g), jnp.inexact):
                return TypeError(
                    f"{rule.name}.update: {name} has dtype {jnp.result_type(g)}; "
                    "gradients are floating-point or complex"
                )
            shape = getattr(old[0], "shape", None)
            if shape is None:  # the state has a whole tree where the gradient is one array
                return ValueError(_two_trees(rule, grads, slots[0]))
            return ValueError(
                f"{rule.name}.update: {name} has shape {np.shape(g)} and its state {shape}; "
                "was the state made by init for these params?"
            )
    raise AssertionError("every gradient fits")  # pragma: no cover
