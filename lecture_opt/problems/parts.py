"""The data of a problem: three parts, or one pool of examples, which each seed splits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np

from lecture_opt.numerics import PyTree

Batch: TypeAlias = PyTree
Part: TypeAlias = PyTree | list[Batch]
Stream: TypeAlias = Callable[[int], Iterable[Batch]]

PARTS = ("train", "validation", "test")
_SPLIT = 0x5B117  # what tells the split of a seed from its minibatches


class TaskError(ValueError):
    """There is no such problem, or it makes no sense; the message says what was wanted."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Examples of one source, which every seed splits anew into train, validation and test.

    Attributes:
        examples: Arrays with one first axis.
        shares: Of the validation and of the test part; the rest is for training.
        block: How many consecutive examples stay in one part, as windows of one text should.
    """

    examples: PyTree
    shares: tuple[float, float] = (0.2, 0.2)
    block: int = 1

    def sizes(self) -> tuple[int, int, int]:
        """How many examples the parts have.

        >>> Pool(np.zeros((10, 3))).sizes()
        (6, 2, 2)
        """
        count = first_axis(self.examples) // self.block
        validation, test = (self.block * int(share * count) for share in self.shares)
        return self.block * count - validation - test, validation, test

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row numbers of the parts under a seed."""
        count = first_axis(self.examples) // self.block
        order = np.random.default_rng((_SPLIT, seed)).permutation(count)
        rows = (order[:, None] * self.block + np.arange(self.block)).ravel().astype(np.int32)
        train, validation, _ = self.sizes()
        first, second, third = np.split(rows, [train, train + validation])
        return first, second, third

    def parts(self, seed: int = 0) -> tuple[PyTree, PyTree, PyTree]:
        """The parts under a seed."""
        first, second, third = (
            jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], self.examples)
            for rows in self.rows(seed)
        )
        return first, second, third


def check_data(whose: str, data: Any) -> None:
    """Raises TaskError where the data are not three parts of examples."""
    if isinstance(data, Pool):
        _check_pool(whose, data)
        return
    if not isinstance(data, tuple) or len(data) != 3:
        raise TaskError(f"{whose}: data must be a Pool or a tuple (train, validation, test)")
    for part, which in zip(data, PARTS, strict=True):
        if callable(part) and which == "train":
            continue
        if isinstance(part, list):
            if not part:
                raise TaskError(f"{whose}: {which} is an empty list; wanted batches")
            continue
        _check_arrays(f"{whose}: {which}", part)


def _check_arrays(which: str, part: PyTree) -> None:
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(part)}
    if len(sizes) != 1 or not next(iter(sizes)) or 0 in next(iter(sizes)):
        raise TaskError(
            f"{which} must be arrays with one first axis of examples, and has {sorted(sizes)}"
        )


def _check_pool(whose: str, pool: Pool) -> None:
    _check_arrays(f"{whose}: a pool's examples", pool.examples)
    count, (validation, test) = first_axis(pool.examples), pool.shares
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise TaskError(f"{whose}: shares={pool.shares}; wanted positive ones that leave some")
    if pool.block < 1 or count % pool.block:
        raise TaskError(f"{whose}: block={pool.block}; wanted a divisor of the {count} examples")
    if 0 in pool.sizes():
        raise TaskError(f"{whose}: {count} examples are too few for parts of {pool.shares}")


def examples(part: Part | Stream) -> int | None:
    """How many examples a part of the data has; `None` where a stream doesn't say."""
    if callable(part):
        return None
    if isinstance(part, list):
        return sum(first_axis(batch) for batch in part)
    return first_axis(part)


def first_axis(batch: Batch) -> int:
    """The examples of a batch: its first axis, or one where it has no axis."""
    return next((np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if np.ndim(leaf)), 1)
