"""When the host looks at a run, and what it does then: report, evaluate, save, stop."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import checkpoints, checks, identity, progress, sharding
from lecture_opt.training.batches import Source
from lecture_opt.training.checkpoints import Checkpoint, Snapshot, Store

_LONGEST_CHUNK = 100
_SHORTEST_CHUNK = 10


class Watch(NamedTuple):
    """The arguments of `fit` that are not part of a step, and what `opened` adds to them."""

    steps: int
    start: int
    chunk: int | None
    eval_fn: Callable[[PyTree], Any] | None
    eval_every: int | None
    until: Callable[[Any], bool] | None
    callback: Callable[[int, PyTree, np.ndarray], None] | None
    progress: bool
    checkpoint: str | os.PathLike[str] | Checkpoint | None
    report: Callable[[int, float], None] | None = None
    store: Store | None = None

    @property
    def end(self) -> int:
        """The last step."""
        return self.start + self.steps


def checked(watch: Watch) -> Watch:
    """The watch, if its arguments are right, with the length of a chunk."""
    watch = watch._replace(
        steps=checks.check_count("steps", watch.steps, 1),
        start=checks.check_count("start_step", watch.start, 0),
    )
    progress.check_progress(watch.progress)
    checks.check_evaluation(watch.eval_fn, watch.eval_every, watch.until)
    saving = checkpoints.configured(watch.checkpoint, watch.eval_fn)
    stops = [n for n in (watch.eval_every, saving and saving.every) if n]
    if watch.chunk is None:
        return watch._replace(checkpoint=saving, chunk=chunk_length(watch.steps, *stops))
    return watch._replace(checkpoint=saving, chunk=checks.check_count("chunk", watch.chunk, 1))


@contextlib.contextmanager
def opened(
    watch: Watch, source: Source, begun: Snapshot, step: core.ClosedJaxpr
) -> Iterator[tuple[Watch, Snapshot]]:
    """The watch with its bar and folder open, and the snapshot to go on from."""
    axes, eval_fn = sharding.explicit_axes(source.data), watch.eval_fn
    if eval_fn is not None:
        watch = watch._replace(eval_fn=lambda params: eval_fn(sharding.gathered(params, axes)))
    with contextlib.ExitStack() as stack:
        bar = progress.progress_bar(watch.progress, watch.steps)
        watch = watch._replace(report=stack.enter_context(bar))
        if isinstance(watch.checkpoint, Checkpoint):
            facts = identity.facts(source, watch.start, begun.params, begun.opt_state, step)
            store = stack.enter_context(checkpoints.opened(watch.checkpoint, facts))
            watch = watch._replace(store=store)
            begun = checkpoints.restore(store, watch.end, begun, watch.eval_fn)
        yield watch, begun


@contextlib.contextmanager
def interruptible(watch: Watch) -> Iterator[None]:
    """Says, where Ctrl-C ends the run, what is kept of it."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(
            "fit: interrupted; the same call goes on from the last checkpoint"
            if watch.checkpoint is not None
            else "fit: interrupted; nothing is kept; with checkpoint=FOLDER the same call goes on"
        )
        raise


def look(watch: Watch, now: Snapshot) -> bool:
    """Report, evaluate and save after a chunk; whether the evaluation ends the run."""
    losses, store, ended = now.history.losses[-1], watch.store, False
    if watch.report is not None:
        watch.report(now.step - watch.start, losses[-1])
    if watch.callback is not None:
        watch.callback(now.step, own(_params(now)), losses)
    if watch.eval_fn is not None and _due(watch, now.step, watch.eval_every):
        value = jax.tree.map(np.array, watch.eval_fn(_params(now)))
        now.history.evaluations.append((now.step, value))
        ended = reached(watch, now)
    if store is not None and (ended or _due(watch, now.step, store.checkpoint.every)):
        params, opt_state = own((now.params, now.opt_state))
        checkpoints.save(store, now._replace(params=params, opt_state=opt_state))
    return ended


def reached(watch: Watch, now: Snapshot) -> bool:
    """Whether the evaluation of this step, if there is one, ends the run."""
    at, value = now.history.evaluations[-1] if now.history.evaluations else (None, None)
    return watch.until is not None and at == now.step and bool(watch.until(value))


def next_stop(watch: Watch, step: int) -> int:
    """The step at which the chunk that starts here ends."""
    saves = watch.store and watch.store.checkpoint.every
    looks = [step - step % every + every for every in (watch.eval_every, saves) if every]
    return min(step + (watch.chunk or 1), watch.end, *looks)


def chunk_length(steps: int, *stops: int) -> int:
    """The longest chunk that divides the run and its parts evenly, so that it compiles once."""
    part = min(steps, *stops, steps)
    common = math.gcd(steps, *stops)
    even = max(n for n in range(1, _LONGEST_CHUNK + 1) if common % n == 0)
    return even if even >= min(part, _SHORTEST_CHUNK) else _LONGEST_CHUNK


def own(tree: PyTree) -> PyTree:
    """A copy of the arrays that a compiled loop may overwrite; their types are not weak."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf)), tree)


def _params(now: Snapshot) -> PyTree:
    """The parameters, where tables of `rows` have made up the steps that their rows missed."""
    return rows.finalize(now.params, now.opt_state)[0]


def _due(watch: Watch, step: int, every: int | None) -> bool:
    return step == watch.end or (every is not None and step % every == 0)
