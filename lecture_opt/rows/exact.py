"""The six optimizers on rows, equal to the dense path: missed steps are made up in closed form."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from lecture_opt import meshes, optimizers
from lecture_opt.numerics import PyTree, known
from lecture_opt.optimizers.hyperparameters import ScalarOrSchedule, hinted
from lecture_opt.rows import _missed, _tables
from lecture_opt.rows._grads import RowGrads, is_rows, is_whole
from lecture_opt.rows._schedules import Schedule
from lecture_opt.rows._state import ExactState, Slots, advance
from lecture_opt.rows.lazy import check_ids, lazy


@hinted
def sgd(learning_rate: ScalarOrSchedule = 0.01) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.sgd` on rows. A zero gradient moves nothing, so lazy is exact."""
    return lazy(optimizers.sgd(learning_rate))


@hinted
def adagrad(
    learning_rate: ScalarOrSchedule = 0.01, eps: ArrayLike = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.adagrad` on rows. A zero gradient changes nothing, so lazy is exact."""
    return lazy(optimizers.adagrad(learning_rate, eps))


@hinted
def momentum(
    learning_rate: ScalarOrSchedule = 0.01, momentum: ArrayLike = 0.9, *, tables: PyTree
) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.momentum` on rows, equal to the dense path.

    A row that was not touched for k steps has moved by v * (m + m^2 + ... + m^k), and its velocity
    is m^k * v. The rate is inside the velocity: a schedule changes nothing in that.

    Args:
        learning_rate, momentum: As in `lecture_opt.momentum`; momentum must stay the same.
        tables: Which leaves are tables, under the params' keys: `{"words": True}`; True for all.

    Raises:
        TypeError, ValueError: As `lecture_opt.momentum`. `update` raises where the gradient of a
            table is not a `RowGrads`, or that of another leaf is.
    """
    dense = optimizers.momentum(learning_rate, momentum)
    return _exact("momentum", dense, tables, _missed.of_momentum, momentum=momentum)


@hinted
def nesterov(
    learning_rate: ScalarOrSchedule = 0.01, momentum: ArrayLike = 0.9, *, tables: PyTree
) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.nesterov` on rows, equal to the dense path.

    As `rows.momentum`, with the missed movement m * v * (m + m^2 + ... + m^k).
    """
    dense = optimizers.nesterov(learning_rate, momentum)
    return _exact("nesterov", dense, tables, _missed.of_nesterov, momentum=momentum)


@hinted
def rmsprop(
    learning_rate: ScalarOrSchedule = 0.001,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-6,
    *,
    tables: PyTree,
) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.rmsprop` on rows, equal to the dense path: acc decays, nothing moves.

    Args and errors as in `rows.momentum`; the decay must stay the same.
    """
    dense = optimizers.rmsprop(learning_rate, decay, eps)
    return _exact("rmsprop", dense, tables, _missed.of_rmsprop, decay=decay)


@hinted
def adam(
    learning_rate: ScalarOrSchedule = 0.001,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    b1_decay: ArrayLike = 1 - 1e-8,
    *,
    tables: PyTree,
) -> optax.GradientTransformationExtraArgs:
    """`lecture_opt.adam` on rows, equal to the dense path.

    Missed steps decay the moments by b1^k and b2^k. Their movement is a sum with bias corrections
    and epsilon inside. However many they are, it is evaluated at 15 nodes in 32 bits (36 in 64),
    with a relative error below 1e-6 (1e-11); see `_missed.py`. A schedule is asked for the rate of
    every step; outside jit it is called as Python. A rate that is changed from outside
    (`optax.inject_hyperparams`) applies to all steps that are made up after the next update.

    Args:
        learning_rate, b1, b2, eps, b1_decay: As in `lecture_opt.adam`, with b1^2 < b2 (else missed
            movement does not die out). As tracers, b1 / sqrt(b2) is taken to be at most 0.99.
        tables: Which leaves are tables, under the params' keys: `{"words": True}`; True for all.

    Raises:
        TypeError, ValueError: As `lecture_opt.adam`, and for b1^2 >= b2. `update` raises where the
            gradient of a table is not a `RowGrads`, or that of another leaf is.
    """
    dense = optimizers.adam(learning_rate, b1, b2, eps, b1_decay)
    if known(b1, b2) and np.square(b1) >= b2:
        raise ValueError(f"adam: b1={b1} and b2={b2}; rows want b1^2 < b2")
    missed = _missed.Adam(_missed.window(b1, b2))
    decays = {"b1": b1, "b2": b2, "b1_decay": b1_decay}
    return _exact("adam", dense, tables, missed, learning_rate=learning_rate, eps=eps, **decays)


def _exact(
    name: str,
    dense: optax.GradientTransformation,
    tables: PyTree,
    missed: Callable[..., Any],
    **hyperparameters: ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    schedules = {n: Schedule(value) for n, value in hyperparameters.items() if callable(value)}

    def closed_form() -> Partial:
        # Copies: the state may be donated, and the caller's arrays are not to go with it.
        arrays = {n: jnp.array(h, float) for n, h in hyperparameters.items() if n not in schedules}
        return Partial(missed, **schedules, **arrays)

    def init(params: PyTree) -> ExactState:
        marks = _tables.spread(name, "tables", params, tables)
        leaves, treedef = jax.tree.flatten(params)
        touched = [_never(name, p) if mark else None for p, mark in zip(leaves, marks, strict=True)]
        return ExactState(dense.init(params), jax.tree.unflatten(treedef, touched), closed_form())

    def update(
        grads: PyTree, state: ExactState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, ExactState]:
        _check_tables(name, grads, state.touched)
        slots = Slots.of(state)
        leaves = slots.treedef.flatten_up_to(grads)
        rows, movements = list(slots.leaves), {}
        for i, g in enumerate(leaves):
            if is_rows(g):
                rows[i], movements[i] = advance(state, g.ids, slots.touched[i], slots.leaves[i])
        values = slots.treedef.unflatten(g.values if is_rows(g) else g for g in leaves)
        stepped, inner = dense.update(values, slots._replace(leaves=rows).inner(state.inner))
        new = Slots.of(state._replace(inner=inner))
        updates = slots.treedef.flatten_up_to(stepped)
        for i, move in movements.items():
            ids, dtype = leaves[i].ids, updates[i].dtype
            updates[i] = RowGrads(ids, (updates[i].astype(move.dtype) + move).astype(dtype))
            new.write(i, ids, slots.leaves[i], new.leaves[i], inner.count)
        return slots.treedef.unflatten(updates), new.state(inner, closed_form())

    return optax.GradientTransformationExtraArgs(init, update)


def _never(name: str, table: Any) -> jax.Array:
    if not jnp.ndim(table):
        raise ValueError(f"{name}.init: a table is a scalar; tables have a leading axis of rows")

    # Of the table's rows rather than zeros of a shape, so that it is sharded as they are.
    def zeros(table: jax.Array) -> jax.Array:
        first = table.reshape(table.shape[0], -1)[:, :1].sum(axis=1)
        return jnp.zeros_like(first, dtype=jnp.int32)

    return meshes.placed(zeros, meshes.cut(table)[:1], table)


def _check_tables(name: str, grads: PyTree, touched: PyTree) -> None:
    check_ids(grads)
    pairs, treedef = jax.tree_util.tree_flatten_with_path(grads, is_leaf=is_whole)
    counts = treedef.flatten_up_to(touched)  # type: ignore[attr-defined]  # jax has no stub
    for (path, g), count in zip(pairs, counts, strict=True):
        if g is not None and is_rows(g) != (count is not None):
            key = jax.tree_util.keystr(path)
            raise TypeError(
                f"{name}.update: grads{key} is {type(g).__name__} and the leaf is "
                + ("not a table; mark it in tables" if is_rows(g) else "a table; wanted RowGrads")
            )
