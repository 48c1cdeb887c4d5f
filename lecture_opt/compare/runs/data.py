"""The data of a loop as the engine feeds it: batches of each run, and parts cut into pieces."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from lecture_opt.compare.results.statistics import estimates
from lecture_opt.numerics import PyTree
from lecture_opt.problems import loop as loops
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.parts import Batch, Part, Pool, examples

PIECE = 1024
"""Examples of a part that the metric sees at once: memory does not grow with the part."""

Rows: TypeAlias = np.ndarray | jax.Array


class Piece(NamedTuple):
    """Some examples of a part, how many, and what their arrays look like.

    Of a pool, `batch` is all of it, and a run takes the rows of a part, by its number, in `place`.
    """

    batch: Batch
    size: int
    shape: Any
    place: tuple[int, slice] | None = None


class Data(NamedTuple):
    """What all optimizers of a loop share.

    Attributes:
        train: Arrays on the device, of which a batch is rows; empty where batches are fed whole.
        validation, test: Pieces.
        fed: Shapes of what is fed per step: row numbers, or a batch.
        digest: Of all of it; of a stream, the first batch.
    """

    train: PyTree
    validation: Sequence[Piece]
    test: Sequence[Piece]
    fed: PyTree
    digest: str


def prepare(loop: Loop) -> Data:
    """Puts the parts on the device and cuts them into pieces."""
    if isinstance(loop.data, Pool):
        return _pooled(loop, loop.data)
    given, validation, test = loop.data
    if feeds_batches(loop):
        first = loops.sample_batch(loop)
        fed, train = jax.eval_shape(lambda batch: batch, first), ()
        hashed = (first if callable(given) else given, validation, test)
    else:
        fed, train = jax.ShapeDtypeStruct((loop.batch_size,), np.int32), jax.device_put(given)
        hashed = (given, validation, test)
    return Data(train, pieces(validation), pieces(test), fed, _digest(hashed))


def _pooled(loop: Loop, pool: Pool) -> Data:
    whole, (_, *sizes) = jax.device_put(pool.examples), pool.sizes()
    validation, test = (
        [
            Piece(whole, min(PIECE, size - a), min(PIECE, size - a), (part, slice(a, a + PIECE)))
            for a in range(0, size, PIECE)
        ]
        for part, size in enumerate(sizes, start=1)
    )
    fed = jax.ShapeDtypeStruct((loop.batch_size,), np.int32)
    digest = _digest((pool.examples, np.array(pool.shares), np.array(pool.block)))
    return Data(whole, validation, test, fed, digest)


def picked(loop: Loop, cut: Sequence[Piece], seeds: Sequence[int]) -> list[np.ndarray | None]:
    """(runs, size) rows of the pool that each piece has, by seed; `None` where there is no pool."""
    if not isinstance(loop.data, Pool):
        return [None] * len(cut)
    rows = {seed: loop.data.rows(seed) for seed in set(seeds)}
    places = [piece.place for piece in cut if piece.place is not None]
    return [np.stack([rows[seed][part][where] for seed in seeds]) for part, where in places]


def of_run(batch: Batch, rows: Rows | None) -> Batch:
    """What a run sees: its rows of a pool, or the whole batch where there is no pool."""
    return batch if rows is None else jax.tree.map(lambda leaf: leaf[rows], batch)


def taken(loop: Loop, test: Sequence[np.ndarray], curves: np.ndarray) -> np.ndarray:
    """(runs,) the test metric at the best evaluation of each run, if all were tested, or the last.

    `test` holds (runs,) arrays, and `curves` is (runs, evaluations) of the validation metric.
    """
    if len(test) < curves.shape[1]:
        return test[-1]
    values = np.stack(test, axis=1)
    return estimates.taken(values, curves, "best", higher_is_better=loop.higher_is_better)


def pieces(part: Part) -> list[Piece]:
    """The part in pieces of `PIECE` examples at most; a list of batches stays as it is."""
    count = examples(part)
    assert count is not None
    if isinstance(part, list):
        cut = [(batch, examples(batch) or 1) for batch in part]
    else:
        ends = [(first, min(first + PIECE, count)) for first in range(0, count, PIECE)]
        cut = [
            (jax.tree.map(lambda leaf, a=a, b=b: np.asarray(leaf)[a:b], part), b - a)
            for a, b in ends
        ]
    return [Piece(jax.device_put(batch), size, shape_of(batch)) for batch, size in cut]


def shape_of(batch: Batch) -> Any:
    """What tells two programs over batches apart."""
    leaves, tree = jax.tree.flatten(batch)
    return tree, tuple((np.shape(leaf), np.result_type(leaf)) for leaf in leaves)


def feeds(loop: Loop, seeds: Sequence[int], strides: Iterable[int]) -> Iterator[PyTree]:
    """What each call of `advance` is fed, for so many steps: leaves of (runs, steps, ...)."""
    if feeds_batches(loop):
        streams = {seed: loops.batches(loop, seed) for seed in set(seeds)}
        for stride in strides:
            taken = {seed: list(itertools.islice(s, stride)) for seed, s in streams.items()}
            stacked = {seed: jax.tree.map(_stack, *steps) for seed, steps in taken.items()}
            yield jax.tree.map(_stack, *(stacked[seed] for seed in seeds))
    else:
        rows, first = np.stack([_rows(loop, seed) for seed in seeds]), 0
        for stride in strides:
            yield rows[:, first : first + stride]
            first += stride


def feeds_batches(loop: Loop) -> bool:
    """Whether batches come from the host rather than as rows of arrays on the device."""
    if isinstance(loop.data, Pool):
        return False
    return callable(loop.data[0]) or isinstance(loop.data[0], list)


def _rows(loop: Loop, seed: int) -> np.ndarray:
    if isinstance(loop.data, Pool):
        train = loop.data.rows(seed)[0]
        return train[_drawn(seed, len(train), loop.steps, loop.batch_size)]
    count = examples(loop.data[0])
    assert count is not None
    return _drawn(seed, count, loop.steps, loop.batch_size)


_drawn = functools.lru_cache(maxsize=64)(loops.rows)


def _stack(*leaves: Any) -> np.ndarray:
    return np.stack([np.asarray(leaf) for leaf in leaves])


def mean_over(
    cut: Sequence[Piece],
    rows: Sequence[Rows | None],
    metric: Callable[[Piece, Rows | None], tuple[Any, Any]],
) -> np.ndarray:
    """The metric over a part: the mean over pieces, by their examples or the weights they give.

    `rows` are what `picked` gave.
    """
    if len(cut) == 1:
        return np.asarray(metric(cut[0], rows[0])[0])
    pairs = [
        [np.asarray(x, np.float64) for x in metric(piece, own)]
        for piece, own in zip(cut, rows, strict=True)
    ]
    values = np.stack([value for value, _ in pairs])
    sizes = zip(pairs, cut, strict=True)
    weights = np.stack([np.where(weight > 0, weight, piece.size) for (_, weight), piece in sizes])
    return ((weights * values).sum(axis=0) / weights.sum(axis=0)).astype(np.float32)


def _digest(tree: PyTree) -> str:
    sha = hashlib.sha256()
    leaves, structure = jax.tree.flatten(tree)
    sha.update(str(structure).encode())
    for leaf in leaves:
        array = np.ascontiguousarray(leaf)
        sha.update(f"{array.shape}{array.dtype}".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()
