"""The data every property uses: small trees, gradients, and the comparison of two trees.

The canonical tree has two leaves of one shape (so that mixing leaves up shows) and a matrix.
Everything is drawn from a seeded NumPy generator, so the same probe is the same everywhere.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any
SHAPES = {"bias": (3,), "gain": (3,), "kernel": (4, 3)}


def normal_tree(
    seed: int,
    *,
    dtype: Any = jnp.float32,
    scale: float = 1.0,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
) -> Tree:
    """The canonical tree, or one of other shapes, of normal draws of standard deviation `scale`."""
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(scale * rng.normal(size=shape), dtype) for name, shape in shapes.items()
    }


def params_tree(dtype: Any = jnp.float32) -> Tree:
    """The canonical parameters."""
    return normal_tree(1000, dtype=dtype)


def grads_trees(steps: int, seed: int = 0, *, dtype: Any = jnp.float32, scale: float = 1.0) -> Tree:
    """A list of canonical gradients, one tree per step."""
    return [normal_tree(100 * seed + step, dtype=dtype, scale=scale) for step in range(steps)]


def stack(trees: Sequence[Tree]) -> Tree:
    """Trees of one structure as one tree, along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)


def unstack(tree: Tree) -> list[Tree]:
    """The inverse of `stack`, in NumPy arrays."""
    arrays = jax.tree.map(np.asarray, tree)
    length = len(jax.tree.leaves(arrays)[0])
    return [jax.tree.map(operator.itemgetter(index), arrays) for index in range(length)]


def full_tree(value: float, like: Tree) -> Tree:
    """A tree like another one with every element equal to `value`."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.full(leaf.shape, value), leaf.dtype), like)


def float64(leaf: Any) -> Any:
    """A leaf as a NumPy array of 64 bits (complex stays complex)."""
    array = np.asarray(leaf)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def product(a: Tree, b: Tree) -> float:
    """The inner product of two trees that are alike, in 64 bits."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(sum(np.sum(float64(x) * float64(y)) for x, y in pairs))


def largest(tree: Tree) -> float:
    """The largest absolute value in a tree: NaN where it holds a NaN, 0 where it is empty."""
    sizes = [np.max(np.abs(float64(leaf)), initial=0.0) for leaf in jax.tree.leaves(tree)]
    return float(np.max(sizes, initial=0.0))


def named(tree: Tree, *alike: Tree) -> Iterator[tuple[Any, ...]]:
    """Each leaf of a tree after its name, and those in its place in trees that are alike.

    The name is the leaf's path as one writes it: `params['kernel']` without the `params`.
    """
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    for (path, leaf), *others in zip(pairs, *map(jax.tree.leaves, alike), strict=True):
        yield jax.tree_util.keystr(path) or "(the only leaf)", leaf, *others


class Difference(NamedTuple):
    """Where two trees part: the worst element of the worst leaf.

    `error` is the absolute difference over the largest magnitude of the wanted leaf.
    """

    leaf: str
    element: tuple[int, ...] = ()
    got: float = 0.0
    wanted: float = 0.0
    error: float = 0.0

    def __str__(self) -> str:
        where = f"{self.leaf}[{', '.join(map(str, self.element))}]" if self.element else self.leaf
        return f"{where} is {self.got:.9g}, wanted {self.wanted:.9g}"


def leaf_difference(name: str, got: Any, wanted: Any) -> Difference:
    """The worst element of one leaf; NaN against NaN and inf against the same inf are equal."""
    got, wanted = float64(got), float64(wanted)
    if got.shape != wanted.shape:
        return Difference(name, (), float("nan"), float("nan"), float("inf"))
    if got.size == 0:
        return Difference(name)
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where(same, 0.0, np.abs(got - wanted))
    gap = np.where(np.isnan(gap), np.inf, gap)
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = max(finite.max(initial=0.0), np.finfo(np.float32).tiny)
    worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
    error = float(gap[worst] / scale)
    element = tuple(int(index) for index in worst)
    return Difference(name, element, got[worst].item(), wanted[worst].item(), error)


def worst_difference(got: Tree, wanted: Tree) -> Difference:
    """The worst difference of two trees of one structure."""
    found = [leaf_difference(name, g, w) for name, w, g in named(wanted, got) if not is_key(w)]
    return max(found, key=lambda gap: gap.error, default=Difference("(no leaves)"))


def first_difference(
    got: Sequence[Tree], wanted: Sequence[Tree], tolerance: float
) -> tuple[int, Difference] | None:
    """The first step at which two sequences of trees part by more than a tolerance, and where."""
    for step, (a, b) in enumerate(zip(got, wanted, strict=True)):
        gap = worst_difference(a, b)
        if gap.error > tolerance:
            return step, gap
    return None


def structure(tree: Tree) -> Any:
    """The tree's structure, comparable."""
    return jax.tree.structure(tree)


def same_bits(got: Tree, wanted: Tree) -> bool:
    """Whether two trees have the same structure, dtypes and bits."""
    if structure(got) != structure(wanted):
        return False
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
    return all(leaf_bits(a) == leaf_bits(b) for a, b in pairs)


def leaf_bits(leaf: Any) -> Any:
    """A leaf as something that compares equal exactly where the bits are equal."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return leaf
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


class NotFinite(NamedTuple):
    """A leaf with a NaN or an infinity, that value, and the step at which it came."""

    leaf: str
    value: float
    step: int = 0


def first_not_finite(trees: Sequence[Tree]) -> NotFinite | None:
    """The first tree of a sequence that is not finite everywhere."""
    found = (not_finite(tree, step) for step, tree in enumerate(trees))
    return next(filter(None, found), None)


def not_finite(tree: Tree, step: int = 0) -> NotFinite | None:
    """The first leaf with a NaN or an infinity, and that value; None where all is finite."""
    for name, leaf in named(tree):
        if is_key(leaf) or not jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact):
            continue
        array = float64(leaf)
        bad = array[~np.isfinite(array)]
        if bad.size:
            return NotFinite(name, bad[0].item(), step)
    return None
