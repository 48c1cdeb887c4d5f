"""Gradients with respect to the rows that were looked up."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import meshes, numerics
from lecture_opt.numerics import PyTree
from lecture_opt.rows import _state, _tables
from lecture_opt.rows._grads import RowGrads


def row_grads(ids: PyTree, values: PyTree, rows: int) -> RowGrads:
    """The gradient of a table of `rows` rows from one gradient per lookup; duplicates are summed.

    Sums are taken in float32 at least and rounded once to the dtype of the values.

    Args:
        ids: Integers of any shape, or a tree of them. -1 is padding.
        values: As the ids, each (*ids.shape, *row shape).
        rows: Of the table.

    Raises:
        TypeError, ValueError: Ids are not integers, don't fit 32 bits or, outside jit, are outside
            [-1, rows).

    >>> row_grads(jnp.array([5, 2, 5]), jnp.array([[1.0], [2.0], [3.0]]), rows=9)
    RowGrads(ids=Array([ 2,  5, 11], dtype=int32), values=Array([[2.],
           [4.],
           [0.]], dtype=float32))
    """
    return _sum(_tables.unique("row_grads", ids, rows), values, ids)


def _sum(unique: _tables.Unique, values: PyTree, ids: PyTree) -> RowGrads:
    parts, depths = jax.tree.leaves(values), [np.ndim(part) for part in jax.tree.leaves(ids)]

    def summed(group: jax.Array, *parts: jax.Array) -> jax.Array:
        flat = [v.reshape(-1, *v.shape[n:]) for v, n in zip(parts, depths, strict=True)]
        stacked = jnp.concatenate(flat)
        wide = _tables.lanes(stacked).astype(numerics.compute_dtype(stacked.dtype))
        sums = jax.ops.segment_sum(wide, group, num_segments=unique.ids.shape[0])
        return sums.astype(stacked.dtype).reshape(stacked.shape)

    cut = (None, *meshes.cut(parts[0])[depths[0] :])
    return RowGrads(unique.ids, meshes.placed(summed, cut, unique.group, *parts))


def gather(params: PyTree, ids: PyTree) -> PyTree:
    """The params with each table replaced by the rows looked up in it.

    Args:
        params: Any tree of arrays.
        ids: For each table, under the params' keys, an integer array of any shape or a tree of
            them; nothing or None for the other leaves. -1 and ids outside the table give zeros.

    Returns:
        The params' tree, with arrays (*ids.shape, *row shape), in the ids' tree, for the tables.

    >>> params = {"words": jnp.arange(6.0).reshape(3, 2), "bias": jnp.zeros(2)}
    >>> gather(params, {"words": jnp.array([2, 0])})["words"]
    Array([[4., 5.],
           [0., 1.]], dtype=float32)
    """
    leaves, treedef = jax.tree.flatten(params)
    found = _tables.spread("gather", "ids", params, ids)
    for leaf, where in zip(leaves, found, strict=True):
        if where is not None:
            _tables.flat_ids("gather", where, leaf.shape[0])
    rows = [p if w is None else _rows(p, w) for p, w in zip(leaves, found, strict=True)]
    return jax.tree.unflatten(treedef, rows)


def _rows(table: jax.Array, ids: PyTree) -> PyTree:
    length = table.shape[0]
    return jax.tree.map(
        lambda part: _tables.read(
            table, _tables.normal(jnp.asarray(numerics.native(part)), length), distinct=False
        ),
        ids,
    )


def value_and_row_grad(
    loss_fn: Callable[..., Any], ids_fn: Callable[..., PyTree], *, has_aux: bool = False
) -> Callable[..., tuple[Any, PyTree]]:
    """As `jax.value_and_grad`, with `RowGrads` for tables: no table-sized gradient is made.

    The loss is differentiated with respect to the rows that `ids_fn` names, which it is given in
    the tables' place, and duplicates are summed.

    Args:
        loss_fn: `(params, *args) -> loss`, where params are those of `gather`.
        ids_fn: `(*args) -> ids`, as `gather` takes them.
        has_aux: Whether `loss_fn` returns `(loss, aux)`.

    Returns:
        `(params, *args, opt_state=None) -> (loss, grads)`, with grads in the params' tree. Where
            the optimizer's state has an `ExactState`, rows are read as the dense path has them by
            now.

    Raises:
        TypeError, ValueError: Ids are not integers, don't fit 32 bits or, outside jit, are outside
            [-1, rows). Inside jit those outside are dropped; to see them, let the step return
            `out_of_range(params, ids_fn(batch))`.

    >>> def loss_fn(params, batch):
    ...     return jnp.sum(params["words"] ** 2)
    >>> grad_fn = value_and_row_grad(loss_fn, lambda batch: {"words": batch})
    >>> loss, grads = grad_fn({"words": jnp.ones((9, 1))}, jnp.array([4, 4]))
    >>> grads["words"].ids, grads["words"].values.ravel()
    (Array([ 4, 10], dtype=int32), Array([4., 0.], dtype=float32))
    """

    def value_and_grad(params: PyTree, *args: Any, opt_state: PyTree = None) -> tuple[Any, PyTree]:
        leaves, treedef = jax.tree.flatten(params)
        ids = _tables.spread("value_and_row_grad", "ids", params, ids_fn(*args))
        unique = [
            None if w is None else _tables.unique("value_and_row_grad", w, p.shape[0])
            for p, w in zip(leaves, ids, strict=True)
        ]
        moved = _state.movements(params, opt_state, [u and u.ids for u in unique])
        rows = list(map(_look_up, leaves, ids, unique, moved))

        def of_rows(rows: list[PyTree]) -> Any:
            return loss_fn(jax.tree.unflatten(treedef, rows), *args)

        value, grads = jax.value_and_grad(of_rows, has_aux=has_aux)(rows)
        for i, u in enumerate(unique):
            if u is not None:
                grads[i] = _sum(u, grads[i], ids[i])
        return value, jax.tree.unflatten(treedef, grads)

    return value_and_grad


def _look_up(table: jax.Array, ids: PyTree, unique: Any, moved: jax.Array | None) -> PyTree:
    """The rows in the ids' tree, as they are by now; a leaf that is not a table, as it is."""
    if ids is None:
        return table
    rows = _tables.read(table, unique.ids)
    if moved is not None:
        rows = (rows.astype(moved.dtype) + moved).astype(table.dtype)
    parts, treedef = jax.tree.flatten(ids)
    groups = jnp.split(unique.group, np.cumsum([np.size(part) for part in parts])[:-1])
    places = [
        meshes.recut(at.reshape(np.shape(part)), meshes.cut(part))
        for at, part in zip(groups, parts, strict=True)
    ]
    return jax.tree.unflatten(treedef, [_tables.read(rows, at, distinct=False) for at in places])


def out_of_range(params: PyTree, ids: PyTree) -> jax.Array:
    """How many ids are outside their table, padding apart: an int32 scalar, inside jit too.

    Inside jit those ids are dropped in silence. Let a step return this count, or take it of all
    data before `fit`, as `out_of_range(params, ids_fn(data))`.

    Args:
        params: Those with whole tables, not the rows that a loss is given.
        ids: As `gather` takes them.

    Raises:
        TypeError: Ids are not integers.

    >>> int(out_of_range({"words": jnp.ones((9, 1))}, {"words": jnp.array([4, 9, -1, -2])}))
    2
    """
    total = jnp.zeros((), jnp.int32)
    leaves = jax.tree.leaves(params)
    for leaf, where in zip(leaves, _tables.spread("out_of_range", "ids", params, ids), strict=True):
        for part in jax.tree.leaves(where):
            part = _tables.within_int32("out_of_range", part)
            outside = _tables.normal(part, leaf.shape[0]) == leaf.shape[0]
            padding = (part < 0) & (part.astype(jnp.int32) == _tables.PADDING)
            total = total + jnp.sum(outside & ~padding, dtype=jnp.int32)
    return total
