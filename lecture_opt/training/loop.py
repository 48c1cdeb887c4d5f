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

from lecture_opt.training import checkpoints, checks, sharding
from lecture_opt.training.batches import start_batches
from lecture_opt.training.checkpoints import Checkpoint, History
from lecture_opt.training.progress import progress_bar
from lecture_opt.training.steps import Carry, LossFn, compiled, current

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
    ids_fn: Callable[[PyTree], PyTree] | None = None,
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
    checkpoint = checks.check_checkpoint(checkpoint, eval_fn)
    data, examples = checks.check_data(data)
    chunk = checks.check_count("chunk", chunk, 1) if chunk is not None else None
    if batch_size is not None:
        key = checks.check_key(key)
        batch_size = checks.check_batch_size(batch_size, examples, sharding.parts(data))
    mesh = sharding.find_mesh(params, opt_state, data)
    sharding.check_explicit(mesh)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sharding.entered(mesh))
        params = _copy(sharding.place(params, mesh))
        if opt_state is None:
            opt_state = optimizer.init(params)
        else:
            checks.check_opt_state(opt_state, optimizer, params)
        # The loop overwrites its buffers, and a fresh state may share some with params.
        opt_state = _copy(sharding.place(opt_state, mesh))
        data = sharding.place(data, mesh)
        evaluate = eval_fn and _on_gathered(eval_fn, sharding.explicit_axes(data))

        step, end, history, store = start_step, start_step + steps, History([], []), None
        if checkpoint is not None:
            run = _run_facts(data, batch_size, key, start_step)
            store = stack.enter_context(checkpoints.opened(checkpoint, run))
            found = checkpoints.restore(store, end, params, opt_state, evaluate)
            if found is not None:
                step, params, opt_state, history = found
        reached = _reached(until, history, step)

        batches = None
        if batch_size is not None:
            batches = sharding.place(start_batches(key, examples, batch_size, step), mesh)
        carry = Carry(params, opt_state, batches)
        placement = sharding.placement(mesh, carry, data)
        run_chunk = compiled(loss_fn, optimizer, batch_size, placement, ids_fn)
        key = sharding.place(key, mesh)
        stops = [n for n in (eval_every, checkpoint and checkpoint.every) if n]
        chunk = chunk or _chunk_length(steps, *stops)
        report = stack.enter_context(progress_bar(progress, steps))
        saved = len(history.losses)
        while step < end and not reached:
            look = min(_next_multiple(step, every) for every in (*stops, end + 1))
            look = min(end, look)
            carry, chunk_losses = run_chunk(carry, data, key, min(chunk, look - step))
            history.losses.append(np.array(chunk_losses))
            step += history.losses[-1].size
            report(step - start_step, history.losses[-1][-1])
            if callback is not None:
                callback(step, _copy(current(carry).params), history.losses[-1])
            if evaluate is not None and (step == end or (eval_every and step % eval_every == 0)):
                value = jax.tree.map(np.array, evaluate(current(carry).params))
                history.evaluations.append((step, value))
                reached = _reached(until, history, step)
            if store is not None and (step == end or reached or step % store.checkpoint.every == 0):
                score = _score(store.checkpoint, step, history, saved)
                saved_params, saved_state = _copy((carry.params, carry.opt_state))
                checkpoints.save(store, step, saved_params, saved_state, history, score)
                saved = len(history.losses)
        carry = current(carry)
    return FitResult(
        carry.params,
        carry.opt_state,
        np.concatenate(history.losses),
        history.evaluations,
        step,
        reached,
    )


# ---- between chunks -----------------------------------------------------------------------


def _chunk_length(steps: int, *stops: int) -> int:
    """The longest chunk that divides the run and its parts evenly, so that it compiles once."""
    part = min(steps, *stops, steps)
    common = math.gcd(steps, *stops)
    even = max(n for n in range(1, _LONGEST_CHUNK + 1) if common % n == 0)
    return even if even >= min(part, _SHORTEST_CHUNK) else _LONGEST_CHUNK


def _next_multiple(step: int, every: int) -> int:
    return step - step % every + every


def _copy(tree: PyTree) -> PyTree:
    """Arrays of its own, none of weak type, for a compiled loop to take over."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf)), tree)


def _on_gathered(eval_fn: Callable[[PyTree], Any], axes: frozenset[str]) -> Callable[[PyTree], Any]:
    """The evaluation, given the parameters as a loss is."""
    return lambda params: eval_fn(sharding.gathered(params, axes))


def _reached(until: Callable[[Any], bool] | None, history: History, step: int) -> bool:
    """Whether the evaluation of this step, if there is one, ends the run."""
    if until is None or not history.evaluations or history.evaluations[-1][0] != step:
        return False
    return bool(until(history.evaluations[-1][1]))


def _score(checkpoint: Checkpoint, step: int, history: History, saved: int) -> float:
    """What a checkpoint's best is the lowest of; NaN does not compete."""
    if checkpoint.best is None:
        return float(np.mean(np.concatenate(history.losses[saved:]), dtype=np.float64))
    at, value = history.evaluations[-1] if history.evaluations else (None, None)
    return float(checkpoint.best(value)) if at == step else math.nan


def _run_facts(data: PyTree, batch_size: int | None, key: Any, start_step: int) -> dict[str, Any]:
    """What decides the batches, and so must be the same where a run is gone on with."""
    leaves = jax.tree_util.tree_leaves_with_path(data)
    return {
        "start_step": start_step,
        "batch_size": batch_size,
        "key": None if batch_size is None else np.asarray(jax.random.key_data(key)).tolist(),
        "data": {
            f"data{jax.tree_util.keystr(path)}": [list(leaf.shape), str(leaf.dtype)]
            for path, leaf in leaves
        },
    }
