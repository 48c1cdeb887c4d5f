"""The order of the examples: epoch e goes through `permutation(fold_in(key, e), n)`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lecture_opt.numerics import PyTree
from lecture_opt.training import checks, sharding


class Source(NamedTuple):
    """What batches are drawn from."""

    data: PyTree
    examples: int
    batch_size: int | None
    """`None` where each batch is all the data."""
    key: jax.Array | None


def source(data: PyTree, batch_size: Any, key: Any) -> Source:
    """What batches are drawn from: the data on the device, and a size that it and they allow."""
    data, examples = checks.check_data(data)
    if batch_size is None:
        return Source(data, examples, None, None)
    key = checks.check_key(key)
    size, parts = checks.check_count("batch_size", batch_size, 1), sharding.parts(data)
    if size % parts:
        raise ValueError(
            f"fit: batch_size is {size} and data is cut over {parts} devices; wanted a multiple"
        )
    if size > examples:
        raise ValueError(f"fit: batch_size is {size} and data has {examples} examples")
    return Source(data, examples, size, key)


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
