"""Parameters as inspection sees them: paths as one writes them, shapes of a size to probe."""

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LARGE, STEP = 128, 8  # from 128 on some rules factor a moment; below it they keep it whole
FEW = 6  # up to so many different sizes are kept far apart


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


def sharding_of(leaf: Any) -> Any:
    """The sharding of an array, or of a shape that has one; `None` on one device."""
    sharding = getattr(leaf, "sharding", None)
    several = sharding is not None and getattr(sharding, "num_devices", 1) > 1
    return sharding if several else None


VECTORS = {"bias": "bias", "beta": "bias", "b": "bias", "scale": "norm", "gamma": "norm"}
TABLES = ("embed", "wte", "wpe", "token", "tok", "pos", "codebook", "vocab", "cls")
HEADS = (
    "head",
    "heads",
    "unembed",
    "unembedding",
    "logits",
    "classifier",
    "readout",
    "decoder_out",
)


def role_of(place: Place, vocabulary: int = 0) -> str:
    """What a leaf is in a model: embedding, head, bias, norm, or kernel, by its name and rank.

    Args:
        place: The leaf.
        vocabulary: The size of the axis that tells tables, 0 for none.
    """
    path = place.path.lower()
    words = re.split(r"[/_.]", path)
    last, rank = re.split(r"[/.]", path)[-1], sum(size > 1 for size in place.shape)
    norm = bool(re.search(r"norm|(^|[/_.])(ln|bn|gn|rms)\d*([/_.]|$)", path))
    if last in VECTORS and (rank < 2 or last in ("bias", "scale")):
        return "norm" if norm else VECTORS[last]
    if rank < 2 and not (last.startswith(TABLES) and not norm):
        return "norm" if norm else "bias"
    if any(word.startswith(TABLES) for word in words):
        return "embedding"
    if any(word in HEADS for word in words):
        return "head"
    if vocabulary and vocabulary in place.shape and rank == 2:
        return "embedding" if place.shape[0] == vocabulary else "head"
    return "kernel"


def vocabulary_of(places: list[Place]) -> int:
    """The axis of tables: the longest of all, of at most two matrices; 0 where there is none."""
    matrices = [place for place in places if len(place.shape) == 2]
    sizes = sorted({size for place in matrices for size in place.shape})
    if len(sizes) < 2 or sizes[-1] < 4 * sizes[-2]:
        return 0
    return sizes[-1] if sum(sizes[-1] in place.shape for place in matrices) <= 2 else 0


def reduced(params: Any, dtype: Any, *, large: int) -> Any:
    """Shapes like those of params, small: same rank, axes in the same order of size.

    Axes of up to 8 stay. Larger ones become 9, 11, 14, ..., and those from 128 on `large` and
    more, the larger the longer. Where leaves are cut over devices, all these are multiples of what
    they are cut by. Floating leaves get `dtype`.
    """
    leaves = jax.tree.leaves(params)
    sizes = sorted({size for leaf in leaves for size in leaf.shape if size > STEP})
    unit = math.lcm(*(parts for leaf in leaves for parts in cuts(leaf)))
    new, last = {}, STEP
    for size in sizes:
        last += max(1, last // 5) if len(sizes) <= FEW else 1
        last = -(-max(last, large if size >= LARGE else 0) // unit) * unit
        new[size] = min(size, last)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        kind = dtype if floating else leaf.dtype
        axes = [new.get(size, size) for size in leaf.shape]
        return jax.ShapeDtypeStruct(axes, kind, sharding=sharding_of(leaf))

    return jax.tree.map(shape, params)


def cuts(leaf: Any) -> list[int]:
    """Into how many parts each axis of a leaf is cut."""
    sharding = sharding_of(leaf)
    if sharding is None:
        return [1]
    piece = sharding.shard_shape(tuple(leaf.shape))
    return [whole // max(part, 1) for whole, part in zip(leaf.shape, piece, strict=True)] or [1]


def treated_alike(optimizer: Any, params: Any, small: Any) -> bool:
    """Whether the state for the small shapes is of the same kinds as that for the real ones."""
    real, other = (jax.eval_shape(optimizer.init, tree) for tree in (params, small))
    structures: list[Any] = [jax.tree.structure(each) for each in (real, other)]
    if structures[0] != structures[1]:
        return False
    ranks = [[len(leaf.shape) for leaf in jax.tree.leaves(each)] for each in (real, other)]
    return ranks[0] == ranks[1]


def to_probe(optimizer: Any, params: Any, dtype: Any, *, full: bool = False) -> Any:
    """The smallest shapes for which the optimizer treats each leaf as it treats the real one."""
    for large in () if full else (STEP, LARGE):
        small = reduced(params, dtype, large=large)
        if treated_alike(optimizer, params, small):
            return small
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape,
            dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype,
            sharding=sharding_of(leaf),
        ),
        params,
    )
