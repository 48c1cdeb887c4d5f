"""The penalty of the lecture's logistic regression."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path
from jax.typing import ArrayLike

from lecture_opt.losses._inputs import array, real
from lecture_opt.numerics import compute_dtype


def l2_penalty(
    params: Any, weight: ArrayLike = 0.01, select: Callable[[str], bool] | None = None
) -> jax.Array:
    """`weight * sum(w ** 2)` over the leaves of `params`, as the slide adds it.

    Minus the log-density of independent Normal priors of variance 1 / (2 weight), up to a constant.
    Its gradient, 2 weight w, is `optax.add_decayed_weights(2 * weight)`.

    Args:
        params: A tree of floating or complex arrays.
        weight: How much the penalty counts.
        select: Whether the leaf of this path, "0/kernel" for example, counts; all do if None.

    Raises:
        ValueError: When `select` selects nothing.
        TypeError: For a selected leaf of integers.

    Source: the lecture's slide "Clasificación binaria".

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array(7.0)}
        >>> l2_penalty(params, 0.01, select=lambda path: "bias" not in path).item()
        0.25
    """
    leaves = [
        (keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in tree_leaves_with_path(params)
    ]
    selected = [
        (path, array("l2_penalty", f"params at {path!r}", leaf))
        for path, leaf in leaves
        if select is None or select(path)
    ]
    if leaves and not selected:
        raise ValueError(
            f"l2_penalty: select chooses no leaf; there are {[path for path, _ in leaves]}"
        )
    for path, w in selected:
        if not jnp.issubdtype(w.dtype, jnp.inexact):
            raise TypeError(f"l2_penalty: params at {path!r} has dtype {w.dtype}; wanted floating")
    factor = real("l2_penalty", "weight", weight)
    if factor.shape != ():
        raise ValueError(f"l2_penalty: weight has shape {factor.shape}; wanted a scalar")
    return _weighted_sum_of_squares([w for _, w in selected], factor)


@jax.jit
def _weighted_sum_of_squares(leaves: list[jax.Array], weight: jax.Array) -> jax.Array:
    """The penalty in the dtype of the leaves, or in their widest dtype where they differ."""
    dtypes = {jnp.finfo(w.dtype).dtype for w in leaves} or {jnp.dtype(jnp.float32)}
    working = compute_dtype(*dtypes)
    parts = [part for w in leaves for part in ((w.real, w.imag) if jnp.iscomplexobj(w) else (w,))]
    squares = [jnp.sum(part.astype(working) ** 2) for part in parts]
    total = weight.astype(working) * sum(squares, jnp.zeros((), working))
    return total.astype(dtypes.pop() if len(dtypes) == 1 else working)
