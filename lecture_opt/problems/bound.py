"""A loop with one optimizer, as pure functions of arrays.

A state is split into its arrays and the rest (functions, static fields, the graph of nnx modules).
The rest belongs to the trace in which it was made, so `bind` has `start` make it anew in each.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend import core

from lecture_opt.numerics import PyTree
from lecture_opt.problems.loop import Loop, State, takes_key
from lecture_opt.problems.parts import Batch, Part, TaskError

Arrays: TypeAlias = tuple[jax.Array, ...]
Layout: TypeAlias = tuple[jax.ShapeDtypeStruct | None, ...]
"""For each leaf of a state the array that it is, or `None` where it belongs to the rest."""
Make: TypeAlias = Callable[[jax.Array], State]
Scalars: TypeAlias = Mapping[str, Any]
UNTRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What is raised where Python asks a tracer for its value."""


class Bound(NamedTuple):
    """One run of a loop with its optimizer.

    Attributes:
        step: (arrays, batch, key) -> arrays, loss.
        metric: (arrays, part, key) -> value, weight; the weight is 0 where examples count.
    """

    step: Callable[[Arrays, Batch, jax.Array], tuple[Arrays, jax.Array]]
    metric: Callable[[Arrays, Part, jax.Array], tuple[jax.Array, jax.Array]]


def initial(make: Make, layout: Layout, key: jax.Array) -> Arrays:
    """The arrays of the state that `make` makes from a key."""
    return _arrays(flatten(make(key))[0], layout)


def state_of(make: Make, layout: Layout, arrays: Arrays) -> State:
    """A state of `make` with these arrays."""
    return _filled(*flatten(make(jax.random.key(0))), layout, arrays)


