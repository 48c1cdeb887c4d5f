"""Many devices: `fit` keeps every array where its caller put it, and these help to put it.

A mesh names the devices, `mesh = jax.make_mesh((jax.device_count(),), ("devices",))`. Each of

    fit(loss_fn, params, optimizer, shard_data(data, mesh), ...)  # data-parallel
    fit(loss_fn, params, zero1(optimizer, mesh), shard_data(data, mesh), ...)
    fit(loss_fn, shard_params(params, mesh), optimizer, shard_data(data, mesh), ...)

gives the losses of one device, to rounding: a batch holds the same examples on any number of them.
What lies on no mesh is copied to each device. A layout of your own is `jax.device_put` with your
`NamedSharding`s.

The mesh's axes stay of their type. On Auto ones any loss written for one device runs. On Explicit
ones, which `jax.make_mesh` makes where jax is new, a program says how an array is cut where that
doesn't follow from its inputs, and no array is cut twice over one axis; so parameters that are cut
over an axis of the data come to the loss, and to `eval_fn`, gathered over it. The models and losses
of this package need no more. What jax asks of yours is met inside it (`out_sharding=`,
`jax.sharding.reshard`), around it (`jax.sharding.auto_axes`), or by the mesh:

    jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))

Example:
    >>> import jax, jax.numpy as jnp, optax
    >>> mesh = jax.make_mesh((jax.device_count(),), ("devices",))
    >>> shard_data(jnp.ones((8, 3)), mesh).sharding.spec[0]
    'devices'
    >>> shard_params({"kernel": jnp.ones((3, 8))}, mesh)["kernel"].sharding.spec[1]
    'devices'
    >>> optimizer = zero1(optax.sgd(0.5), mesh)
    >>> updates, state = optimizer.update(jnp.ones(8), optimizer.init(jnp.ones(8)), jnp.ones(8))
    >>> float(updates[0])
    -0.5
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lecture_opt import meshes
from lecture_opt.numerics import PyTree
from lecture_opt.training.checks import check_optimizer


def shard_data(data: PyTree, mesh: Mesh) -> PyTree:
    """The examples, cut along their leading axis over all devices of the mesh.

    With several processes, each gives all of the data and keeps its part. A process that can read
    only its own part calls `jax.make_array_from_process_local_data` instead.

    Raises:
        ValueError: A leading axis is not a multiple of the number of devices.
        TypeError: `mesh` is not a mesh.
    """
    _check_mesh("shard_data", mesh)

    def put(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        shape = np.shape(leaf)
        if not shape or shape[0] % mesh.size:
            raise ValueError(
                f"shard_data: data{jax.tree_util.keystr(path)} has shape {shape}; wanted a leading "
                f"axis that is a multiple of the mesh's {mesh.size} devices"
            )
        return _put(leaf, NamedSharding(mesh, _spec(mesh, axis=0)))

    return jax.tree_util.tree_map_with_path(put, data)


def shard_params(params: PyTree, mesh: Mesh) -> PyTree:
    """The parameters, each cut along its longest axis over all devices of the mesh.

    Only an axis whose length is a multiple of the number of devices can be cut; an array without
    such an axis is copied to each device. Optimizers' states are sharded like the parameters.
    """
    _check_mesh("shard_params", mesh)
    return jax.tree.map(lambda leaf: _put(leaf, _cut(leaf, mesh)), params)


def zero1(
    optimizer: optax.GradientTransformation, mesh: Mesh
) -> optax.GradientTransformationExtraArgs:
    """The optimizer with its state, and the work of its update, cut over the devices of the mesh.

    The parameters stay whole on each device; a device keeps and updates the state of its part of
    them, and the updates are gathered. The state is the optimizer's own, sharded as
    `shard_params` would, on axes of the type that the parameters lie on. Any optimizer of one array
    at a time gives what it gives without.

    Source: Rajbhandari et al., "ZeRO: Memory optimizations toward training trillion parameter
    models", 2020, stage 1.
    """
    _check_mesh("zero1", mesh)
    check_optimizer("zero1", optimizer)
    inner = optax.with_extra_args_support(optimizer)
    auto = _auto(mesh)

    def cut(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: _move(leaf, _cut(leaf, auto)), tree)

    def init(params: PyTree) -> PyTree:
        return inner.init(cut(params))

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        updates, state = inner.update(cut(updates), state, cut(params), **extra_args)
        whole = NamedSharding(auto, PartitionSpec())
        return jax.tree.map(lambda leaf: _move(leaf, whole), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _check_mesh(function: str, mesh: Any) -> None:
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"{function}: mesh is {mesh!r}; wanted a jax.sharding.Mesh, as jax.make_mesh gives"
        )


# ---- what fit does with it ----------------------------------------------------------------


class Placement(NamedTuple):
    """Where each array of a run lies, `None` for one on no mesh; a static part of its program."""

    carry: tuple[NamedSharding | None, ...]
    data: tuple[NamedSharding | None, ...]


def placement(carry: PyTree, data: PyTree) -> Placement:
    """Where the leaves of a carry and of the data lie."""
    return Placement(*(tuple(map(_mesh_sharding, jax.tree.leaves(t))) for t in (carry, data)))


@contextlib.contextmanager
def entered(**arguments: PyTree) -> Iterator[Callable[[PyTree], PyTree]]:
    """The context for programs over the mesh that the arguments lie on.

    Yields:
        A function that copies to each device of that mesh what is cut over no mesh.
    """
    mesh = _common_mesh(arguments)
    explicit = mesh is not None and _explicit(mesh)
    if mesh is not None and explicit and not hasattr(jax, "set_mesh"):
        raise ValueError(
            f"fit: params, opt_state or data lie on a mesh of {mesh.axis_types}; wanted Auto axes, "
            f"as Explicit ones need jax 0.7.1 or newer, and this is {jax.__version__}"
        )
    can_set = mesh is not None and hasattr(jax, "set_mesh")  # leaves another that is set
    with jax.set_mesh(mesh) if can_set else contextlib.nullcontext():
        try:
            yield lambda tree: tree if mesh is None else _on(tree, mesh)
        except Exception as error:
            if explicit and type(error).__name__ == "ShardingTypeError":
                error.add_note(
                    "fit: params, opt_state or data lie on Explicit mesh axes; there a program "
                    "must say how such an array is cut. On a mesh of jax.sharding.AxisType.Auto "
                    "the compiler chooses (help: lecture_opt.training.sharding)"
                )
            raise


def explicit_axes(data: PyTree) -> frozenset[str]:
    """The Explicit axes of a mesh that cut the data."""
    return frozenset(name for leaf in jax.tree.leaves(data) for name in _typed_names(leaf))


def gathered(params: PyTree, axes: frozenset[str]) -> PyTree:
    """The parameters, whole along these Explicit axes, inside a program or outside."""

    def gather(leaf: Any) -> Any:
        where = jax.typeof(leaf).sharding
        if axes.isdisjoint(_typed_names(leaf)):
            return leaf
        spec = [tuple(n for n in meshes.names(a) if n not in axes) or None for a in where.spec]
        return jax.sharding.reshard(leaf, NamedSharding(where.mesh, PartitionSpec(*spec)))

    return jax.tree.map(gather, params)


def keep(tree: PyTree, shardings: tuple[NamedSharding | None, ...]) -> PyTree:
    """Inside a program: the tree, left where it was."""
    leaves, treedef = jax.tree.flatten(tree)
    kept = [_move(x, at) if at else x for x, at in zip(leaves, shardings, strict=True)]
    return jax.tree.unflatten(treedef, kept)


def take(leaf: jax.Array, rows: jax.Array, where: NamedSharding | None) -> jax.Array:
    """Inside a program: these rows of the leaf, cut over devices as the leaf is."""
    if where is not None and _explicit(where.mesh):
        return leaf.at[rows].get(mode="promise_in_bounds", out_sharding=where)
    taken: jax.Array = leaf.at[rows].get(mode="promise_in_bounds")
    return taken if where is None else lax.with_sharding_constraint(taken, where)


def parts(data: PyTree) -> int:
    """Into how many parts the leading axis of the data is cut."""
    return math.lcm(*(_parts(leaf) for leaf in jax.tree.leaves(data)))


def _common_mesh(arguments: dict[str, PyTree]) -> Mesh | None:
    """The mesh that arrays are cut over, else one that they lie on.

    To lie whole on a mesh says little: inside `jax.set_mesh` every new array does.
    """
    whole: Mesh | None = None
    cut: dict[Mesh, str] = {}
    for name, tree in arguments.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            where: Any = _mesh_sharding(leaf)
            if where is not None:
                whole = whole or where.mesh
                if not where.is_fully_replicated:
                    cut.setdefault(where.mesh, name + jax.tree_util.keystr(path))
    if len(cut) > 1:
        told = " and ".join(f"{name} is cut over {mesh}" for mesh, name in cut.items())
        raise ValueError(
            f"fit: {told}; wanted one mesh: jax.device_put(array, NamedSharding(mesh, spec)), "
            "shard_data or shard_params put an array on it"
        )
    return next(iter(cut), whole)


def _on(tree: PyTree, mesh: Mesh) -> PyTree:
    whole = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> Any:  # a key made inside another mesh lies there
        where = _mesh_sharding(leaf)
        return leaf if where and where.mesh == mesh else _put(leaf, whole)

    return jax.tree.map(put, tree)


def _mesh_sharding(leaf: Any) -> NamedSharding | None:
    where = getattr(leaf, "sharding", None)
    return where if isinstance(where, NamedSharding) else None


def _parts(leaf: Any) -> int:
    if not isinstance(leaf.sharding, NamedSharding) or not leaf.sharding.spec:
        return 1
    return math.prod(leaf.sharding.mesh.shape[name] for name in meshes.names(leaf.sharding.spec[0]))


def _typed_names(leaf: Any) -> set[str]:
    """The Explicit mesh axes that cut an array."""
    return {name for axis in meshes.cut(leaf) for name in meshes.names(axis)}


def _cut(leaf: Any, mesh: Mesh) -> NamedSharding:
    """The sharding that cuts the longest axis it can."""
    shape = np.shape(leaf)
    axes = [axis for axis, size in enumerate(shape) if size and size % mesh.size == 0]
    if not axes:
        return NamedSharding(mesh, PartitionSpec())
    longest = max(axes, key=lambda axis: shape[axis])
    return NamedSharding(mesh, _spec(mesh, longest))


def _spec(mesh: Mesh, axis: int) -> PartitionSpec:
    names = mesh.axis_names
    return PartitionSpec(*[None] * axis, names if len(names) > 1 else names[0])


def _auto(mesh: Mesh) -> Mesh:
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _put(leaf: Any, where: NamedSharding) -> jax.Array:
    """The array there; with several processes each holds all of it and keeps its part."""
    if not isinstance(leaf, jax.Array):
        leaf = np.asarray(leaf, dtype=jnp.result_type(leaf))
    if where.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(leaf, where)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(leaf), where)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, where, lambda index: values[index])


def _move(leaf: jax.Array, where: NamedSharding) -> jax.Array:
    mesh = getattr(jnp.asarray(leaf).aval.sharding, "mesh", None)
    if mesh is not None and _explicit(mesh):
        return jax.sharding.reshard(leaf, NamedSharding(mesh, where.spec))
    return lax.with_sharding_constraint(leaf, where)


def _explicit(mesh: Any) -> bool:
    return AxisType.Explicit in mesh.axis_types
