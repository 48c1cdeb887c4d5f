"""Any optimizer on rows: it sees the touched rows and their state, and nothing else of a table."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lecture_opt.numerics import PyTree
from lecture_opt.rows import _tables
from lecture_opt.rows._grads import RowGrads, is_rows, is_whole


def lazy(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The optimizer for grads with `RowGrads`: rows that a step does not touch stay as they are.

    The rows and their state are gathered, the optimizer steps on them and on the dense leaves as
    on any params, and the state is written back. Its state is the optimizer's own, and the updates
    of tables are `RowGrads` for `rows.apply_updates`.

    Rules that do nothing where the gradient is zero (SGD, AdaGrad) take the dense path itself.
    The others are lazy as torch's SparseAdam is: moments of a row neither decay nor move it in
    the steps that do not touch it. Each element must depend on itself alone, so a rule must not
    take norms of leaves.

    Args:
        optimizer: Of this library or optax, whose state mirrors the params or does not know them.

    >>> import jax.numpy as jnp, lecture_opt as lo
    >>> optimizer = lazy(lo.adagrad(0.5))
    >>> params = {"words": jnp.zeros((9, 1))}
    >>> grads = {"words": RowGrads(jnp.array([4]), jnp.array([[2.0]]))}
    >>> updates, state = optimizer.update(grads, optimizer.init(params), params)
    >>> updates["words"].values.round(4), state.accumulator["words"][4]
    (Array([[-0.5]], dtype=float32), Array([4.], dtype=float32))
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(
        grads: PyTree, state: PyTree, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        values, rows = split(grads)
        row_state = gather_state(optimizer, state, rows)
        row_params = None if params is None else jax.tree.map(_rows_of, rows, params)
        updates, row_state = inner.update(values, row_state, row_params, **extra_args)
        state = scatter_state(optimizer, state, row_state, rows)
        return join(updates, rows), state

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


class Rows:
    """The ids of a table's touched rows, None for a dense leaf. Trees take it as a leaf."""

    def __init__(self, ids: jax.Array | None) -> None:
        self.ids = ids


def split(grads: PyTree) -> tuple[PyTree, PyTree]:
    """Grads with arrays alone, and for each leaf its `Rows`."""
    check_ids(grads)
    values = jax.tree.map(lambda g: g.values if is_rows(g) else g, grads, is_leaf=is_whole)
    rows = jax.tree.map(lambda g: Rows(g.ids if is_rows(g) else None), grads, is_leaf=is_whole)
    return values, rows


def join(updates: PyTree, rows: PyTree) -> PyTree:
    """Updates with `RowGrads` again where `rows` has ids."""
    return jax.tree.map(
        lambda where, u: u if where.ids is None else RowGrads(where.ids, u), rows, updates
    )


def gather_state(optimizer: optax.GradientTransformation, state: PyTree, rows: PyTree) -> PyTree:
    """The optimizer's state for the touched rows."""
    return optax.tree_utils.tree_map_params(
        optimizer, lambda slot, where: _rows_of(where, slot), state, rows, is_leaf=_is_none
    )


def scatter_state(
    optimizer: optax.GradientTransformation, state: PyTree, row_state: PyTree, rows: PyTree
) -> PyTree:
    """The state with the touched rows' replaced and all else taken from `row_state`."""
    places = optax.tree_utils.tree_map_params(
        optimizer,
        lambda slot, where: where,
        state,
        rows,
        transform_non_params=lambda _: Rows(None),
        is_leaf=_is_none,
    )

    def back(where: Rows, new: Any, old: Any) -> Any:
        return new if where.ids is None else _tables.write(old, where.ids, new)

    return jax.tree.map(back, places, row_state, state)


def _rows_of(where: Rows, leaf: Any) -> Any:
    return leaf if where.ids is None or leaf is None else _tables.read(leaf, where.ids)


def _is_none(leaf: Any) -> bool:
    return leaf is None


def check_ids(grads: PyTree) -> None:
    """Raises where a transformation before this one took the ids for gradients."""
    for path, g in jax.tree_util.tree_leaves_with_path(grads, is_leaf=is_whole):
        if is_rows(g) and not jnp.issubdtype(g.ids.dtype, jnp.integer):
            raise TypeError(
                f"rows: grads{jax.tree_util.keystr(path)} has ids of dtype {g.ids.dtype}: a "
                "transformation before this one took them for gradients; of optax's clippings "
                "and scalings only those of lecture_opt.rows know RowGrads"
            )