def bind(loop: Loop, make: Make, layout: Layout) -> Bound:
    """The loop's functions within one trace; `make` makes a state from a key."""
    leaves, merge = flatten(make(jax.random.key(0)))

    def step(arrays: Arrays, batch: Batch, key: jax.Array) -> tuple[Arrays, jax.Array]:
        state, loss = advance(loop, _filled(leaves, merge, layout, arrays), batch, key)
        return _arrays(flatten(state)[0], layout), loss

    def metric(arrays: Arrays, part: Part, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return measure(loop, _filled(leaves, merge, layout, arrays), part, key)

    return Bound(_named(loop.axis_name, step), _named(loop.axis_name, metric))


def _filled(leaves: list[Any], merge: Any, layout: Layout, arrays: Arrays) -> State:
    """The state with these arrays in their places."""
    given = iter(arrays)
    pairs = zip(leaves, layout, strict=True)
    return merge([leaf if place is None else next(given) for leaf, place in pairs])


def advance(loop: Loop, state: State, batch: Batch, key: jax.Array) -> tuple[State, Any]:
    """One step: the state and the loss, or the metric on the batch where it returns no loss."""
    tree = jax.tree.structure(state)
    result = loop.step(state, batch, key) if takes_key(loop.step) else loop.step(state, batch)
    state, aux = _returned(loop, result, tree, state)
    loss = aux.get("loss") if isinstance(aux, dict) else aux
    if loss is None or jnp.shape(loss) != ():
        if loop.host_metric:
            raise TaskError(
                f"Loop {loop.name}: step returns no loss, and a host metric can't stand for it; "
                "return (state, loss)"
            )
        loss = measure(loop, state, batch, key)[0]
    return state, jnp.asarray(loss, jnp.float32)


def measure(loop: Loop, state: State, part: Part, key: jax.Array) -> tuple[Any, Any]:
    """The metric, and the weight of the part; 0 where its examples count."""
    given = (state, part, key) if takes_key(loop.metric) else (state, part)
    value, weight = loop.metric(*given), 0.0
    if isinstance(value, dict):
        if loop.metric_name not in value:
            raise TaskError(
                f"Loop {loop.name}: metric gives {', '.join(map(str, value))} and not "
                f"metric_name={loop.metric_name!r}"
            )
        value, weight = value[loop.metric_name], value.get("denominator", 0.0)
    if np.shape(value) != ():
        raise TaskError(
            f"Loop {loop.name}: its metric has shape {np.shape(value)}; wanted a scalar"
        )
    return jnp.asarray(value, jnp.float32), jnp.asarray(weight, jnp.float32)


def look(
    loop: Loop, start: Callable[[Scalars], Make], scalars: Scalars, batch: Batch
) -> tuple[Layout, core.ClosedJaxpr]:
    """Which leaves are arrays, and the program of one step: a fixed point, found abstractly.

    A Python number that the step changes (a TrainState's `step`) must become an array, or it would
    freeze; one that the step leaves alone (a module's `hidden_size`) stays what it is.
    """
    layout: Layout = ()

    def begin(scalars: Scalars, key: jax.Array) -> None:
        nonlocal layout
        layout = tuple(_array_or_none(leaf) for leaf in flatten(start(scalars)(key))[0])

    def after(scalars: Scalars, key: jax.Array, arrays: Arrays, batch: Batch) -> Arrays:
        leaves, merge = flatten(start(scalars)(key))
        return _named(loop.axis_name, widen)(_filled(leaves, merge, layout, arrays), batch, key)

    def widen(state: State, batch: Batch, key: jax.Array) -> Arrays:
        nonlocal layout
        old = flatten(state)[0]
        state, loss = advance(loop, state, batch, key)
        new = flatten(state)[0]
        layout = tuple(map(functools.partial(_widened, loop), layout, old, new))
        return *_arrays(new, layout), loss

    key = jax.random.key(0)
    jax.eval_shape(begin, scalars, key)
    for _ in range(4):
        known = layout
        arrays = tuple(a for a in layout if a is not None)
        program = jax.make_jaxpr(after)(scalars, key, arrays, batch)
        if layout == known:
            return layout, program
    raise TaskError(f"Loop {loop.name}: the dtypes of its state change from step to step")


def flatten(state: State) -> tuple[list[Any], Callable[[list[Any]], State]]:
    """The leaves of a state and the way back; modules of nnx go by their graph."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None or not _has_graph(nnx, state):
        leaves, tree = jax.tree.flatten(state)
        return leaves, lambda leaves: jax.tree.unflatten(tree, leaves)
    graph, values = nnx.split(state)
    leaves, tree = jax.tree.flatten(values)
    return leaves, lambda leaves: nnx.merge(graph, jax.tree.unflatten(tree, leaves))


def _has_graph(nnx: Any, state: State) -> bool:
    def is_module(node: Any) -> bool:
        return isinstance(node, nnx.Module | nnx.Optimizer)

    return any(map(is_module, jax.tree.leaves(state, is_leaf=is_module)))


def _array_or_none(leaf: Any) -> jax.ShapeDtypeStruct | None:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
        dtype = leaf.dtype if is_key else jax.dtypes.canonicalize_dtype(leaf.dtype)
        return jax.ShapeDtypeStruct(np.shape(leaf), dtype)
    return None


def _widened(loop: Loop, known: Any, old: Any, new: Any) -> jax.ShapeDtypeStruct | None:
    """What a leaf must be so that `new` can take its place."""
    found = _array_or_none(new)
    if known is not None and found is not None and known.shape != found.shape:
        raise TaskError(
            f"Loop {loop.name}: an array of the state has shape {known.shape}, and {found.shape} "
            "after a step"
        )
    if found is not None:
        return found
    if known is not None:  # an array became a Python number
        return known
    if new is old or new == old:
        return None
    if isinstance(new, bool | int | float | complex):
        return jax.ShapeDtypeStruct((), jnp.result_type(type(new)))
    raise TaskError(
        f"Loop {loop.name}: a step replaces {old!r} in the state by {new!r}; wanted an array or a "
        "number"
    )


def _arrays(leaves: list[Any], layout: Layout) -> Arrays:
    return tuple(
        leaf if jnp.issubdtype(a.dtype, jax.dtypes.extended) else jnp.asarray(leaf, a.dtype)
        for leaf, a in zip(leaves, layout, strict=True)
        if a is not None
    )


def _returned(loop: Loop, result: Any, tree: Any, state: State) -> tuple[State, Any]:
    """The state and the rest of what a step returned: the state's tree tells which is which."""
    if jax.tree.structure(result) == tree:
        return result, None
    if isinstance(result, tuple) and len(result) == 2:
        for found, aux in (result, result[::-1]):
            if jax.tree.structure(found) == tree:
                return found, aux
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and _has_graph(nnx, state):
        return state, result  # changed in place
    raise TaskError(
        f"Loop {loop.name}: what step returns has no element with the state's tree; the state is\n"
        f"  {tree}\nand step returned\n  {jax.tree.structure(result)}"
    )


def _named(axis_name: str | None, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The function inside an axis of size one, for `pmean` and `psum` over that name."""
    if axis_name is None:
        return function

    def inside(*args: Any) -> PyTree:
        many = jax.vmap(lambda _: function(*args), axis_name=axis_name)(jnp.zeros(1))
        return jax.tree.map(lambda leaf: leaf[0], many)

    return inside


def trained_by(loop: Loop, optimizer: optax.GradientTransformation) -> tuple[PyTree, PyTree]:
    """The shapes of the params that the optimizer gets from `start`, and of its own state."""
    seen: list[tuple[PyTree, PyTree]] = []

    def init(params: PyTree) -> PyTree:
        state = optimizer.init(params)
        seen.append(jax.tree.map(_shape, (params, state)))
        return state

    def begin(key: jax.Array) -> None:
        flatten(loop.start(recording, key))

    recording = optax.GradientTransformationExtraArgs(init, optimizer.update)
    try:
        jax.eval_shape(begin, jax.random.key(0))
    except UNTRACED:
        begin(jax.random.key(0))
    if not seen:
        raise TaskError(f"Loop {loop.name}: start never calls init of the optimizer it is given")
    return seen[0]


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
