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
import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lecture_opt import rows

PyTree: TypeAlias = Any
LossFn: TypeAlias = Callable[[PyTree, PyTree], jax.Array]

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

    Raises:
        TypeError, ValueError: Before any step, naming the argument, what came and what was wanted.
    """
    steps = _check_count("steps", steps, 1)
    start_step = _check_count("start_step", start_step, 0)
    _check_functions(loss_fn, optimizer)
    _check_params(params)
    data, examples = _check_data(data)
    _check_evaluation(eval_fn, eval_every, until)
    chunk = _chunk_length(steps, eval_every) if chunk is None else _check_count("chunk", chunk, 1)
    batches = None
    if batch_size is not None:
        key = _check_key(key)
        batch_size = _check_batch_size(batch_size, examples)
        batches = _start_batches(key, examples, batch_size, start_step)
    params = _copy(params)
    if opt_state is None:
        opt_state = optimizer.init(params)
    else:
        _check_opt_state(opt_state, optimizer, params)
    run_chunk = _compiled(loss_fn, optimizer, batch_size, ids_fn)
    # The loop overwrites its buffers, and a fresh state may share some with params.
    carry = _Carry(params, _copy(opt_state), batches)

    step, end, reached = start_step, start_step + steps, False
    losses, evaluations = [], []
    with _progress_bar(steps) if progress else contextlib.nullcontext(_no_report) as report:
        while step < end and not reached:
            look = min(end, _next_multiple(step, eval_every or end))
            carry, chunk_losses = run_chunk(carry, data, key, min(chunk, look - step))
            losses.append(np.array(chunk_losses))
            step += losses[-1].size
            report(step - start_step, losses[-1][-1])
            if callback is not None:
                callback(step, _copy(_current(carry).params), losses[-1])
            if eval_fn is not None and step == look:
                evaluations.append((step, jax.tree.map(np.array, eval_fn(_current(carry).params))))
                reached = until is not None and bool(until(evaluations[-1][1]))
    carry = _current(carry)
    return FitResult(
        carry.params, carry.opt_state, np.concatenate(losses), evaluations, step, reached
    )


# ---- the compiled chunk -------------------------------------------------------------------


class _Batches(NamedTuple):
    """Where in the shuffled epochs a run is."""

    epoch: jax.Array
    position: jax.Array
    """Batches of this epoch that were drawn."""
    order: jax.Array
    """The permutation of the examples that is this epoch's."""


class _Carry(NamedTuple):
    params: PyTree
    opt_state: PyTree
    batches: PyTree
    """`_Batches`, or None where each batch is all the data."""


def _current(carry: _Carry) -> _Carry:
    """The carry with the rows that the optimizer left behind brought up; others as they are."""
    params, opt_state = rows.finalize(carry.params, carry.opt_state)
    return carry._replace(params=params, opt_state=opt_state)


@functools.lru_cache(maxsize=32)
def _compiled(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    batch_size: int | None,
    ids_fn: Callable[[PyTree], PyTree] | None,
) -> Callable[[_Carry, PyTree, Any, int], tuple[_Carry, jax.Array]]:
    """The chunk of steps, compiled once per shapes and length for the same two functions."""
    update = optax.with_extra_args_support(optimizer).update

    def step(carry: _Carry, data: PyTree, key: Any) -> tuple[_Carry, jax.Array]:
        params, opt_state, batches = carry
        if batch_size is None:
            batch = data
        else:
            batch, batches = _next_batch(batches, data, key, batch_size)

        def value_fn(params: PyTree) -> jax.Array:
            return _check_loss(loss_fn(params, batch))

        if ids_fn is None:
            loss, grads = jax.value_and_grad(value_fn)(params)
        else:
            grad_fn = rows.value_and_row_grad(value_fn, lambda: ids_fn(batch))
            loss, grads = grad_fn(params, opt_state=opt_state)
        grads = jax.tree.map(jnp.conj, grads)  # a complex gradient descends by its conjugate
        updates, opt_state = update(
            grads, opt_state, params, value=loss, grad=grads, value_fn=value_fn
        )
        return _Carry(rows.apply_updates(params, updates), opt_state, batches), loss

    def run_chunk(carry: _Carry, data: PyTree, key: Any, length: int) -> tuple[_Carry, jax.Array]:
        return lax.scan(lambda carry, _: step(carry, data, key), carry, length=length)

    return jax.jit(run_chunk, static_argnums=3, donate_argnums=0)


def _start_batches(key: jax.Array, examples: int, batch_size: int, step: int) -> _Batches:
    epoch, position = divmod(step, examples // batch_size)
    epoch_index = jnp.asarray(np.uint32(epoch % 2**32))
    return _Batches(
        epoch_index, jnp.asarray(np.int32(position)), _epoch_order(key, epoch_index, examples)
    )


def _epoch_order(key: jax.Array, epoch: jax.Array, examples: int) -> jax.Array:
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(examples, dtype=jnp.int32)
    )


def _next_batch(
    batches: _Batches, data: PyTree, key: jax.Array, batch_size: int
) -> tuple[PyTree, _Batches]:
    """The examples of the next step, and the place after them."""
    examples = batches.order.size

    def next_epoch() -> _Batches:
        epoch = batches.epoch + 1
        return _Batches(epoch, jnp.zeros_like(batches.position), _epoch_order(key, epoch, examples))

    ended = batches.position == examples // batch_size
    batches = lax.cond(ended, next_epoch, lambda: batches)
    drawn = lax.dynamic_slice_in_dim(batches.order, batches.position * batch_size, batch_size)
    batch = jax.tree.map(lambda leaf: leaf.at[drawn].get(mode="promise_in_bounds"), data)
    return batch, batches._replace(position=batches.position + 1)


