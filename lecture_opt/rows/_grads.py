"""The gradient of a table: rows, and ids that no arithmetic can reach.

A transformation that knows nothing of rows maps a function over the leaves of its gradients. Ids
as integers would be scaled and counted with them, and other rows trained. So the leaf that holds
them has a dtype without arithmetic, as `jax.random.key` has: `jit`, `scan` and `vmap` carry it,
and whatever calculates with it raises an error whose text names `RowGrads`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from lecture_opt.numerics import PyTree, check_integers

ADVICE = "RowGrads, which this transformation doesn't know: use those of lecture_opt.rows"


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError(f"the ids of {ADVICE}, or put it inside rows.lazy")


_IDS = define_prng_impl(
    key_shape=(1,), seed=_refuse, split=_refuse, random_bits=_refuse, fold_in=_refuse,
    tag=f"ids of {ADVICE}",
)  # fmt: skip


class _Mark(np.ndarray):
    """A leaf without elements, which NumPy refuses by a clearer message than JAX the ids."""

    __array_ufunc__ = _refuse
    astype = conj = mean = std = var = _refuse
    real = property(_refuse)


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class RowGrads:
    """A table's gradient, or its update: zero but in some rows.

    Transformations of gradients refuse it, but for those of `lecture_opt.rows` and those inside
    `rows.lazy`: the ids are not to be scaled or counted.

    Attributes:
        ids: (k,) int32, strictly increasing. Ids at or past the table's end stand for no row.
        values: (k, *row shape), zero where the id stands for no row.
    """

    ids: jax.Array
    values: jax.Array

    def __post_init__(self) -> None:
        dtype = getattr(self.ids, "dtype", np.int32)
        if not jnp.issubdtype(dtype, jnp.integer):
            raise TypeError(f"RowGrads: ids have dtype {dtype}; wanted integers")
        check_integers("RowGrads: ids", self.ids, np.int32)

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], None]:
        """The values first, whose dtype some transformations give to their hyperparameters."""
        mark = getattr(self, "_mark", np.empty((*np.shape(self.ids), 0), np.float32).view(_Mark))
        children = {"values": self.values, "mark": mark, "ids": _hidden(self.ids)}
        return tuple((jax.tree_util.GetAttrKey(n), c) for n, c in children.items()), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any, ...]) -> "RowGrads":
        """Of children that may be anything that a tree can hold."""
        values, mark, ids = children
        made = object.__new__(cls)
        object.__setattr__(made, "ids", _shown(ids))
        object.__setattr__(made, "values", values)
        if getattr(mark, "dtype", None) != np.float32:  # no mark: a random key of each leaf, say
            object.__setattr__(made, "_mark", mark)
        return made


def _hidden(ids: Any) -> Any:
    if not isinstance(ids, jax.Array | np.ndarray) or not jnp.issubdtype(ids.dtype, jnp.integer):
        return ids
    bits = jax.lax.bitcast_convert_type(jnp.asarray(ids, jnp.int32), jnp.uint32)
    return jax.random.wrap_key_data(bits[..., None], impl=_IDS)


def _shown(leaf: Any) -> Any:
    """The ids; what else a tree holds there, as a random key of each leaf, stays what it is."""
    if not isinstance(leaf, jax.Array) or not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    if jax.random.key_impl(leaf) != _IDS:
        return leaf
    return jax.lax.bitcast_convert_type(jax.random.key_data(leaf)[..., 0], jnp.int32)


def is_rows(leaf: PyTree) -> bool:
    """Whether a leaf of grads or updates is a table's."""
    return isinstance(leaf, RowGrads)


def is_whole(leaf: PyTree) -> bool:
    """Whether a tree of grads ends here: at a table's `RowGrads`, or at a None."""
    return leaf is None or is_rows(leaf)
