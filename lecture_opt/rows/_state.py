"""The state of the exact optimizers, and the rows that it knows to be behind."""

from collections.abc import Callable, Iterator
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
        touched: For each table an int32 count per row: the steps done when the row was current.
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
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    named, moved = dict(zip(paths, ids, strict=True)), dict.fromkeys(paths)
    for exact in exact_states(state):
        slots = Slots.of(exact)
        for i, path, rows in slots.tables(named):
            moved[path] = advance(exact, rows, slots.touched[i], slots.leaves[i])[1]
    return list(moved.values())


class Slots(NamedTuple):
    """A state's arrays by leaf of the params: the slots, and for tables the count of each row."""

    paths: list[Any]
    treedef: Any
    leaves: list[tuple[Any, ...]]
    touched: list[Any]

    @classmethod
    def of(cls, state: ExactState) -> "Slots":
        """Those of a state."""
        pairs, treedef = jax.tree_util.tree_flatten_with_path(state.touched, is_leaf=_is_none)
        columns = [treedef.flatten_up_to(field) for field in state.inner[1:]]  # type: ignore[attr-defined]  # jax has no stub
        paths, touched = [path for path, _ in pairs], [count for _, count in pairs]
        return cls(paths, treedef, list(zip(*columns, strict=True)), touched)

    def tables(self, named: dict[Any, Any]) -> Iterator[tuple[int, Any, jax.Array]]:
        """For each table of which `named` has ids by its path: its number, its path, these ids."""
        for i, (path, touched) in enumerate(zip(self.paths, self.touched, strict=True)):
            if touched is not None and named[path] is not None:
                yield i, path, named[path]

    def write(
        self, i: int, ids: jax.Array, old: tuple[Any, ...], rows: tuple[Any, ...], count: jax.Array
    ) -> None:
        """Sets leaf i to `old` with those rows replaced."""
        self.leaves[i] = tuple(map(_tables.write, old, [ids] * len(old), rows))
        # Written from what was read, so that XLA writes after it reads and need not copy.
        before = _tables.read(self.touched[i], ids)
        self.touched[i] = _tables.write(self.touched[i], ids, jnp.maximum(before, count))

    def inner(self, like: Any) -> Any:
        """The dense state with these slots, of the type and with the count of `like`."""
        columns = zip(*self.leaves, strict=True) if self.leaves else [()] * (len(like) - 1)
        return type(like)(like.count, *(self.treedef.unflatten(column) for column in columns))

    def state(self, inner: Any, missed: Partial) -> ExactState:
        """The state with these arrays; of `inner` its type and count."""
        return ExactState(self.inner(inner), self.treedef.unflatten(self.touched), missed)


def exact_states(state: PyTree) -> list[ExactState]:
    """Those anywhere in an optimizer's state."""
    return list(filter(is_exact, jax.tree.leaves(state, is_leaf=is_exact)))


def map_exact(change: Callable[..., ExactState], state: PyTree, *others: PyTree) -> PyTree:
    """An optimizer's state in which each `ExactState` is changed, given those in `others`."""

    def one(node: Any, *alike: Any) -> Any:
        return change(node, *alike) if is_exact(node) else node

    return jax.tree.map(one, state, *others, is_leaf=is_exact)


def is_exact(node: Any) -> bool:
    """Whether a part of an optimizer's state is an exact optimizer's."""
    return isinstance(node, ExactState)


def _is_none(leaf: Any) -> bool:
    return leaf is None
