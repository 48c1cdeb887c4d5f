"""Parameters as inspection sees them: paths as one writes them, shapes of a size to probe."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGE, STEP = 128, 8  # from 128 on some rules factor a moment; below it they keep it whole


class Place(NamedTuple):
    """A leaf of the params.

    Attributes:
        path: Its keys with slashes between, as in `encoder/layer_0/kernel`.
        keys: Its keys, as JAX has them.
        shape: Its shape.
        dtype: Its dtype.
    """

    path: str
    keys: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: Any

    @property
    def floating(self) -> bool:
        """Whether it can be trained."""
        return bool(jnp.issubdtype(self.dtype, jnp.floating))


def places(params: Any) -> list[Place]:
    """The leaves of params, which may be arrays or shapes of arrays."""
    return [
        Place(path_of(keys), keys, tuple(leaf.shape), np.dtype(leaf.dtype))
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]


def path_of(keys: tuple[Any, ...]) -> str:
    """A path as one writes it."""
    return jax.tree_util.keystr(keys, simple=True, separator="/") or "(the only leaf)"


def kind_of(path: str) -> str:
    """A path with a star for each number: what leaves of one kind in different layers share."""
    return re.sub(r"\d+", "*", path)


def role_of(place: Place) -> str:
    """What a leaf is in a model: embedding, head, bias, norm, or kernel."""
    words = re.split(r"[/_.]", place.path.lower())
    last, rank = words[-1] if words else "", sum(size > 1 for size in place.shape)
    if rank < 2:
        return "norm" if last in ("scale", "gamma") or "norm" in place.path.lower() else "bias"
    if any(word.startswith(("embed", "wte", "wpe", "token")) for word in words):
        return "embedding"
    if any(word in ("head", "unembed", "logits", "classifier") for word in words):
        return "head"
    return "kernel"


def reduced(params: Any, dtype: Any, *, large: int) -> Any:
    """Shapes like those of params, small: same rank, axes in the same order of size.

    Axes of up to 8 stay. Larger ones become 9, 10, ..., and those from 128 on `large`, `large` + 8,
    ..., the larger the longer. Floating leaves get `dtype`.
    """
    leaves = jax.tree.leaves(params)
    sizes = sorted({size for leaf in leaves for size in leaf.shape if size > STEP})
    small = [size for size in sizes if size < LARGE]
    new = {size: min(size, STEP + 1 + index) for index, size in enumerate(small)}
    start = max(large, STEP + 1 + len(small))
    new |= {size: min(size, start + index) for index, size in enumerate(sizes[len(small) :])}

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        kind = dtype if floating else leaf.dtype
        return jax.ShapeDtypeStruct([new.get(size, size) for size in leaf.shape], kind)

    return jax.tree.map(shape, params)


def treated_alike(optimizer: Any, params: Any, small: Any) -> bool:
    """Whether the state for the small shapes is of the same kinds as that for the real ones."""
    real, other = (jax.eval_shape(optimizer.init, tree) for tree in (params, small))
    structures: list[Any] = [jax.tree.structure(each) for each in (real, other)]
    if structures[0] != structures[1]:
        return False
    ranks = [[len(leaf.shape) for leaf in jax.tree.leaves(each)] for each in (real, other)]
    return ranks[0] == ranks[1]


def to_probe(optimizer: Any, params: Any, dtype: Any) -> Any:
    """The smallest shapes for which the optimizer treats each leaf as it treats the real one."""
    for large in (STEP, LARGE):
        small = reduced(params, dtype, large=large)
        if treated_alike(optimizer, params, small):
            return small
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
