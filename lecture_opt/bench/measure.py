"""The measurements of one optimizer on one tree. Nothing here prints or decides."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lecture_opt.bench.types import Bytes
from lecture_opt.numerics import PyTree, tree_bytes

CHANGES = 5
"""How many changes of an array follow one another where its bandwidth is measured."""


class Subject(NamedTuple):
    """An optimizer ready to be stepped, and what getting there took.

    Attributes:
        name: As in the tables.
        bytes: Its memory.
        once: Seconds spent, by kind.
        step: () -> None; one compiled step, the update applied, waited for.
        again: () -> None by kind: "init" makes a state anew, "eager" takes an update outside jit,
            "trace" traces the step anew.
    """

    name: str
    bytes: Bytes
    once: Mapping[str, float]
    step: Callable[[], None]
    again: Mapping[str, Callable[[], object]]


def seconds(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What the call returns and how long it took, its arrays waited for."""
    began = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - began


def step(
    optimizer: optax.GradientTransformation,
) -> Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]:
    """The update and its application: (params, state, grads) -> (params, state)."""

    def step(params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


def jitted_step(optimizer: optax.GradientTransformation) -> Any:
    """`step`, jitted anew.

    Params and state are donated, as in training: kept apart, the updates would need fresh memory,
    whose mapping takes longer than the arithmetic. Arrays alike are donated to the results in the
    order of the arguments: were params and state taken in another order than they are returned,
    each would be copied over another's memory.
    """
    return jax.jit(step(optimizer), donate_argnums=(0, 1))


def prepare(name: str, optimizer: optax.GradientTransformation, params: PyTree) -> Subject:
    """Traces, lowers and compiles a step, and takes it once.

    The params' first values serve as the gradients throughout.
    """
    grads, state = params, optimizer.init(params)
    lowered, lower = seconds(jitted_step(optimizer).trace(params, state, grads).lower)
    compiled, compile_ = seconds(lowered.compile)
    kept = jax.tree.map(jnp.copy, (params, state))

    def step() -> None:
        nonlocal kept
        kept = jax.block_until_ready(compiled(*kept, grads))

    _, first = seconds(step)
    return Subject(
        name,
        bytes=step_bytes(params, state, compiled),
        once={"lower": lower, "compile": compile_, "first_step": first},
        step=step,
        again={
            "init": lambda: jax.block_until_ready(optimizer.init(params)),
            "eager": lambda: jax.block_until_ready(optimizer.update(grads, state, params)),
            "trace": lambda: jitted_step(optimizer).trace(params, state, grads),
        },
    )


def step_bytes(params: PyTree, state: PyTree, compiled: jax.stages.Compiled) -> Bytes:
    """The bytes of a step, from its arrays and from what the compiler says of the program."""
    own, held = tree_bytes(params), tree_bytes(state)
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    peak = None
    if memory is not None:
        total = memory.argument_size_in_bytes + memory.output_size_in_bytes
        peak = float(total + memory.temp_size_in_bytes - memory.alias_size_in_bytes)
    accessed = costs.get("bytes accessed") if isinstance(costs, dict) else None
    return Bytes(state=held, moved=own + 2 * (own + held), peak=peak, accessed=accessed)


def bandwidth(size: int, *, rounds: int = 10) -> float:
    """Bytes per second, read and written, of the fastest change in place of an array of `size`.

    An array that fits into a cache is faster than one that does not. It is changed in place, as
    params and state are: to write elsewhere, a processor first reads what it overwrites. The
    changes follow one another without a wait, which on a GPU takes longer than the change.
    """
    count = max(1, size // 4)
    negate = jax.jit(lambda array: -array, donate_argnums=0)

    def change(array: jax.Array) -> jax.Array:
        for _ in range(CHANGES):
            array = negate(array)
        return array

    array = jnp.ones(count)
    times = []
    for _ in range(rounds + 1):
        array, took = seconds(change, array)
        times.append(took)
    return CHANGES * 2 * 4 * count / min(times[1:])


def matrix_rate(*, size: int = 1024, rounds: int = 5) -> float:
    """Floating-point operations per second of a float32 product of two square matrices."""
    product = jax.jit(jnp.matmul)
    matrix = jnp.ones((size, size), jnp.float32)
    times = [seconds(product, matrix, matrix)[1] for _ in range(rounds + 1)]
    return 2 * size**3 / min(times[1:])


def operations(compiled: jax.stages.Compiled) -> float | None:
    """Floating-point operations of a program; `None` where XLA doesn't know how often they run."""
    costs = compiled.cost_analysis()
    if not isinstance(costs, dict) or " while(" in (compiled.as_text() or ""):
        return None
    return costs.get("flops")
