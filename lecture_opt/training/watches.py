"""When the host looks at a run, and what it does then: report, evaluate, save, stop."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import checkpoints, checks, history, identity, progress, saving, sharding
from lecture_opt.training.batches import Source
from lecture_opt.training.checkpoints import Store
from lecture_opt.training.history import Snapshot
from lecture_opt.training.saving import Checkpoint
from lecture_opt.training.steps import Steps

_LONGEST_CHUNK = 100
_SHORTEST_CHUNK = 10


class Watch(NamedTuple):
    """The arguments of `fit` that are not part of a step, and what is added to them."""

    steps: int | None
    epochs: int | None
    start: int
    chunk: int | None
    eval_fn: Callable[[PyTree], Any] | None
    eval_every: int | None
    until: Callable[[Any], bool] | None
    patience: int | None
    callback: Callable[[int, PyTree, np.ndarray], None] | None
    progress: bool
    checkpoint: str | os.PathLike[str] | Checkpoint | None
    end: float = math.inf
    """The last step, infinite where a stream's epochs end the run."""
    last_epoch: float = math.inf
    report: Callable[..., None] | None = None
    store: Store | None = None


def checked(watch: Watch, source: Source) -> Watch:
    """The watch, if its arguments are right, with its end and the length of a chunk."""
    watch = _ended(watch, source)
    progress.check_progress(watch.progress)
    checks.check_evaluation(watch.eval_fn, watch.eval_every, watch.until, watch.patience)
    if watch.patience is not None:
        checks.check_count("patience", watch.patience, 1)
        if watch.epochs is None and watch.eval_every is None:
            raise ValueError("fit: patience is given with steps, and eval_every is not")
    configured = saving.configured(watch.checkpoint, watch.eval_fn)
    if watch.chunk is not None:
        return watch._replace(
            checkpoint=configured, chunk=checks.check_count("chunk", watch.chunk, 1)
        )
    stops = [n for n in (watch.eval_every, configured and configured.every) if n]
    steps = _LONGEST_CHUNK if math.isinf(watch.end) else int(watch.end) - watch.start
    return watch._replace(checkpoint=configured, chunk=chunk_length(steps, *stops))


def _ended(watch: Watch, source: Source) -> Watch:
    """The watch with what ends the run; epochs of arrays are counted in steps."""
    if (watch.steps is None) == (watch.epochs is None):
        given = "neither is given" if watch.steps is None else "both are given"
        raise TypeError(f"fit: steps or epochs says how long to train, and {given}")
    if watch.epochs is None:
        steps = checks.check_count("steps", watch.steps, 1)
        return watch._replace(steps=steps, end=watch.start + steps)
    last = source.begun[0] + checks.check_count("epochs", watch.epochs, 1)
    if source.per_epoch is None:
        return watch._replace(last_epoch=last)
    every = watch.eval_every
    if every is None and watch.eval_fn is not None:
        every = source.per_epoch
    return watch._replace(end=last * source.per_epoch, eval_every=every)


@contextlib.contextmanager
def opened(
    watch: Watch, source: Source, begun: Snapshot, steps: Steps
) -> Iterator[tuple[Watch, Snapshot]]:
    """The watch with its bar and folder open, and the snapshot to go on from."""
    axes, eval_fn = sharding.explicit_axes(source.data), watch.eval_fn
    if eval_fn is not None:
        watch = watch._replace(eval_fn=lambda params: eval_fn(sharding.gathered(params, axes)))
    with contextlib.ExitStack() as stack:
        if watch.progress:
            total = None if math.isinf(watch.end) else int(watch.end) - watch.start
            report = stack.enter_context(progress.progress_bar(total))
            watch = watch._replace(report=report)
        if isinstance(watch.checkpoint, Checkpoint):
            facts = identity.facts(source, begun, steps.traced, steps.metrics)
            store = stack.enter_context(checkpoints.opened(watch.checkpoint, facts))
            watch = watch._replace(store=store)
            end = watch.end, watch.last_epoch
            begun = checkpoints.restore(store, end, begun, watch.eval_fn)
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


def look(watch: Watch, now: Snapshot) -> tuple[Snapshot, bool]:
    """Report, evaluate and save after a chunk; whether the evaluation ends the run."""
    losses, store, ended = now.history.losses[-1], watch.store, False
    if watch.report is not None:
        metrics = history.latest(now.history, watch.start, now.step)
        watch.report(now.step - watch.start, losses[-1], metrics)
    if watch.callback is not None:
        watch.callback(now.step, own(_params(now)), losses)
    if watch.eval_fn is not None and _evaluates(watch, now):
        value = jax.tree.map(np.array, watch.eval_fn(_params(now)))
        now.history.evaluations.append((now.step, value))
        if watch.patience is not None and history.stalled(now.history) == 0:
            now = now._replace(best=own(_params(now)))
        ended = reached(watch, now)
    if store is not None and (ended or _due(watch, now, store.checkpoint.every)):
        params, opt_state = own((now.params, now.opt_state))
        checkpoints.save(store, now._replace(params=params, opt_state=opt_state))
    return now, ended


def reached(watch: Watch, now: Snapshot) -> bool:
    """Whether the evaluation of this step, if there is one, ends the run."""
    at, value = now.history.evaluations[-1] if now.history.evaluations else (None, None)
    if at != now.step:
        return False
    if watch.patience is not None and history.stalled(now.history) >= watch.patience:
        return True
    return watch.until is not None and bool(watch.until(value))


def over(watch: Watch, now: Snapshot) -> bool:
    """Whether the run has done its steps or its epochs."""
    return now.step >= watch.end or now.place[0] >= watch.last_epoch


def next_stop(watch: Watch, step: int) -> int:
    """The step at which the chunk that starts here ends."""
    saves = watch.store and watch.store.checkpoint.every
    looks = [step - step % every + every for every in (watch.eval_every, saves) if every]
    return int(min(step + (watch.chunk or 1), watch.end, *looks))


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


def _evaluates(watch: Watch, now: Snapshot) -> bool:
    """Whether this step is evaluated: with epochs, by default the last of each."""
    by_epoch = watch.epochs is not None and watch.eval_every is None
    return _due(watch, now, watch.eval_every) or (by_epoch and now.place[1] == 0)


def _due(watch: Watch, now: Snapshot, every: int | None) -> bool:
    return over(watch, now) or (every is not None and now.step % every == 0)
