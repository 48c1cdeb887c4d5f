"""Why a loss is NaN: labels that the loss refuses outside jit, or a NaN before any step."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, contents, sharding
from lecture_opt.training.steps import Chunk


def explain(
    loss_fn: Any, ids_fn: Any, params: PyTree, source: batches.Source, step: int, chunk: Chunk
) -> None:
    """Ask the loss outside jit for the batch of the first step whose loss was NaN.

    Args:
        loss_fn: `(params, batch)`, without metrics.
        params: Those before the run.
        step: The steps done before the chunk.
        chunk: Its losses, in which there is a NaN.

    Raises:
        ValueError: What the loss says of its batch: a label that is out of range, say.
    """
    if jax.process_count() > 1:
        return  # a process has only its part of the batch
    at = int(np.isnan(chunk.told.loss).argmax())
    batch = _batch(source, step, at, chunk)
    if batch is None:
        return
    known = sharding.gathered(params, sharding.explicit_axes(source.data))
    try:
        loss = loss_fn(known if ids_fn is None else rows.gather(known, ids_fn(batch)), batch)
    except ValueError as error:
        raise ValueError(f"fit: the loss of step {step + at} is NaN, as {error}") from error
    if step + at == source.step and bool(jnp.isnan(loss)):
        named = contents.named(params=params, batch=batch)
        wrong = (f"{name} holds NaN" for name, leaf in named.items() if _holds_nan(leaf))
        cause = next(wrong, "params and batch hold no NaN")
        warnings.warn(
            f"fit: the first loss is NaN before any step: {cause}; call loss_fn(params, batch) "
            "under jax.debug_nans(True) to see where it arises",
            stacklevel=4,
        )


def _batch(source: batches.Source, step: int, at: int, chunk: Chunk) -> PyTree:
    """The batch of the step `at` of the chunk; `None` where a stream's is gone."""
    if source.stream is not None:
        behind = len(chunk.told.loss) - at
        return chunk.fed[-behind].batch if behind <= len(chunk.fed) else None
    where = tuple(sharding.placement(source.data, source.data).data)
    place = batches.start(source, step + at)
    return batches.draw(place, source.data, source.key, source.batch_size, where)[0]


def _holds_nan(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and bool(np.any(jnp.isnan(leaf)))
