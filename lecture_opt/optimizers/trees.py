"""Trees of gradients beside the trees of a state: zeros to start from, rows of leaves, errors."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree, compute_dtype

Row: TypeAlias = tuple[Any, ...]
"""What a tree of gradients and the trees of a state have at one leaf: (g, *slots)."""
Form: TypeAlias = tuple[tuple[tuple[int, ...], jnp.dtype[Any]], ...]
"""The shapes and dtypes of a row."""


def zeros(function: str, params: PyTree, *, real: bool = False) -> PyTree:
    """Zeros shaped and sharded as the params; with `real`, real ones for complex params."""

    def leaf(p: ArrayLike, dtype: Any) -> jax.Array:
        dtype = jnp.finfo(dtype).dtype if real else dtype
        if not isinstance(p, jax.core.Tracer):
            return jnp.zeros_like(p, dtype=dtype)
        # A use of p, so that under jit too the zeros are sharded like it.
        return jnp.where(False, jnp.real(p).astype(dtype), jnp.zeros((), dtype))

    return jax.tree.map(leaf, params, state_dtypes(function, params))


def state_dtypes(function: str, params: PyTree) -> PyTree:
    """The dtype of the state for each leaf of the params; raises for other leaves than arrays."""

    def leaf(path: tuple[Any, ...], p: ArrayLike) -> Any:
        try:
            return compute_dtype(jnp.result_type(p))
        except (TypeError, ValueError):
            name = jax.tree_util.keystr(path)
            raise TypeError(
                f"{function}.init: params{name} is {p!r}; every leaf must be a numeric array"
            ) from None

    return jax.tree_util.tree_map_with_path(leaf, params)


def rows_of(function: str, grads: PyTree, slots: Sequence[PyTree]) -> tuple[list[Row], Any]:
    """The row of each leaf and the structure of the gradients, in which None is a leaf.

    Raises:
        TypeError, ValueError: The trees differ, a gradient is not inexact, or a shape is not that
            of the state.
    """
    leaves, treedef = jax.tree.flatten(grads, is_leaf=_is_none)
    try:
        columns = [treedef.flatten_up_to(slot) for slot in slots]  # type: ignore[attr-defined]  # jax has no stub for it
    except (ValueError, TypeError):
        raise ValueError(_two_trees(function, grads, slots[0])) from None
    arrays = (g if g is None or isinstance(g, jax.Array) else jnp.asarray(g) for g in leaves)
    rows = list(zip(arrays, *columns, strict=True))
    if not all(map(_fits, {_form(row) for row in rows if row[0] is not None})):
        raise _misfit(function, grads, slots)
    return rows, treedef


def alike(rows: list[Row]) -> Iterable[tuple[Form, list[int]]]:
    """The indices of rows with a gradient, by shapes and dtypes."""
    groups: dict[Form, list[int]] = {}
    for i, row in enumerate(rows):
        if row[0] is not None:
            groups.setdefault(_form(row), []).append(i)
    return groups.items()


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _form(row: Row) -> Any:
    return tuple((getattr(leaf, "shape", None), getattr(leaf, "dtype", None)) for leaf in row)


def _fits(form: Form) -> bool:
    (shape, dtype), *slots = form
    return jnp.issubdtype(dtype, jnp.inexact) and all(slot[0] == shape for slot in slots)


def _two_trees(function: str, grads: PyTree, slot: PyTree) -> str:
    return (
        f"{function}.update: grads and state differ in structure; was the state made by init for "
        f"these params?\n  grads: {jax.tree.structure(grads)}\n  state: {jax.tree.structure(slot)}"
    )


def _misfit(function: str, grads: PyTree, slots: Sequence[PyTree]) -> Exception:
    """What to raise for the first gradient that is not inexact or not shaped as its state."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(grads, is_leaf=_is_none)
    columns = [treedef.flatten_up_to(slot) for slot in slots]  # type: ignore[attr-defined]  # jax has no stub for it
    for (path, g), *old in zip(pairs, *columns, strict=True):
        if g is None or _fits(_form((jnp.asarray(g), *old))):
            continue
        name = f"grads{jax.tree_util.keystr(path)}"
        if not jnp.issubdtype(jnp.result_type(g), jnp.inexact):
            return TypeError(
                f"{function}.update: {name} has dtype {jnp.result_type(g)}; "
                "gradients are floating-point or complex"
            )
        shape = getattr(old[0], "shape", None)
        if shape is None:  # the state has a whole tree where the gradient is one array
            return ValueError(_two_trees(function, grads, slots[0]))
        return ValueError(
            f"{function}.update: {name} has shape {np.shape(g)} and its state {shape}; "
            "was the state made by init for these params?"
        )
    raise AssertionError("every gradient fits")  # pragma: no cover
