"""Training: `fit`, one compiled loop over minibatches for any optax optimizer.

A step draws a batch, takes the loss and its gradient there, and moves the parameters:

    loss, grads = value_and_grad(loss_fn)(params, batch)
    updates, state = optimizer.update(grads, state, params)
    params = params + updates

Chunks of steps run as one `lax.scan` each, on buffers that are reused in place; between chunks
the host looks at the losses, evaluates, reports, and stops or goes on.

Epoch e goes through the n examples in the order `permutation(fold_in(key, e), n)`. The batch of
a step so depends on the key and the number of the step alone, and a run continued from
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
from jax.extend import core

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, checks, nans, sharding, watches
from lecture_opt.training.checkpoints import Checkpoint, History, Snapshot
from lecture_opt.training.steps import Advance, Carry, Functions, IdsFn, LossFn, chunks
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
    """Whether `until` ended the run."""


def fit(
    loss_fn: LossFn,
    params: PyTree,
    optimizer: optax.GradientTransformation,
    data: PyTree,
    *,
    steps: int,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    eval_fn: Callable[[PyTree], Any] | None = None,
    eval_every: int | None = None,
    until: Callable[[Any], bool] | None = None,
    callback: Callable[[int, PyTree, np.ndarray], None] | None = None,
    progress: bool = False,
    chunk: int | None = None,
    opt_state: PyTree = None,
    start_step: int = 0,
    ids_fn: IdsFn | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> FitResult:
    """Train `params` for `steps` steps; a run that diverges is no error, its losses show it.

    Args:
        loss_fn: `(params, batch) -> scalar`. Like the optimizer, it's compiled once per object.
        params: Floating arrays in any pytree; they stay valid, fit works on a copy.
        optimizer: Any optax transformation; `value`, `grad` and `value_fn` go to those that ask.
        data: Pytree of arrays that share their leading axis, the examples.
        steps: Number of steps to do.
        batch_size: Examples per step, drawn with `key` without replacement in epochs, each with
            an order of its own; what an epoch can't fill is dropped. None takes all, in order.
        key: Random key of the batches, needed with `batch_size`.
        eval_fn: `params -> value`, called as it is (so jit it) every `eval_every` steps and after
            the last. Values come back as numpy arrays.
        eval_every: Steps between evaluations; None evaluates after the last step only.
        until: Ends the run where true of an evaluation: `until=lambda accuracy: accuracy > 0.9`.
        callback: `callback(step, params, losses)` after each chunk, with a copy of the parameters
            and the chunk's losses.
        progress: Draw a progress bar on stderr, with rich.
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
    checks.check_untraced(params=params, data=data, key=key, opt_state=opt_state)
    checks.check_functions(loss_fn, optimizer)
    checks.check_params(params)
    watch = watches.Watch(
        steps, start_step, chunk, eval_fn, eval_every, until, callback, progress, checkpoint
    )
    watch, source = watches.checked(watch), batches.source(data, batch_size, key)
    lie = sharding.entered(data=source.data, params=params, opt_state=opt_state)
    with lie as place, watches.interruptible(watch):
        functions = Functions(loss_fn, optimizer, ids_fn)
        source = source._replace(data=place(source.data), key=place(source.key))
        run = _prepared(functions, place(params), opt_state, source, watch.start, place)
        with watches.opened(watch, source, run.begun, run.step) as (watch, begun):
            return _finished(run, begun, watch)


class _Run(NamedTuple):
    """A run before its first step."""

    begun: Snapshot
    advance: Advance
    step: core.ClosedJaxpr
    """One step, traced."""
    carry: Callable[[Snapshot], Carry]
    explain: Callable[..., None]
    """Says why the loss of a step is NaN."""


def _prepared(
    functions: Functions,
    params: PyTree,
    opt_state: PyTree,
    source: batches.Source,
    start: int,
    place: Callable[[PyTree], PyTree],
) -> _Run:
    """The run with its programs; it owns its arrays, which lie where they should."""
    given, params = params, own(params)
    opt_state = own(place(checks.check_opt_state(opt_state, functions.optimizer, params, start)))
    begun = Snapshot(start, params, opt_state, History([], []))

    def carry(now: Snapshot) -> Carry:
        return Carry(now.params, now.opt_state, place(batches.start(source, now.step)))

    advance, step = chunks(functions, source, carry(begun))
    explain = functools.partial(nans.explain, functions.loss_fn, functions.ids_fn, given, source)
    return _Run(begun, advance, step, carry, explain)


def _finished(run: _Run, begun: Snapshot, watch: watches.Watch) -> FitResult:
    """Chunks of steps to the end, or to the evaluation that ends the run."""
    now, carry, reached = begun, run.carry(begun), watches.reached(watch, begun)
    while now.step < watch.end and not reached:
        carry, losses = run.advance(carry, watches.next_stop(watch, now.step) - now.step)
        if np.isnan(losses).any() and not any(np.isnan(seen).any() for seen in now.history.losses):
            at = now.step + int(np.isnan(losses).argmax())
            run.explain(at, first=at == watch.start)
        now.history.losses.append(losses)
        now = Snapshot(now.step + losses.size, carry.params, carry.opt_state, now.history)
        reached = watches.look(watch, now)
    params, opt_state = rows.finalize(now.params, now.opt_state)
    seen = np.concatenate(now.history.losses), now.history.evaluations
    return FitResult(params, opt_state, *seen, now.step, reached)
