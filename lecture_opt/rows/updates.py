"""What is done with the gradients and updates of a mixed tree: apply, measure, clip."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from lecture_opt import numerics
from lecture_opt.numerics import PyTree
from lecture_opt.optimizers.hyperparameters import NOT_NEGATIVE, check_scalar
from lecture_opt.rows import _tables
from lecture_opt.rows._grads import RowGrads, is_rows, is_whole


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """`optax.apply_updates` for trees in which a table's update may be a `RowGrads`.

    >>> update = RowGrads(ids=jnp.array([1, 3]), values=jnp.array([[0.5], [0.0]]))
    >>> apply_updates(jnp.zeros((3, 1)), update).ravel()
    Array([0. , 0.5, 0. ], dtype=float32)
    """

    def apply(update: Any, p: Any) -> Any:
        return add_rows(p, update) if is_rows(update) else optax.apply_updates(p, update)

    return jax.tree.map(apply, updates, params, is_leaf=is_whole)


def add_rows(table: jax.Array, update: RowGrads) -> jax.Array:
    """The table with its rows moved; 16-bit rows are added in float32 and rounded once."""
    old = _tables.read(table, update.ids)
    wide = numerics.compute_dtype(table.dtype, update.values.dtype)
    return _tables.write(table, update.ids, old.astype(wide) + update.values.astype(wide))


def global_norm(grads: PyTree) -> jax.Array:
    """The Euclidean norm of all gradients, each row of a table counted once.

    >>> grads = {"w": jnp.array([3.0]), "words": RowGrads(jnp.array([2]), jnp.array([[4.0]]))}
    >>> global_norm(grads)
    Array(5., dtype=float32)
    """
    leaves = jax.tree.leaves(grads, is_leaf=is_rows)
    arrays = [jnp.asarray(leaf.values if is_rows(leaf) else leaf) for leaf in leaves]
    squares = [jnp.sum(numerics.abs_sq(a.astype(numerics.compute_dtype(a.dtype)))) for a in arrays]
    dtype = jnp.result_type(float) if not squares else max((s.dtype for s in squares), key=_bits)
    return numerics.sqrt(sum((s.astype(dtype) for s in squares), start=jnp.zeros((), dtype)))


def _bits(dtype: Any) -> int:
    return int(jnp.finfo(dtype).bits)


def clip_by_global_norm(max_norm: ArrayLike) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` for trees with `RowGrads`; their duplicates count summed.

    Args:
        max_norm: > 0; gradients of a larger `global_norm` are scaled to it.

    Raises:
        TypeError, ValueError: `max_norm` is not a real scalar, or negative.

    >>> clip = clip_by_global_norm(1.0)
    >>> grads = RowGrads(jnp.array([2]), jnp.array([[4.0]]))
    >>> clip.update(grads, clip.init(jnp.zeros((3, 1))))[0].values
    Array([[1.]], dtype=float32)
    """
    check_scalar("clip_by_global_norm", "max_norm", max_norm, NOT_NEGATIVE)

    def update(
        grads: PyTree, state: optax.EmptyState, params: PyTree = None
    ) -> tuple[PyTree, optax.EmptyState]:
        norm = global_norm(grads)
        limit = jnp.asarray(max_norm, norm.dtype)
        scale = jnp.where(norm > limit, limit / numerics.nonzero(norm), 1)

        def clip(g: Any) -> Any:
            if is_rows(g):
                return RowGrads(g.ids, clip(g.values))
            wide = numerics.compute_dtype(g.dtype)
            real = scale.astype(jnp.finfo(wide).dtype)
            return (g.astype(wide) * real.astype(wide)).astype(g.dtype)

        return jax.tree.map(clip, grads, is_leaf=is_rows), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
