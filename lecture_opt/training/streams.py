"""Batches that a function of the caller's gives, epoch by epoch, fed from the host.

Asked with the number of the epoch, it gives the batches of that epoch, as a loop of one's own would
go through them. A batch that is shorter than the others ends its epoch and is left out.

>>> import numpy as np
>>> def stream(epoch):
...     return (np.full(size, epoch) for size in (2, 2, 1))
>>> [(fed.batch.tolist(), fed.epoch, fed.done) for _, fed in zip(range(3), feed(stream))]
[([0, 0], 0, 1), ([0, 0], 1, 0), ([1, 1], 1, 1)]
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax

from lecture_opt.numerics import PyTree
from lecture_opt.training import checks

Stream: TypeAlias = Callable[[int], Iterable[PyTree]]


class Fed(NamedTuple):
    """A batch, and the place after it: an epoch, and how many batches of it were drawn."""

    batch: PyTree
    epoch: int
    done: int


def is_stream(data: Any) -> bool:
    """Whether the data are a function of the epoch rather than arrays."""
    return callable(data) and jax.tree_util.all_leaves([data])


def feed(stream: Stream, epoch: int = 0, done: int = 0, like: PyTree = None) -> Iterator[Fed]:
    """The batches from that place on, without end; each is drawn before the one before is used.

    Args:
        stream: Asked with the number of each epoch.
        epoch: Where to begin.
        done: How many batches of that epoch to pass over.
        like: A batch of the shape that all must have; by default the first.

    Raises:
        TypeError, ValueError: A batch has another shape, and is not a shorter last one.
    """
    while True:
        whole = drawn = 0
        held: PyTree = None
        for drawn, batch, last in _looking_ahead(_asked(stream, epoch)):
            if drawn > done:
                batch = checks.arrays("data", batch)
                like = batch if like is None else like
                if not _fits(batch, like, drawn, epoch, last):
                    break
                if whole:
                    yield Fed(held, epoch, whole)
                held, whole = batch, drawn
        if whole:
            yield Fed(held, epoch + 1, 0)
        elif not done or not drawn:
            raise ValueError(f"fit: data({epoch}) gives no batch; wanted at least one")
        epoch, done = epoch + 1, 0


def place_of(stream: Stream, step: int) -> tuple[int, int]:
    """The epoch of that step and the batches of it done before, found by drawing all before."""
    fed = next(itertools.islice(feed(stream), step - 1, None)) if step else Fed(None, 0, 0)
    return fed.epoch, fed.done


def _asked(stream: Stream, epoch: int) -> Iterator[PyTree]:
    batches = stream(epoch)
    try:
        return iter(batches)
    except TypeError:
        raise TypeError(
            f"fit: data({epoch}) gives a {type(batches).__name__}; wanted batches, as a list or a "
            "generator of them"
        ) from None


def _looking_ahead(batches: Iterator[PyTree]) -> Iterator[tuple[int, PyTree, bool]]:
    """Each batch with its number from 1 on, and whether it is the last."""
    ahead = itertools.chain(((False, batch) for batch in batches), [(True, None)])
    for number, ((_, batch), (last, _)) in enumerate(itertools.pairwise(ahead), start=1):
        yield number, batch, last


def _fits(batch: PyTree, like: PyTree, number: int, epoch: int, last: bool) -> bool:
    """Whether the batch has the shape of `like`; not where it is a shorter last one."""
    there, here = _form(like), _form(batch)
    if there == here:
        return True
    if last and there[0] == here[0]:
        pairs = zip(there[1:], here[1:], strict=True)
        if all(a == b or _is_shorter(b, a) for a, b in pairs):
            return False
    raise ValueError(
        f"fit: batch {number} of data({epoch}) is {_shown(batch)} and the first was "
        f"{_shown(like)}; wanted batches of one shape and dtype (only the last of an epoch may be "
        "shorter, and is left out)"
    )


def _shown(batch: PyTree) -> Any:
    def one(leaf: Any) -> str:
        return f"{jax.dtypes.canonicalize_dtype(leaf.dtype)}{list(leaf.shape)}"

    return jax.tree.map(one, batch)


def _is_shorter(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    (shape, dtype), (whole, like) = one, other
    return shape[:1] < whole[:1] and (shape[1:], dtype) == (whole[1:], like)


def _form(batch: PyTree) -> list[Any]:
    """The tree, then the shape and dtype of each leaf."""
    leaves, tree = jax.tree.flatten(batch)
    return [tree, *((x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in leaves)]
