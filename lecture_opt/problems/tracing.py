"""A step of a loop with an optimizer, traced: its program, and the arrays of the state."""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend import core
from jax.interpreters import partial_eval

from lecture_opt.environment import lenient
from lecture_opt.problems import bound
from lecture_opt.problems.bound import Arrays, Layout, Make, Scalars
from lecture_opt.problems.loop import Loop, State
from lecture_opt.problems.parts import Batch, Part, TaskError


class Training(NamedTuple):
    """A loop with one optimizer, under JAX's default promotions.

    Attributes:
        layout: The arrays of its state.
        start: Key -> arrays.
        step: Arrays, batch, key -> arrays, loss; its caller jits it.
    """

    layout: Layout
    start: Callable[[jax.Array], Arrays]
    step: Callable[[Arrays, Batch, jax.Array], tuple[Arrays, jax.Array]]


def training(loop: Loop, optimizer: optax.GradientTransformation, batch: Batch) -> Training:
    """The loop's training with an optimizer, whose `update` may be given `value` and the like.

    Args:
        loop: What is trained.
        optimizer: Any; what its `update` doesn't know is kept from it.
        batch: One of the loop's, or its shapes.
    """
    extended = optax.with_extra_args_support(optimizer)

    def make(key: jax.Array) -> State:
        return loop.start(extended, key)

    def start(key: jax.Array) -> Arrays:
        with lenient():
            return bound.initial(make, layout, key)

    def step(arrays: Arrays, batch: Batch, key: jax.Array) -> tuple[Arrays, jax.Array]:
        with lenient():
            return bound.bind(loop, make, layout).step(arrays, batch, key)

    with lenient():
        layout, _ = trace_step(loop, lambda _: make, {}, batch)
    return Training(layout, start, step)


def trace_step(
    loop: Loop, start: Callable[[Scalars], Make], scalars: Scalars, batch: Batch
) -> tuple[Layout, core.ClosedJaxpr]:
    """Which leaves are arrays, and the program of one step: a fixed point, found abstractly.

    A Python number that the step changes (a TrainState's `step`) must become an array, or it would
    freeze; one that the step leaves alone (a module's `hidden_size`) stays what it is.
    """
    layout = layout_of(start, scalars)
    changed = False

    def after(
        again: bool, scalars: Scalars, key: jax.Array, arrays: Arrays, batch: Batch
    ) -> Arrays:
        leaves, merge = bound.flatten(start(scalars)(key))

        def inside(batch: Batch, key: jax.Array) -> Arrays:
            nonlocal layout, changed
            make = functools.partial(bound.filled, leaves, merge, layout, arrays)
            old, new, loss, changed = _stepped(loop, make, batch, key, again)
            layout = tuple(map(functools.partial(_widened, loop), layout, old, new))
            return *bound.arrays_of(new, layout), loss

        return bound.named(loop.axis_name, inside)(batch, key)

    def trace(again: bool) -> core.ClosedJaxpr:
        arrays = tuple(a for a in layout if a is not None)
        return jax.make_jaxpr(functools.partial(after, again))(scalars, key, arrays, batch)

    key = jax.random.key(0)
    for _ in range(4):
        known, program = layout, trace(False)
        if layout != known:
            continue
        if changed and needed(trace(True)) != needed(program):
            raise TaskError(
                f"Loop {loop.name}: a step changes its nnx modules beyond their variables, as in a "
                "Python attribute, and the next step computes something else; keep what changes "
                "in an nnx.Variable"
            )
        return layout, program
    raise TaskError(f"Loop {loop.name}: the dtypes of its state change from step to step")


def trace_metric(
    loop: Loop, start: Callable[[Scalars], Make], scalars: Scalars, part: Part
) -> core.ClosedJaxpr:
    """The program of the metric: key, arrays of the state, part -> value, weight."""
    make, layout = start(scalars), layout_of(start, scalars)

    def metric(key: jax.Array, arrays: Arrays, part: Part) -> Any:
        state = bound.filled(*bound.flatten(make(key)), layout, arrays)
        return bound.measure(loop, state, part, key)

    arrays = tuple(a for a in layout if a is not None)
    return jax.make_jaxpr(bound.named(loop.axis_name, metric))(jax.random.key(0), arrays, part)


def layout_of(start: Callable[[Scalars], Make], scalars: Scalars) -> Layout:
    """The arrays among the leaves of the state that is there before the first step."""
    layout: Layout = ()

    def begin(scalars: Scalars, key: jax.Array) -> None:
        nonlocal layout
        layout = tuple(_array_or_none(leaf) for leaf in bound.flatten(start(scalars)(key))[0])

    jax.eval_shape(begin, scalars, jax.random.key(0))
    return layout


def _stepped(
    loop: Loop, make: Callable[[], State], batch: Batch, key: jax.Array, again: bool
) -> tuple[list[Any], list[Any], Any, bool]:
    """Leaves before and after a step, its loss, whether it changes the graph of nnx modules.

    `again` takes the step with the graph that a step leaves, and with the arrays as they were.
    """
    state = make()
    if again:
        leaves, merge = bound.flatten(
            state, bound.graph_of(bound.advance(loop, make(), batch, key)[0])
        )
        state = merge(leaves)
    old, graph = bound.flatten(state)[0], bound.graph_of(state)
    state, loss = bound.advance(loop, state, batch, key)
    new = bound.flatten(state)[0]
    if len(new) != len(old):
        raise TaskError(
            f"Loop {loop.name}: its nnx modules have {len(old)} variables, and {len(new)} after a "
            "step; take out what a step adds, as in nnx.pop(model, nnx.Intermediate)"
        )
    return old, new, loss, bound.graph_of(state) != graph


def needed(program: core.ClosedJaxpr) -> str:
    """The text of what a program computes, without what nothing depends on."""
    return str(partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))[0])


def text(program: core.ClosedJaxpr) -> str:
    """The program as text, without addresses."""
    return re.sub(r"0x[0-9a-f]+", "", str(program))


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
