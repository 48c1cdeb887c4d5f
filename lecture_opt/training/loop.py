"""Training: `fit`, one compiled loop over minibatches for any optax optimizer.

A step draws a batch, takes the loss and its gradient there, and moves the parameters:

    loss, grads = value_and_grad(loss_fn)(params, batch)
    updates, state = optimizer.update(grads, state, params)
    params = params + updates

Chunks of steps run as one `lax.scan` each, on buffers that are reused in place; between chunks
the host looks at the losses, evaluates, reports, and stops or goes on.

Data that don't lie in memory come as a function of the epoch that gives its batches:

    fit(loss_fn, params, optimizer, lambda epoch: loader(seed=epoch), epochs=3)

Epoch e goes through the n examples of arrays in the order `permutation(fold_in(key, e), n)`. The
batch of a step so depends on the key and the number of the step alone, and a run continued from
`params`, `opt_state` and `step` of its result is the uninterrupted run, bit for bit.

Example:
    >>> import jax, jax.numpy as jnp, optax
    >>> def loss_fn(w, batch):
    ...     x, y = batch
    ...     return jnp.mean((x @ w - y) ** 2)
    >>> x = jax.random.normal(jax.random.key(0), (100, 3))
    >>> data = (x, x @ jnp.array([1.0, -2.0, 3.0]))
    >>> result = fit(
    ...     loss_fn, jnp.zeros(3), optax.sgd(0.1), data,
    ...     steps=200, batch_size=10, key=jax.random.key(1),
    ... )
    >>> [round(w) for w in result.params.tolist()], len(result.losses)
    ([1, -2, 3], 200)
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, checks, nans, sharding, watches
from lecture_opt.training.history import History, Snapshot, means
from lecture_opt.training.saving import Checkpoint
from lecture_opt.training.steps import Carry, Chunk, Functions, IdsFn, LossFn, Steps, chunks
from lecture_opt.training.streams import Stream
from lecture_opt.training.watches import own


class FitResult(NamedTuple):
    """What `fit` gives; `params`, `opt_state` and `step` are what a next call continues from."""

    params: PyTree
    opt_state: PyTree
    losses: np.ndarray
    """The loss of each step, on its batch and before its update."""
    evaluations: list[tuple[int, Any]]
    """The number of steps done and the value of `eval_fn` then."""
    step: int
    """Steps done, those before `start_step` included."""
    reached: bool
    """Whether `until` or `patience` ended the run."""
    metrics: list[tuple[int, dict[str, float]]]
    """With `has_aux`, the number of steps at each epoch's end and the metrics' means over it."""
    best: PyTree
    """With `patience`, the parameters at the lowest evaluation; else None."""


def fit(
    loss_fn: LossFn,
    params: PyTree,
    optimizer: optax.GradientTransformation,
    data: PyTree | Stream,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    has_aux: bool = False,
    eval_fn: Callable[[PyTree], Any] | None = None,
    eval_every: int | None = None,
    until: Callable[[Any], bool] | None = None,
    patience: int | None = None,
    callback: Callable[[int, PyTree, np.ndarray], None] | None = None,
    progress: bool = False,
    chunk: int | None = None,
    opt_state: PyTree = None,
    start_step: int = 0,
    ids_fn: IdsFn | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> FitResult:
    """Train `params` for a number of steps or epochs; a run that diverges is not an error.

    Args:
        loss_fn: `(params, batch) -> scalar`. Like the optimizer, it's compiled once per object.
        params: Floating arrays in any pytree; they stay valid, fit works on a copy.
        optimizer: Any optax transformation; `value`, `grad` and `value_fn` go to those that ask.
        data: Pytree of arrays that share their leading axis, the examples. Or a function
            `epoch -> batches`, asked with 0, 1, ... whenever its batches end: a loader, a
            generator. They have one shape, as another would be compiled anew; a last one that is
            shorter is left out. A run that goes on from a checkpoint draws those of its epoch
            again, one with `start_step` those of all epochs up to it.
        steps: Number of steps to do; either they or `epochs` are given.
        epochs: Number of epochs to do; one that `start_step` lies in is done to its end.
        batch_size: Examples per step, drawn with `key` without replacement in epochs, each with
            an order of its own; what an epoch can't fill is dropped. None takes all, in order.
        key: Random key of the batches, needed with `batch_size`.
        has_aux: Whether `loss_fn` returns `(loss, metrics)`, a dict of scalars: means over the
            batch, which are averaged over each epoch; "denominator" among them weighs the batch.
        eval_fn: `params -> value`, called as it is (so jit it) every `eval_every` steps and after
            the last. Values come back as numpy arrays.
        eval_every: Steps between evaluations; None evaluates after each epoch if `epochs` is given,
            else after the last step only.
        until: Ends the run where true of an evaluation: `until=lambda accuracy: accuracy > 0.9`.
        patience: Ends the run after so many evaluations without a new lowest value, which is a
            number: for an accuracy, let `eval_fn` give 1 - accuracy. The result's `params` are
            the last ones, `best` those of the lowest value.
        callback: `callback(step, params, losses)` after each chunk, with a copy of the parameters
            and the chunk's losses.
        progress: Draw a progress bar on stderr, with rich: steps, loss, the metrics of the epoch.
        chunk: Steps between two callbacks; by default, up to 100. Each length compiles once.
        opt_state: State to continue from; by default `optimizer.init(params)`.
        start_step: Steps done before: where in the order of batches to go on. An optimizer with a
            state needs the `opt_state` of that step, too.
        ids_fn: `batch -> ids`, the rows of the params' tables that a batch looks up, for an
            optimizer of `rows`: the loss gets those rows in the tables' place, as from
            `rows.gather`. What is evaluated and returned is finalized (`rows.finalize`).
        checkpoint: Folder, or `Checkpoint`, to save the run in and, where one is there, to go on
            from: a run that was killed and is started again ends as if nothing had happened.

    Raises:
        TypeError, ValueError: Before any step, naming the argument, what came and what was wanted.
    """
    checks.check_loader(data)
    checks.check_untraced(params=params, data=data, key=key, opt_state=opt_state)
    checks.check_functions(loss_fn, optimizer)
    checks.check_params(params)
    source = batches.source(data, batch_size, key, checks.check_count("start_step", start_step, 0))
    watch = watches.Watch(
        steps, epochs, source.step, chunk, eval_fn, eval_every, until, patience, callback, progress,
        checkpoint,
    )  # fmt: skip
    watch = watches.checked(watch, source)
    lie = sharding.entered(data=source.data, params=params, opt_state=opt_state)
    with lie as place, watches.interruptible(watch):
        functions = Functions(loss_fn, optimizer, ids_fn, bool(has_aux))
        source = source._replace(data=place(source.data), key=place(source.key))
        run = _prepared(functions, params, opt_state, source, watch.patience, place)
        with watches.opened(watch, source, run.begun, run.steps) as (watch, begun):
            return _finished(run, begun, watch)


class _Run(NamedTuple):
    """A run before its first step."""

    begun: Snapshot
    steps: Steps
    source: batches.Source
    carry: Callable[[Snapshot], Carry]
    explain: Callable[[int, Chunk], None]
    """Says why a loss is NaN."""


def _prepared(
    functions: Functions,
    params: PyTree,
    opt_state: PyTree,
    source: batches.Source,
    patience: int | None,
    place: Callable[[PyTree], PyTree],
) -> _Run:
    """The run with its programs; it owns its arrays, which lie where they should."""
    loss_fn, optimizer, ids_fn, has_aux = functions
    given = place(params)
    params = own(given)
    state = checks.check_opt_state(opt_state, optimizer, params, source.step)
    best = None if patience is None else own(params)
    begun = Snapshot(source.step, source.begun, params, own(place(state)), History(), best)

    def carry(now: Snapshot) -> Carry:
        return Carry(now.params, now.opt_state, place(batches.start(source, now.step)))

    alone = (lambda params, batch: loss_fn(params, batch)[0]) if has_aux else loss_fn
    explain = functools.partial(nans.explain, alone, ids_fn, given, source)
    return _Run(begun, chunks(functions, source, carry(begun), place), source, carry, explain)


def _finished(run: _Run, begun: Snapshot, watch: watches.Watch) -> FitResult:
    """Chunks of steps to the end, or to the evaluation that ends the run."""
    now, carry, reached = begun, run.carry(begun), watches.reached(watch, begun)
    feed = batches.fed(run.source, begun.step, begun.place)
    while not watches.over(watch, now) and not reached:
        length = watches.next_stop(watch, now.step) - now.step
        carry, chunk = run.steps.advance(carry, length, feed)
        seen, losses = now.history, chunk.told.loss
        if np.isnan(losses).any() and not any(np.isnan(earlier).any() for earlier in seen.losses):
            run.explain(now.step, chunk)
        step = now.step + losses.size
        place = batches.place_after(run.source, step, chunk.fed)
        seen.add(chunk.told, now.step, place, run.source.per_epoch)
        now = now._replace(step=step, place=place, params=carry.params, opt_state=carry.opt_state)
        now, reached = watches.look(watch, now)
    params, opt_state = rows.finalize(now.params, now.opt_state)
    losses, metrics = np.concatenate(now.history.losses), means(now.history, watch.start, now.step)
    return FitResult(
        params, opt_state, losses, now.history.evaluations, now.step, reached, metrics, now.best
    )
