"""The order of the examples: epoch e goes through `permutation(fold_in(key, e), n)`.

Or what a stream gives, whose epochs end where it says.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lecture_opt.numerics import PyTree
from lecture_opt.training import checks, sharding, streams


class Source(NamedTuple):
    """What batches are drawn from."""

    data: PyTree
    """The examples; of a stream, its first batch."""
    examples: int
    batch_size: int | None
    """`None` where each batch is all the data."""
    key: jax.Array | None
    step: int
    """The steps done before the run."""
    begun: tuple[int, int]
    """The epoch of the run's first step, and how many batches of it were drawn before."""
    stream: streams.Stream | None = None
    feed: Iterator[streams.Fed] | None = None

    @property
    def per_epoch(self) -> int | None:
        """Steps of an epoch; `None` for a stream, which tells by its end."""
        if self.stream is not None:
            return None
        return 1 if self.batch_size is None else self.examples // self.batch_size


def source(data: PyTree, batch_size: Any, key: Any, step: int) -> Source:
    """What batches are drawn from that step on: the data on the device, a size that they allow."""
    if streams.is_stream(data):
        return _streamed(data, batch_size, key, step)
    data, examples = checks.check_data(data)
    if batch_size is None:
        return Source(data, examples, None, None, step, (step, 0))
    key = checks.check_key(key)
    size, parts = checks.check_count("batch_size", batch_size, 1), sharding.parts(data)
    if size % parts:
        raise ValueError(
            f"fit: batch_size is {size} and data is cut over {parts} devices; wanted a multiple"
        )
    if size > examples:
        raise ValueError(f"fit: batch_size is {size} and data has {examples} examples")
    return Source(data, examples, size, key, step, divmod(step, examples // size))


def _streamed(stream: streams.Stream, batch_size: Any, key: Any, step: int) -> Source:
    for name, value in (("batch_size", batch_size), ("key", key)):
        if value is not None:
            raise ValueError(
                f"fit: {name} is given and data is a function, whose batches come as they are"
            )
    begun = streams.place_of(stream, step)
    feed = streams.feed(stream, *begun)
    first = next(feed)
    batch = jax.tree.map(jnp.asarray, first.batch)
    return Source(batch, 0, None, None, step, begun, stream, itertools.chain([first], feed))


def fed(source: Source, step: int, place: tuple[int, int]) -> Iterator[streams.Fed] | None:
    """What the stream gives from that step on; `None` where there is no stream."""
    if source.stream is None or step == source.step:
        return source.feed
    return streams.feed(source.stream, *place, like=source.data)


def place_after(source: Source, step: int, last: tuple[streams.Fed, ...]) -> tuple[int, int]:
    """The epoch of the next step, and how many batches of it were drawn."""
    return (last[-1].epoch, last[-1].done) if last else divmod(step, source.per_epoch or 1)


class Place(NamedTuple):
    """Where in the shuffled epochs a run is."""

    epoch: jax.Array
    position: jax.Array
    """How many batches of this epoch were drawn."""
    order: jax.Array
    """The permutation of the examples for this epoch."""


def start(source: Source, step: int) -> Place | None:
    """The place of the batch that step number `step` takes."""
    if source.batch_size is None:
        return None
    epoch, position = divmod(step, source.examples // source.batch_size)
    epoch_index = jnp.asarray(np.uint32(epoch % 2**32))
    order = _epoch_order(source.key, epoch_index, source.examples)
    return Place(epoch_index, jnp.asarray(np.int32(position)), order)


def draw(
    place: Place | None,
    data: PyTree,
    key: Any,
    batch_size: int | None,
    shardings: tuple[jax.sharding.NamedSharding | None, ...],
) -> tuple[PyTree, Place | None]:
    """The examples of the next step, cut over devices as the data is, and the place after them."""
    if place is None or batch_size is None:
        return data, None
    examples = place.order.size

    def next_epoch() -> Place:
        epoch = place.epoch + 1
        return Place(epoch, jnp.zeros_like(place.position), _epoch_order(key, epoch, examples))

    ended = place.position == examples // batch_size
    now = lax.cond(ended, next_epoch, lambda: place)
    rows = lax.dynamic_slice_in_dim(now.order, now.position * batch_size, batch_size)
    leaves, treedef = jax.tree.flatten(data)
    batch = [sharding.take(leaf, rows, at) for leaf, at in zip(leaves, shardings, strict=True)]
    return jax.tree.unflatten(treedef, batch), now._replace(position=now.position + 1)


def _epoch_order(key: Any, epoch: jax.Array, examples: int) -> jax.Array:
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(examples, dtype=jnp.int32)
    )
