"""One run of an entrant as pure functions, of which the engine makes programs of many runs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lecture_opt.compare.runs.data import feeds_batches, of_run
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.problems import bound
from lecture_opt.problems.bound import Arrays
from lecture_opt.problems.loop import start_key, step_key
from lecture_opt.problems.parts import Batch


def begin_of(entrant: Entrant) -> Callable[..., Arrays]:
    """(scalars, setting, seed) -> arrays."""

    def begin(scalars: Any, number: Any, seed: jax.Array) -> Arrays:
        return bound.initial(entrant.start(scalars, number), entrant.layout, start_key(seed))

    return begin


def advance_of(entrant: Entrant) -> Callable[..., tuple[Arrays, jax.Array]]:
    """(scalars, setting, seed, arrays, feed, first step, train) -> arrays, mean loss."""

    def advance(
        scalars: Any, number: Any, seed: Any, arrays: Arrays, feed: Any, first: Any, train: Any
    ) -> tuple[Arrays, jax.Array]:
        run = bound.bind(entrant.loop, entrant.start(scalars, number), entrant.layout)

        def step(arrays: Arrays, given: Any) -> tuple[Arrays, jax.Array]:
            fed, count = given
            batch = fed if feeds_batches(entrant.loop) else of_run(train, fed)
            return run.step(arrays, batch, step_key(start_key(seed), count))

        stride = jax.tree.leaves(feed)[0].shape[0]
        counts = first + jnp.arange(stride)
        if stride == 1:  # outside of any loop of XLA's
            return step(arrays, (jax.tree.map(lambda leaf: leaf[0], feed), first))
        arrays, losses = jax.lax.scan(step, arrays, (feed, counts))
        return arrays, losses.mean()

    return advance


def judge_of(entrant: Entrant) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(scalars, setting, seed, arrays, rows of a pool, piece, key) -> value, weight."""

    def judge(
        scalars: Any, number: Any, seed: Any, arrays: Arrays, rows: Any, piece: Batch, key: Any
    ) -> tuple[jax.Array, jax.Array]:
        del seed
        run = bound.bind(entrant.loop, entrant.start(scalars, number), entrant.layout)
        return run.metric(arrays, of_run(piece, rows), key)

    return judge


def finite(arrays: Arrays) -> jax.Array:
    """Which arrays are finite, by one sum each: not-a-numbers and infinities survive a sum."""
    sizes = [jnp.abs(a) for a in arrays if jnp.issubdtype(a.dtype, jnp.inexact)]
    # In float16 the sum of 200,000 halves is infinite.
    sums = [jnp.sum(a, dtype=jnp.float32 if a.dtype.itemsize < 4 else a.dtype) for a in sizes]
    return jnp.stack([jnp.isfinite(one) for one in sums] or [jnp.array(True)])
