"""The price of a step on a device that is not there: of an optimizer on a tree, or of a loop."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lecture_opt.bench import measure
from lecture_opt.bench.price import devices, plugin, program
from lecture_opt.bench.price.types import ARRAY, LAUNCH, Collective, Kernel, Price, Seconds
from lecture_opt.numerics import PyTree, tree_bytes
from lecture_opt.problems import Loop, Task, as_loop, bound
from lecture_opt.problems.loop import sample_batch
from lecture_opt.problems.tracing import training
from lecture_opt.training import zero1

AXIS = "devices"


def step(
    name: str,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    device: str,
    *,
    count: int = 1,
) -> Price:
    """What a step of the optimizer costs: the update and its application, as `bench` times it.

    Args:
        name: Of the optimizer.
        optimizer: The same on every device; its state is cut over them where there are several
            (`zero1`), while params and gradients lie whole on each.
        params: Arrays, or `jax.ShapeDtypeStruct`s.
        device: One of `devices.DEVICES`.
        count: How many devices.

    Raises:
        ValueError: The device is unknown.
        ModuleNotFoundError: JAX's plugin for CUDA is not installed.
    """
    mesh = Mesh(np.array(plugin.topology(device, count)), (AXIS,))
    whole = NamedSharding(mesh, PartitionSpec())
    if count > 1:
        optimizer = zero1(optimizer, mesh)
    shapes = placed(params, whole)
    state = placed(jax.eval_shape(optimizer.init, shapes), whole)
    if count > 1:  # the state lies as a step leaves it
        traced = jax.jit(measure.step(optimizer)).trace(shapes, state, shapes)
        state = jax.tree.map(
            lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at),
            state,
            traced.lower().compile().output_shardings[1],
        )
    compiled = compile_step(measure.step(optimizer), shapes, state, shapes)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(params)]
    held = sum(map(shard_bytes, jax.tree.leaves(state)))
    own = tree_bytes(params)
    least = 3 * own + 2 * held if count == 1 else None
    return priced(name, compiled, device, count=count, state=held, moved=least, paths=paths)


def loop(
    name: str, optimizer: optax.GradientTransformation, problem: Loop | Task, device: str
) -> Price:
    """What a training step of a problem costs: loss, gradients, update and its application.

    Raises:
        ValueError: The device is unknown, or the problem makes no sense.
        ModuleNotFoundError: JAX's plugin for CUDA is not installed.
    """
    one = as_loop(problem)
    whole = NamedSharding(Mesh(np.array(plugin.topology(device)), (AXIS,)), PartitionSpec())
    batch = sample_batch(one)
    trained = training(one, optimizer, batch)
    arrays = tuple(leaf for leaf in trained.layout if leaf is not None)
    given = (arrays, batch, jax.eval_shape(lambda: jax.random.key(0)))
    compiled = compile_step(trained.step, *placed(given, whole), donate=(0,))
    state = tree_bytes(bound.trained_by(one, optimizer)[1])
    return priced(name, compiled, device, state=state, moved=None)


def compile_step(function: Any, *given: PyTree, donate: Sequence[int] = (0, 1)) -> Any:
    """The compiled program of a function, its arguments kept in their places."""
    jitted = jax.jit(function, donate_argnums=tuple(donate), keep_unused=True)
    return jitted.trace(*given).lower().compile()


def priced(
    name: str,
    compiled: Any,
    device: str,
    *,
    state: int,
    moved: int | None,
    count: int = 1,
    paths: Sequence[str] = (),
) -> Price:
    """The price of a compiled program whose first arguments are the params at these paths."""
    kernels, collectives = program.read(compiled.as_text(), devices=count)
    memory = compiled.memory_analysis()
    results = memory.argument_size_in_bytes + memory.output_size_in_bytes
    given = len(jax.tree.leaves(compiled.args_info))
    arrays = given + len(jax.tree.leaves(compiled.out_info))
    return Price(
        name=name,
        kernels=kernels,
        collectives=collectives,
        arrays=arrays,
        state=state,
        moved=moved,
        temporaries=memory.temp_size_in_bytes,
        peak=results - memory.alias_size_in_bytes + memory.temp_size_in_bytes,
        shared=_shared(kernels, paths, given),
        seconds=predicted(kernels, collectives, arrays, devices.named(device)),
    )


def predicted(
    kernels: Sequence[Kernel],
    collectives: Sequence[Collective],
    arrays: int,
    device: devices.Device,
) -> Seconds:
    """Bytes over bandwidth, plus launches, plus what the host does for each array."""
    return Seconds(
        bytes=sum(
            kernel.times
            * max((kernel.read + kernel.written) / device.bandwidth, kernel.flops / device.tensor)
            for kernel in kernels
        ),
        launches=LAUNCH
        * (sum(one.times for one in kernels) + sum(one.times for one in collectives)),
        links=sum(one.times * one.bytes for one in collectives) / device.link,
        host=ARRAY * arrays,
    )


def placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """The shapes of a tree's arrays, all lying so."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def shard_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of the part of an array that one device holds."""
    shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
    return int(np.prod(shape, dtype=np.int64)) * leaf.dtype.itemsize


def _shared(
    kernels: Sequence[Kernel], paths: Sequence[str], given: int
) -> dict[str, tuple[str, ...]]:
    """The leaves of each kernel that reads several params, or several of their gradients.

    The params are the first arguments and their gradients the last.
    """
    places = {**dict(enumerate(paths)), **dict(enumerate(paths, given - len(paths)))}
    served = {
        kernel.name: tuple(dict.fromkeys(places[i] for i in kernel.arguments if i in places))
        for kernel in kernels
    }
    return {name: leaves for name, leaves in served.items() if len(leaves) > 1}
