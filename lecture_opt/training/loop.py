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

import contextlib
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.training import batches, checkpoints, checks, contents, sharding
from lecture_opt.training.checkpoints import Checkpoint, History, Snapshot, Store
from lecture_opt.training.progress import progress_bar
from lecture_opt.training.steps import Carry, IdsFn, LossFn, compiled, current

PyTree: TypeAlias = Any

_LONGEST_CHUNK = 100
_SHORTEST_CHUNK = 10


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


class Watch(NamedTuple):
    """When the host looks at a run, and what it does then."""

    start: int
    end: int
    chunk: int
    eval_fn: Callable[[PyTree], Any] | None
    eval_every: int | None
    until: Callable[[Any], bool] | None
    callback: Callable[[int, PyTree, np.ndarray], None] | None
    report: Callable[[int, float], None]
    store: Store | None


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
        opt_state: State to continue from, with `start_step`; by default `optimizer.init(params)`.
        start_step: Steps done before: where in the order of batches to go on.
        ids_fn: `batch -> ids`, the rows of the params' tables that a batch looks up, for an
            optimizer of `rows`: the loss gets those rows in the tables' place, as from
            `rows.gather`. What is evaluated and returned is finalized (`rows.finalize`).
        checkpoint: Folder, or `Checkpoint`, to save the run in and, where one is there, to go on
            from: a run that was killed and is started again ends as if nothing had happened.

    Raises:
        TypeError, ValueError: Before any step, naming the argument, what came and what was wanted.
    """
    steps = checks.check_count("steps", steps, 1)
    start_step = checks.check_count("start_step", start_step, 0)
    checks.check_functions(loss_fn, optimizer)
    checks.check_params(params)
    checks.check_evaluation(eval_fn, eval_every, until)
    saving = checkpoints.configured(checkpoint, eval_fn)
    source = batches.source(data, batch_size, key)
    stops = [n for n in (eval_every, saving and saving.every) if n]
    chunk = _chunk_length(steps, *stops) if chunk is None else checks.check_count("chunk", chunk, 1)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(sharding.entered(params, opt_state, source.data))
        source = source._replace(data=place(source.data), key=place(source.key))
        params = _copy(place(params))
        opt_state = _copy(place(_state(opt_state, optimizer, params)))
        evaluate = eval_fn and _on_gathered(eval_fn, source.data)
        begun, store = Snapshot(start_step, params, opt_state, History([], [])), None
        if saving is not None:
            facts = contents.facts(source, start_step)
            store = stack.enter_context(checkpoints.opened(saving, facts))
            begun = checkpoints.restore(store, start_step + steps, begun, evaluate)
        carry = Carry(begun.params, begun.opt_state, place(batches.start(source, begun.step)))
        where = sharding.placement(carry, source.data)
        program = compiled(loss_fn, optimizer, ids_fn)

        def advance(carry: Carry, length: int) -> tuple[Carry, jax.Array]:
            return program(carry, source.data, source.key, length, source.batch_size, where)

        report = stack.enter_context(progress_bar(progress, steps))
        watch = Watch(
            start_step,
            start_step + steps,
            chunk,
            evaluate,
            eval_every,
            until,
            callback,
            report,
            store,
        )
        return _run(advance, carry, begun.step, begun.history, watch)


# ---- the run ------------------------------------------------------------------------------


def _run(
    advance: Callable[[Carry, int], tuple[Carry, jax.Array]],
    carry: Carry,
    step: int,
    history: History,
    watch: Watch,
) -> FitResult:
    """Chunks of steps to the end, or to the evaluation that ends the run."""
    reached = _reached(watch, step, history)
    while step < watch.end and not reached:
        carry, losses = advance(carry, _next_stop(watch, step) - step)
        step += losses.size
        history.losses.append(np.array(losses))
        reached = _look(watch, step, carry, history)
    carry = current(carry)
    return FitResult(
        carry.params,
        carry.opt_state,
        np.concatenate(history.losses),
        history.evaluations,
        step,
        reached,
    )


def _look(watch: Watch, step: int, carry: Carry, history: History) -> bool:
    """What the host does after a chunk; whether the run has reached what was asked of it."""
    losses = history.losses[-1]
    watch.report(step - watch.start, losses[-1])
    if watch.callback is not None:
        watch.callback(step, _copy(current(carry).params), losses)
    reached = False
    if watch.eval_fn is not None and _due(watch, step, watch.eval_every):
        value = jax.tree.map(np.array, watch.eval_fn(current(carry).params))
        history.evaluations.append((step, value))
        reached = _reached(watch, step, history)
    if watch.store is not None and (reached or _due(watch, step, watch.store.checkpoint.every)):
        params, opt_state = _copy((carry.params, carry.opt_state))
        checkpoints.save(watch.store, Snapshot(step, params, opt_state, history))
    return reached


def _reached(watch: Watch, step: int, history: History) -> bool:
    """Whether the evaluation of this step, if there is one, ends the run."""
    if watch.until is None or not history.evaluations or history.evaluations[-1][0] != step:
        return False
    return bool(watch.until(history.evaluations[-1][1]))


def _due(watch: Watch, step: int, every: int | None) -> bool:
    return step == watch.end or (every is not None and step % every == 0)


def _next_stop(watch: Watch, step: int) -> int:
    """The step at which the chunk that starts here ends."""
    saves = watch.store and watch.store.checkpoint.every
    looks = [step - step % every + every for every in (watch.eval_every, saves) if every]
    return min(step + watch.chunk, watch.end, *looks)


def _chunk_length(steps: int, *stops: int) -> int:
    """The longest chunk that divides the run and its parts evenly, so that it compiles once."""
    part = min(steps, *stops, steps)
    common = math.gcd(steps, *stops)
    even = max(n for n in range(1, _LONGEST_CHUNK + 1) if common % n == 0)
    return even if even >= min(part, _SHORTEST_CHUNK) else _LONGEST_CHUNK


# ---- what the run starts from -------------------------------------------------------------


def _state(opt_state: PyTree, optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
    if opt_state is None:
        return optimizer.init(params)
    checks.check_opt_state(opt_state, optimizer, params)
    return opt_state


def _copy(tree: PyTree) -> PyTree:
    """Arrays of its own, none of weak type, for a compiled loop to take over."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf)), tree)


def _on_gathered(eval_fn: Callable[[PyTree], Any], data: PyTree) -> Callable[[PyTree], Any]:
    """The evaluation, given the parameters as a loss is."""
    axes = sharding.explicit_axes(data)
    return lambda params: eval_fn(sharding.gathered(params, axes))
