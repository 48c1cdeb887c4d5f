"""The order of the examples: epoch e goes through `permutation(fold_in(key, e), n)`."""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lecture_opt.training import sharding

PyTree: TypeAlias = Any


class Batches(NamedTuple):
    """Where in the shuffled epochs a run is."""

    epoch: jax.Array
    position: jax.Array
    """Batches of this epoch that were drawn."""
    order: jax.Array
    """The permutation of the examples that is this epoch's."""


def start_batches(key: Any, examples: int, batch_size: int, step: int) -> Batches:
    """The place of the batch that step number `step` takes."""
    epoch, position = divmod(step, examples // batch_size)
    epoch_index = jnp.asarray(np.uint32(epoch % 2**32))
    return Batches(
        epoch_index, jnp.asarray(np.int32(position)), _epoch_order(key, epoch_index, examples)
    )


def next_batch(
    batches: Batches,
    data: PyTree,
    key: jax.Array,
    batch_size: int,
    placement: sharding.Placement | None,
) -> tuple[PyTree, Batches]:
    """The examples of the next step, cut over devices as the data is, and the place after them."""
    examples = batches.order.size

    def next_epoch() -> Batches:
        epoch = batches.epoch + 1
        return Batches(epoch, jnp.zeros_like(batches.position), _epoch_order(key, epoch, examples))

    ended = batches.position == examples // batch_size
    batches = lax.cond(ended, next_epoch, lambda: batches)
    rows = lax.dynamic_slice_in_dim(batches.order, batches.position * batch_size, batch_size)
    leaves, treedef = jax.tree.flatten(data)
    places = [None] * len(leaves) if placement is None else placement.data
    batch = jax.tree.unflatten(
        treedef, [sharding.take(leaf, rows, at) for leaf, at in zip(leaves, places, strict=True)]
    )
    return batch, batches._replace(position=batches.position + 1)


def _epoch_order(key: jax.Array, epoch: jax.Array, examples: int) -> jax.Array:
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(examples, dtype=jnp.int32)
    )
