"""A loop with one optimizer, as pure functions of arrays.

A state is split into its arrays and the rest (functions, static fields, the graph of nnx modules).
The rest belongs to the trace in which it was made, so `bind` has `start` make it anew in each.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.environment import lenient
from lecture_opt.numerics import PyTree
from lecture_opt.problems.loop import Loop, State, start_key, takes_key
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
    return arrays_of(flatten(make(key))[0], layout)


def state_of(make: Make, layout: Layout, arrays: Arrays) -> State:
    """A state of `make` with these arrays."""
    return filled(*flatten(make(jax.random.key(0))), layout, arrays)


def bind(loop: Loop, make: Make, layout: Layout) -> Bound:
    """The loop's functions within one trace; `make` makes a state from a key."""
    leaves, merge = flatten(make(jax.random.key(0)))

    def step(arrays: Arrays, batch: Batch, key: jax.Array) -> tuple[Arrays, jax.Array]:
        state, loss = advance(loop, filled(leaves, merge, layout, arrays), batch, key)
        return arrays_of(flatten(state)[0], layout), loss

    def metric(arrays: Arrays, part: Part, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return measure(loop, filled(leaves, merge, layout, arrays), part, key)

    return Bound(named(loop.axis_name, step), named(loop.axis_name, metric))


def filled(leaves: list[Any], merge: Any, layout: Layout, arrays: Arrays) -> State:
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


def flatten(state: State, graph: Any = None) -> tuple[list[Any], Callable[[list[Any]], State]]:
    """The leaves of a state and the way back; modules of nnx go by their graph, or by this one."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None or not _has_graph(nnx, state):
        leaves, tree = jax.tree.flatten(state)
        return leaves, lambda leaves: jax.tree.unflatten(tree, leaves)
    own, values = nnx.split(state)
    leaves, tree = jax.tree.flatten(values)
    return leaves, lambda leaves: nnx.merge(
        own if graph is None else graph, jax.tree.unflatten(tree, leaves)
    )


def graph_of(state: State) -> Any:
    """The graph of a state's nnx modules; `None` where it has none."""
    nnx = sys.modules.get("flax.nnx")
    return nnx.split(state)[0] if nnx is not None and _has_graph(nnx, state) else None


def _has_graph(nnx: Any, state: State) -> bool:
    def is_module(node: Any) -> bool:
        return isinstance(node, nnx.Module | nnx.Optimizer)

    return any(map(is_module, jax.tree.leaves(state, is_leaf=is_module)))


def arrays_of(leaves: list[Any], layout: Layout) -> Arrays:
    """The leaves that are arrays, of the dtypes that the layout has."""
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
        f"Loop {loop.name}: what step returns has no element with the state's tree, which is "
        f"{tree}; step returned {jax.tree.structure(result)}"
    )


def named(axis_name: str | None, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The function inside an axis of size one, for `pmean` and `psum` over that name."""
    if axis_name is None:
        return function

    def inside(*args: Any) -> PyTree:
        many = jax.vmap(lambda _: function(*args), axis_name=axis_name)(jnp.zeros(1))
        return jax.tree.map(lambda leaf: leaf[0], many)

    return inside


def trained_by(loop: Loop, optimizer: optax.GradientTransformation) -> tuple[PyTree, PyTree]:
    """The shapes of the params that the optimizer gets from `start`, and of its own state."""

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

    def begin(recording: optax.GradientTransformation) -> None:
        def start(key: jax.Array) -> None:
            flatten(loop.start(recording, key))

        try:
            jax.eval_shape(start, start_key(0))
        except UNTRACED:
            start(start_key(0))

    return _initialised(loop, optimizer, lambda both: jax.tree.map(shape, both), begin)


def params_of(loop: Loop) -> PyTree:
    """The params that `start` gives to its optimizer under seed 0, as JAX arrays.

    Raises:
        TaskError: It gives no params.
    """
    params, _ = _initialised(
        loop, optax.identity(), lambda both: both, lambda given: loop.start(given, start_key(0))
    )
    return jax.tree.map(jnp.asarray, params)


def _initialised(
    loop: Loop,
    optimizer: optax.GradientTransformation,
    keep: Callable[[tuple[PyTree, PyTree]], tuple[PyTree, PyTree]],
    begin: Callable[[optax.GradientTransformation], object],
) -> tuple[PyTree, PyTree]:
    """What is kept of the params and the state of the first `init` while the loop begins."""
    seen: list[tuple[PyTree, PyTree]] = []

    def init(params: PyTree) -> PyTree:
        state = optimizer.init(params)
        seen.append(keep((params, state)))
        return state

    with lenient():
        begin(optax.GradientTransformationExtraArgs(init, optimizer.update))
    if not seen:
        raise TaskError(f"Loop {loop.name}: start never calls init of the optimizer it is given")
    return seen[0]
