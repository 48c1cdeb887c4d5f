"""Arrays on a mesh's Explicit axes, whose types say how they are cut.

There a gather, a scatter or a reshape of a cut axis is an error unless it is told how its result
is cut. `placed` tells it and leaves the rest to the compiler, as on Auto axes. `rows` and
`training` share this.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

try:
    from jax.sharding import auto_axes
except ImportError:  # before jax 0.7
    from jax.experimental.shard import auto_axes  # type: ignore[import-not-found, no-redef]

Cut = tuple[Any, ...]

# jax 0.6.0 has it in the plural.
_OUT = next(name for name in inspect.signature(auto_axes).parameters if name.startswith("out_"))


def cut(array: jax.Array) -> Cut:
    """The Explicit mesh axes that cut each axis of the array; `None` where an axis is whole."""
    return tuple(jax.typeof(array).sharding.spec)


def looked_up(ids: jax.Array, table: jax.Array) -> Cut:
    """How looked-up rows are cut: as the ids, then as the table by axes that don't cut the ids."""
    return joined(cut(ids), cut(table)[1:])


def joined(first: Cut, rest: Cut) -> Cut:
    """The cut of the first axes, then that of the rest by mesh axes that don't cut the first."""
    used = {name for axis in first for name in names(axis)}
    return (*first, *(None if used & set(names(axis)) else axis for axis in rest))


def placed(function: Callable[..., Any], result: Cut, *args: jax.Array) -> Any:
    """`function(*args)`; on Explicit axes `result` says how what it returns is cut."""
    for arg in args:
        mesh = jax.typeof(arg).sharding.mesh
        if mesh.explicit_axes:
            out = {_OUT: NamedSharding(mesh, PartitionSpec(*result))}
            return auto_axes(function, axes=mesh.explicit_axes, **out)(*args)
    return function(*args)


def recut(array: jax.Array, result: Cut) -> jax.Array:
    """The array; if it is on Explicit axes, cut as `result` says."""
    return placed(lambda a: a, result, array)


def names(axis: Any) -> tuple[Any, ...]:
    """The mesh axes that cut one axis of an array."""
    return axis if isinstance(axis, tuple) else (axis,) if axis is not None else ()