# ---- between chunks -----------------------------------------------------------------------


def _chunk_length(steps: int, eval_every: int | None) -> int:
    """The longest chunk that divides the run and its parts evenly, so that it compiles once."""
    part = min(steps, eval_every or steps)
    common = math.gcd(steps, eval_every or steps)
    even = max(n for n in range(1, _LONGEST_CHUNK + 1) if common % n == 0)
    return even if even >= min(part, _SHORTEST_CHUNK) else _LONGEST_CHUNK


def _next_multiple(step: int, every: int) -> int:
    return step - step % every + every


def _copy(tree: PyTree) -> PyTree:
    """Arrays of its own, none of weak type, for a compiled loop to take over."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf)), tree)


def _no_report(done: int, loss: float) -> None:
    """Stands in for the progress bar."""


@contextlib.contextmanager
def _progress_bar(steps: int) -> Iterator[Callable[[int, float], None]]:
    try:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError as error:
        raise ImportError(
            "fit: progress=True needs rich: pip install 'lecture_opt[judge]'"
        ) from error
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, "loss {task.fields[loss]:.4g}", console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=steps, loss=math.nan)
        yield lambda done, loss: bar.update(task, completed=done, loss=float(loss))


# ---- checks -------------------------------------------------------------------------------


def _check_count(name: str, value: Any, least: int) -> int:
    try:
        count: int = operator.index(value)
    except TypeError:
        raise TypeError(f"fit: {name} is {value!r}; wanted an integer") from None
    if count < least:
        raise ValueError(f"fit: {name} is {count}; wanted at least {least}")
    return count


def _check_functions(loss_fn: Any, optimizer: Any) -> None:
    if not callable(loss_fn):
        raise TypeError(f"fit: loss_fn is {loss_fn!r}; wanted a function (params, batch) -> loss")
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(
            f"fit: optimizer is {optimizer!r}; wanted an optax.GradientTransformation, "
            "that is an object with init and update"
        )
    for name, value in (("loss_fn", loss_fn), ("optimizer", optimizer)):
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"fit: {name} is a {type(value).__name__}, which can't be hashed and so not be "
                "kept with its compiled loop; wrap it in a function"
            ) from None


def _check_params(params: PyTree) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError(f"fit: params is {params!r}, without an array; there is nothing to train")
    for path, leaf in leaves:
        try:
            dtype = jnp.result_type(leaf)
        except TypeError:
            dtype = np.dtype(object)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"fit: params{jax.tree_util.keystr(path)} is a {type(leaf).__name__} of dtype "
                f"{dtype}; wanted a floating array"
            )


def _check_data(data: PyTree) -> tuple[PyTree, int]:
    """The data on the device, and the number of examples."""
    data = jax.tree.map(jnp.asarray, data)
    first = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        name = f"data{jax.tree_util.keystr(path)}"
        if leaf.ndim == 0:
            raise ValueError(f"fit: {name} is a scalar; wanted a leading axis of examples")
        first = first or (name, leaf.shape)
        if leaf.shape[0] != first[1][0]:
            raise ValueError(
                f"fit: {name} has shape {leaf.shape} and {first[0]} has {first[1]}; "
                "wanted leading axes of one length"
            )
    return data, first[1][0] if first else 0


def _check_batch_size(batch_size: Any, examples: int) -> int:
    size = _check_count("batch_size", batch_size, 1)
    if size > examples:
        raise ValueError(f"fit: batch_size is {size} and data has {examples} examples")
    return size


def _check_key(key: Any) -> Any:
    """The key, typed where it came as raw integers."""
    dtype = getattr(key, "dtype", None)
    try:
        if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
            key = jax.random.wrap_key_data(key)
        single = key.shape == ()
    except (TypeError, ValueError):
        single = False
    if not single:
        raise TypeError(f"fit: key is {key!r}; batches need one random key, as jax.random.key(0)")
    return key


def _check_evaluation(eval_fn: Any, eval_every: Any, until: Any) -> None:
    if eval_fn is None:
        for name, value in (("eval_every", eval_every), ("until", until)):
            if value is not None:
                raise ValueError(f"fit: {name} is given and eval_fn is not")
    if eval_every is not None:
        _check_count("eval_every", eval_every, 1)


def _check_opt_state(
    opt_state: PyTree, optimizer: optax.GradientTransformation, params: PyTree
) -> None:
    wanted: Any = jax.tree.structure(jax.eval_shape(optimizer.init, params))
    if jax.tree.structure(opt_state) != wanted:
        raise ValueError(
            f"fit: opt_state is {jax.tree.structure(opt_state)}; this optimizer and params "
            f"want {wanted}"
        )


def _check_loss(loss: Any) -> jax.Array:
    """The loss, if it's a real scalar; this runs when the step is traced."""
    given: Any = jax.tree.structure(loss)
    if given != jax.tree.structure(0) or jnp.shape(loss) != ():
        shapes = jax.tree.map(jnp.shape, loss)
        raise TypeError(f"fit: loss_fn gives shape {shapes}; wanted a scalar, as a mean does")
    if not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise TypeError(f"fit: loss_fn gives dtype {jnp.result_type(loss)}; wanted a float")
    return jnp.asarray(loss)
