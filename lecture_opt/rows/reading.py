"""Tables as the dense path has them by now: rows that missed steps are brought up to date."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lecture_opt.numerics import PyTree, known
from lecture_opt.rows import _tables
from lecture_opt.rows._grads import RowGrads
from lecture_opt.rows._state import ExactState, Slots, advance, exact_states, map_exact, with_rates
from lecture_opt.rows.updates import add_rows

BLOCK = 65536


def _outside_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of params and state outside jit, where it calls schedules as Python."""
    compiled = jax.jit(function)

    def run(params: PyTree, state: PyTree, *args: Any) -> tuple[PyTree, PyTree]:
        if not known(params, state, args):
            return function(params, state, *args)

        tabled = map_exact(lambda s: with_rates(s, *jax.tree.leaves(s.touched)), state)
        params, new = compiled(params, tabled, *args)
        return params, map_exact(lambda new, old: new._replace(missed=old.missed), new, state)

    return run


def catch_up(params: PyTree, state: PyTree, ids: PyTree) -> tuple[PyTree, PyTree]:
    """Params and state in which the rows that the ids name are what the dense path has by now.

    `value_and_row_grad` does so itself if it is given the state; this is for rows read elsewhere.
    Every `ExactState` in the optimizer's state is brought up, also inside `optax.chain`. Other
    states are returned as they are.

    Args:
        params: The params that the optimizer steps on.
        state: Its state.
        ids: As `rows.gather` takes them.

    >>> from lecture_opt.rows import momentum
    >>> optimizer = momentum(learning_rate=1.0, momentum=0.5, tables=True)
    >>> table, state = jnp.zeros((3, 1)), optimizer.init(jnp.zeros((3, 1)))
    >>> for row in (0, 1, 2):
    ...     grads = RowGrads(jnp.array([row]), jnp.ones((1, 1)))
    ...     updates, state = optimizer.update(grads, state)
    ...     table = add_rows(table, updates)
    >>> catch_up(table, state, jnp.array([0]))[0].ravel()  # row 0 went on by 0.5 and 0.25
    Array([-1.75, -1.  , -1.  ], dtype=float32)
    """
    leaves = jax.tree.leaves(params)
    found = _tables.spread("catch_up", "ids", params, ids)
    distinct = [
        None if where is None else _tables.unique("catch_up", where, leaf.shape[0]).ids
        for leaf, where in zip(leaves, found, strict=True)
    ]
    return _bring_up(params, state, distinct)


def finalize(params: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
    """As `catch_up` for all rows of all tables: to evaluate, or to keep the params.

    Works through the tables in blocks of 65,536 rows, so that it takes little memory beside them.
    Without an `ExactState` in the state, params and state are returned as they are.
    """
    return _finalize(params, state) if exact_states(state) else (params, state)


@_outside_jit
def _finalize(params: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
    leaves = jax.tree.leaves(params)
    longest = max(leaf.shape[0] for leaf in leaves if jnp.ndim(leaf))
    block = jnp.arange(min(BLOCK, longest), dtype=jnp.int32)

    def body(i: jax.Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        return _bring_up(*carry, [block + i * BLOCK if jnp.ndim(p) else None for p in leaves])

    return lax.fori_loop(0, -(-longest // BLOCK), body, (params, state))


@_outside_jit
def _bring_up(params: PyTree, state: PyTree, ids: list[Any]) -> tuple[PyTree, PyTree]:
    """Brings up the rows with these distinct ids; a leaf that is not a table has None."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(params)
    leaves = dict(pairs)
    named = dict(zip(leaves, ids, strict=True))

    def current(exact: ExactState) -> ExactState:
        slots = Slots.of(exact)
        for i, path, rows in slots.tables(named):
            new, movement = advance(exact, rows, slots.touched[i], slots.leaves[i])
            leaves[path] = add_rows(leaves[path], RowGrads(rows, movement))
            slots.write(i, rows, slots.leaves[i], new, exact.inner.count)
        return slots.state(exact.inner, exact.missed)

    state = map_exact(current, state)
    return jax.tree.unflatten(treedef, leaves.values()), state
