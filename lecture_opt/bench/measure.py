"""The measurements of one optimizer on one tree. Nothing here prints or decides."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

PyTree = Any


class Subject(NamedTuple):
    """An optimizer ready to be stepped, and what getting there took.

    Attributes:
        name: As in the tables.
        step: () -> None; one compiled step, the update applied, waited for.
        init: () -> None; makes a state anew; None where there is no such thing.
        eager: () -> None; one update outside jit, waited for; None where there is no such thing.
        trace: () -> None; traces the step anew; None where there is no such thing.
        costs: Plain data: seconds once spent, and bytes.
    """

    name: str
    step: Callable[[], None]
    init: Callable[[], None] | None
    eager: Callable[[], None] | None
    trace: Callable[[], None] | None
    costs: dict[str, float | None]


def seconds(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What the call returns and how long it took, its arrays waited for."""
    began = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - began


def prepare(name: str, optimizer: optax.GradientTransformation, params: PyTree) -> Subject:
    """Traces, lowers and compiles a step, and takes it once.

    A step is the update and its application with params and state donated, as in training: kept
    apart, the updates would need fresh memory, whose mapping takes longer than the arithmetic.
    Arrays alike are donated to the results in the order of the arguments: were params and state
    taken in another order than they are returned, each would be copied over another's memory.
    The params' first values serve as the gradients throughout.
    """
    grads = params
    state, init = seconds(optimizer.init, params)

    def fresh() -> Any:
        """A jitted step that no cache knows."""

        def take(params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        return jax.jit(take, donate_argnums=(0, 1))

    traced, trace = seconds(lambda: fresh().trace(params, state, grads))
    lowered, lower = seconds(traced.lower)
    compiled, compile_ = seconds(lowered.compile)
    kept = jax.tree.map(jnp.copy, (params, state))

    def step() -> None:
        nonlocal kept
        kept = jax.block_until_ready(compiled(*kept, grads))

    _, first = seconds(step)
    own, state_bytes = tree_bytes(params), tree_bytes(state)
    return Subject(
        name,
        step=step,
        init=lambda: jax.block_until_ready(optimizer.init(params)) and None,
        eager=lambda: jax.block_until_ready(optimizer.update(grads, state, params)) and None,
        trace=lambda: fresh().trace(params, state, grads) and None,
        costs={
            "init_first_seconds": init,
            "trace_first_seconds": trace,
            "lower_seconds": lower,
            "compile_seconds": compile_,
            "step_first_seconds": first,
            "state_bytes": state_bytes,
            "moved_bytes": own + 2 * (own + state_bytes),
            **program_bytes(compiled),
        },
    )


def tree_bytes(tree: PyTree) -> int:
    """Bytes of all arrays of a tree.

    >>> tree_bytes({"a": jnp.ones(3), "b": None})
    12
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def program_bytes(compiled: jax.stages.Compiled) -> dict[str, float | None]:
    """What the compiler says of memory: None where this device's compiler does not say.

    `peak_bytes` is arguments, outputs and temporaries alive at once, donated ones counted once;
    `accessed_bytes` is what its kernels read and write, of which a single pass is `moved_bytes`.
    """
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    peak = None
    if memory is not None:
        total = memory.argument_size_in_bytes + memory.output_size_in_bytes
        peak = float(total + memory.temp_size_in_bytes - memory.alias_size_in_bytes)
    accessed = costs.get("bytes accessed") if isinstance(costs, dict) else None
    return {"peak_bytes": peak, "accessed_bytes": accessed}


def copy_bandwidth(size: int, *, rounds: int = 9) -> float:
    """Bytes a second, read and written, of the device's copy of `size` bytes; the median round.

    The target is donated, so that no fresh memory has to be mapped by the operating system.
    """
    count = max(1, size // 4)

    def negate(source: jax.Array, target: jax.Array) -> jax.Array:
        del target  # its memory is written
        return -source

    copy = jax.jit(negate, donate_argnums=1, keep_unused=True)
    source, target = jnp.ones(count), jnp.zeros(count)
    times = []
    for _ in range(rounds + 1):
        target, took = seconds(copy, source, target)
        times.append(took)
    return float(2 * 4 * count / np.median(times[1:]))
