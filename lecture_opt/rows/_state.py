"""The state of the exact optimizers, and the rows that it knows to be behind."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from lecture_opt.numerics import PyTree, known
from lecture_opt.rows import _tables
from lecture_opt.rows._schedules import tabulated


class ExactState(NamedTuple):
    """A dense optimizer's state, and what it takes to bring rows up to its count.

    Attributes:
        inner: The dense state; rows of tables as they were after the step in `touched`.
        touched: For each table an int32 count a row, the steps done when it was current.
        missed: The closed form of the missed steps, with the hyperparameters.
    """

    inner: Any
    touched: PyTree
    missed: Partial


def advance(
    state: ExactState, ids: jax.Array, touched: jax.Array, slots: tuple[jax.Array, ...]
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """The slots of those rows after the steps they missed, and how far these have moved them."""
    count = state.inner.count
    # Ids past the table have missed nothing.
    start = jnp.where(ids < touched.shape[0], _tables.read(touched, ids), count)
    rows = tuple(_tables.read(s, ids) for s in slots)
    if not known(rows, start, count):
        return state.missed(rows, start, count)
    return _closed_form(with_rates(state, start).missed, rows, start, count)


def with_rates(state: ExactState, *starts: jax.Array) -> ExactState:
    """The state, outside jit with a table for its schedule; see `_schedules.tabulated`."""
    horizon = getattr(state.missed.func, "longest", 0)
    return state._replace(missed=tabulated(state.missed, [*starts], state.inner.count, horizon))


@jax.jit
def _closed_form(
    missed: Partial, slots: tuple[jax.Array, ...], start: jax.Array, stop: jax.Array
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    return missed(slots, start, stop)


def movements(params: PyTree, state: PyTree, ids: list[Any]) -> list[Any]:
    """By how much the rows with these distinct ids have moved in the steps they missed.

    One for each leaf of the params: None where `ids` has None or no `ExactState` has the leaf.
    """
    pairs, _ = jax.tree_util.tree_flatten_with_path(params)
    places = {path: i for i, (path, _) in enumerate(pairs)}
    moved: list[Any] = [None] * len(pairs)
    for exact in exact_states(state):
        named, treedef = jax.tree_util.tree_flatten_with_path(exact.touched, is_leaf=_is_none)
        slots = Slots.of(exact, treedef)
        for i, (path, touched) in enumerate(named):
            where = None if touched is None else ids[places[path]]
            if where is not None:
                moved[places[path]] = advance(exact, where, touched, slots.leaves[i])[1]
    return moved


class Slots(NamedTuple):
    """A state's arrays by leaf of the params: the slots of each, and the count a row of tables."""

    leaves: list[tuple[Any, ...]]
    touched: list[Any]

    @classmethod
    def of(cls, state: ExactState, treedef: Any) -> "Slots":
        """Those of a state whose trees have this structure."""
        columns = [treedef.flatten_up_to(field) for field in state.inner[1:]]
        return cls(
            list(zip(*columns, strict=True)) if columns else [],
            treedef.flatten_up_to(state.touched),
        )

    def write(
        self, i: int, ids: jax.Array, old: tuple[Any, ...], rows: tuple[Any, ...], count: jax.Array
    ) -> None:
        """Sets leaf i to `old` with those rows replaced."""
        self.leaves[i] = tuple(map(_tables.write, old, [ids] * len(old), rows))
        # Written from what was read, so that XLA writes after it reads and need not copy.
        before = _tables.read(self.touched[i], ids)
        self.touched[i] = _tables.write(self.touched[i], ids, jnp.maximum(before, count))


def with_slots(inner: Any, treedef: Any, leaves: list[tuple[Any, ...]]) -> Any:
    """The dense state with these arrays."""
    columns = zip(*leaves, strict=True) if leaves else [()] * (len(inner) - 1)
    return type(inner)(inner.count, *(jax.tree.unflatten(treedef, column) for column in columns))


def exact_states(state: PyTree) -> list[ExactState]:
    """Those anywhere in an optimizer's state."""
    leaves = jax.tree.leaves(state, is_leaf=lambda s: isinstance(s, ExactState))
    return [leaf for leaf in leaves if isinstance(leaf, ExactState)]


def _is_none(leaf: Any) -> bool:
    return leaf is None
