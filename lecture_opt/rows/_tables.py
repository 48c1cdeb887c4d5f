"""Rows of a table: read, written and made unique; and which leaves of a tree are tables."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from lecture_opt import meshes, numerics
from lecture_opt.numerics import PyTree

PADDING = -1


# ---- which leaves -------------------------------------------------------------------------


def spread(function: str, argument: str, params: PyTree, given: PyTree) -> list[Any]:
    """What `given` holds for each leaf of the params: a subtree at tables, None elsewhere.

    `given` follows the params' keys and may end early (None, or a bool: for all below) or leave
    keys out. Keys that the params lack raise.
    """
    pairs, _ = jax.tree_util.tree_flatten_with_path(params)
    found, used = [], set()
    for path, _ in pairs:
        node, depth = _follow(_names(path), given)
        found.append(node)
        used.add(_names(path)[:depth])
    for path, _ in jax.tree_util.tree_leaves_with_path(given):
        names = _names(path)
        if not any(names[:depth] in used for depth in range(len(names) + 1)):
            where = f"{function}: {argument}{jax.tree_util.keystr(path)}"
            below = [full for full, _ in pairs if _names(full)[: len(names)] == names]
            if below:
                leaf = jax.tree_util.keystr(below[0])
                raise ValueError(f"{where} ends above a leaf, {leaf}: name all keys of the params")
            raise ValueError(
                f"{where} is for no leaf of the params, which are {jax.tree.structure(params)}"
            )
    return found


def _names(path: tuple[Any, ...]) -> tuple[Any, ...]:
    fields = ("key", "idx", "name")
    return tuple(next(getattr(k, f) for f in fields if hasattr(k, f)) for k in path)


def _follow(names: tuple[Any, ...], node: Any) -> tuple[Any, int]:
    """What is under those names, and how many of them it took to get there."""
    for depth, name in enumerate(names):
        if node is None or isinstance(node, bool):
            return node, depth
        if isinstance(node, Mapping):
            node = node.get(name)
        elif isinstance(name, str):
            node = getattr(node, name, None)
        else:
            node = node[name] if isinstance(node, list | tuple) and name < len(node) else None
    return node, len(names)


# ---- ids ----------------------------------------------------------------------------------


def flat_ids(function: str, ids: PyTree, rows: int) -> jax.Array:
    """All ids for one table in one int32 array, the invalid as `rows`.

    Raises for ids that are not integers and, outside jit, for ids outside the table.
    """
    for part in jax.tree.leaves(ids):
        numerics.check_integers(f"{function}: ids", part)
        if np.dtype(object) == getattr(part, "dtype", None):
            raise TypeError(f"{function}: ids have dtype object; wanted integers")
    parts = [jnp.asarray(numerics.native(part)) for part in jax.tree.leaves(ids)]
    for part in parts:
        if not jnp.issubdtype(part.dtype, jnp.integer):
            raise TypeError(f"{function}: ids have dtype {part.dtype}; wanted integers")
        if not isinstance(part, jax.core.Tracer) and part.is_fully_addressable:
            values = np.asarray(part)
            wrong = values[(values < PADDING) | (values >= rows)]
            if wrong.size:
                raise ValueError(
                    f"{function}: id {wrong[0]} is outside a table of {rows} rows "
                    f"({wrong.size} such ids); {PADDING} is padding"
                )
    if not parts:
        return jnp.zeros((0,), jnp.int32)
    whole = [meshes.recut(part, (None,) * part.ndim) for part in parts]
    return jnp.concatenate([normal(part, rows).ravel() for part in whole])


def within_int32(function: str, ids: ArrayLike) -> jax.Array:
    """The ids, of which those that JAX would cut to 32 bits are as far out as 32 bits hold.

    Raises for ids that are not integers.
    """
    array: Any = ids if isinstance(ids, jax.Array) else numerics.native(np.asarray(ids))
    past_64_bits = array.dtype == object and all(isinstance(n, int) for n in array.flat)
    if array.size and not past_64_bits and not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{function}: ids have dtype {array.dtype}; wanted integers")
    if isinstance(ids, jax.Array):
        return ids
    limits = np.iinfo(np.int32)
    return jnp.asarray(np.clip(array, limits.min, limits.max).astype(np.int32))


def normal(ids: jax.Array, rows: int) -> jax.Array:
    """The ids as int32, those outside the table, negative ones too, as `rows`."""
    wide = ids.astype(jnp.int64 if ids.dtype.itemsize == 8 else jnp.int32)
    return jnp.where((wide >= 0) & (wide < rows), wide, rows).astype(jnp.int32)


class Unique(NamedTuple):
    """Distinct ids in order, then ids past the table.

    Lookup i is of `ids[group[i]]`, or of no row where `group[i]` is the number of ids.
    """

    ids: jax.Array
    group: jax.Array


def unique(function: str, ids: PyTree, rows: int) -> Unique:
    """Groups all ids for one table; the result has the length of the ids, all of them distinct.

    Raises as `flat_ids`.
    """
    ids = flat_ids(function, ids, rows)
    return meshes.placed(lambda ids: _group(ids, rows), (None,), ids)


def _group(ids: jax.Array, rows: int) -> Unique:
    k = ids.shape[0]
    # The ids alone are sorted, then looked up: a CPU sorts pairs several times slower.
    ascending = lax.sort(ids)
    first = jnp.ones(k, bool).at[1:].set(ascending[1:] != ascending[:-1])
    place = jnp.cumsum(first, dtype=jnp.int32) - 1
    past = rows + jnp.arange(k, dtype=jnp.int32)
    distinct = past.at[place].set(ascending, mode="drop", indices_are_sorted=True)
    # `rows` itself, where invalid ids gathered, is the first id past the table: keep all distinct.
    distinct = jnp.where(distinct < rows, distinct, past)
    group = jnp.searchsorted(distinct, ids).astype(jnp.int32)
    return Unique(distinct, jnp.where(ids < rows, group, k))


# ---- rows ---------------------------------------------------------------------------------


def read(table: jax.Array, ids: jax.Array, *, distinct: bool = True) -> jax.Array:
    """The rows, zeros for ids past the table."""

    def gather(table: jax.Array, ids: jax.Array) -> jax.Array:
        at = lanes(table).at[ids]
        rows = at.get(
            mode="fill", fill_value=0, unique_indices=distinct, indices_are_sorted=distinct
        )
        return rows.reshape(*ids.shape, *table.shape[1:])

    return meshes.placed(gather, meshes.looked_up(ids, table), table, ids)


def lanes(rows: jax.Array) -> jax.Array:
    """The rows with their elements in eights: on CPUs XLA writes no vector code for longer ones."""
    size = math.prod(rows.shape[1:])
    return rows.reshape(rows.shape[0], size // 8, 8) if size % 8 == 0 < size else rows


def write(table: jax.Array, ids: jax.Array, rows: jax.Array) -> jax.Array:
    """The table with those rows replaced, in place where its buffer was donated."""
    return meshes.placed(_set, meshes.cut(table), table, ids, rows.astype(table.dtype))


def _set(table: jax.Array, ids: jax.Array, rows: jax.Array) -> jax.Array:
    if table.dtype != jnp.bfloat16:
        return _scatter(table, ids, rows)
    return lax.platform_dependent(table, ids, rows, cpu=_scatter_bits, default=_scatter)


def _scatter(table: jax.Array, ids: jax.Array, rows: jax.Array) -> jax.Array:
    return table.at[ids].set(rows, mode="drop", unique_indices=True, indices_are_sorted=True)


def _scatter_bits(table: jax.Array, ids: jax.Array, rows: jax.Array) -> jax.Array:
    """As `_scatter`: XLA's CPU scatter of bfloat16 would turn the table into float32 and back."""
    bits = lax.bitcast_convert_type(table, jnp.uint16)
    bits = _scatter(bits, ids, lax.bitcast_convert_type(rows, jnp.uint16))
    return lax.bitcast_convert_type(bits, table.dtype)
