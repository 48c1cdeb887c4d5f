"""The compiled step, and how many of them run: as one `lax.scan`, or one by one from the host."""

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.extend import core

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, sharding, streams
from lecture_opt.training.checks import check_loss, check_untraced, check_updated
from lecture_opt.training.driver import prefers_host_steps
from lecture_opt.training.programs import Found, kept

LossFn: TypeAlias = Callable[[PyTree, PyTree], Any]
IdsFn: TypeAlias = Callable[[PyTree], PyTree]

_AHEAD = 8
"""Steps on a stream's batches in a group: the host waits for one group while the next runs."""


class Functions(NamedTuple):
    """What a step is made of."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    ids_fn: IdsFn | None
    has_aux: bool


class Carry(NamedTuple):
    """What a step hands on to the next."""

    params: PyTree
    opt_state: PyTree
    place: batches.Place | None


class Static(NamedTuple):
    """What a program is compiled for, beside shapes."""

    batch_size: int | None
    has_aux: bool
    where: sharding.Placement


class Told(NamedTuple):
    """What a step tells, or many of them."""

    loss: Any
    metrics: dict[str, Any]


class Chunk(NamedTuple):
    """What some steps tell; of a stream, also the last of its batches."""

    told: Told
    fed: tuple[streams.Fed, ...] = ()


Advance: TypeAlias = Callable[[Carry, int, Iterator[streams.Fed] | None], tuple[Carry, Chunk]]
"""Takes this number of steps, or fewer where the epoch of a stream ends."""


class Steps(NamedTuple):
    """The steps of a run."""

    advance: Advance
    traced: core.ClosedJaxpr
    """One of them."""
    metrics: list[str]
    """The names of what it tells beside its loss."""


class Program(NamedTuple):
    """A compiled step, and many of them as one `scan`; both overwrite the carry.

    They take `(carry, data, key, static)`, and `chunk` a length, too.
    """

    step: Any
    chunk: Any


def chunks(
    functions: Functions, source: batches.Source, carry: Carry, place: Callable[[PyTree], PyTree]
) -> Steps:
    """What takes steps: by `scan`, or one by one."""
    loss_fn, optimizer, ids_fn, has_aux = functions
    program = kept(build, loss_fn, optimizer.update, ids_fn)
    where = sharding.placement(carry, source.data)
    rest = source.data, source.key, Static(source.batch_size, has_aux, where)
    try:
        traced = program.step.trace(carry, *rest)
    except (TypeError, ValueError) as error:
        if ids_fn is not None or not _of_rows(optimizer, carry.opt_state):
            raise
        raise type(error)(
            "fit: ids_fn is not given, and the optimizer is one of lecture_opt.rows, for losses "
            f"that get the rows of a batch; without it the loss gets whole tables: {error}"
        ) from error
    check_untraced(**{"what loss_fn or optimizer closes over": traced.jaxpr.consts})

    def scanned(carry: Carry, length: int, _: Any) -> tuple[Carry, Chunk]:
        carry, told = program.chunk(carry, *rest, length)
        return carry, Chunk(jax.tree.map(np.array, told))

    def one_by_one(carry: Carry, length: int, _: Any) -> tuple[Carry, Chunk]:
        told = []
        for _ in range(length):
            carry, one = program.step(carry, *rest)
            told.append(one)
        return carry, _gathered(told)

    platform = min(device.platform for device in jax.tree.leaves(carry.params)[0].devices())
    advance: Advance = one_by_one if prefers_host_steps(traced.jaxpr, platform) else scanned
    if source.stream is not None:
        advance = _fed(program, rest[-1], place)
    return Steps(advance, traced.jaxpr, sorted(traced.out_info[1].metrics))


def _fed(program: Program, static: Static, place: Callable[[PyTree], PyTree]) -> Advance:
    """Steps on batches from the host, of which few wait on the device at once."""
    found = False

    def fell(told: list[Told]) -> bool:
        """Waits for these steps, and stops at the first NaN, while its batch is at hand."""
        nonlocal found
        known, found = found, found or bool(np.isnan(jax.device_get([t.loss for t in told])).any())
        return found and not known

    def advance(carry: Carry, length: int, feed: Any) -> tuple[Carry, Chunk]:
        told, last = [], deque[streams.Fed](maxlen=2 * _AHEAD)
        for fed in itertools.islice(feed, length):
            carry, one = program.step(carry, place(fed.batch), None, static)
            told.append(one)
            last.append(fed)
            if fed.done == 0 or (len(told) % _AHEAD == 0 and fell(told[-2 * _AHEAD : -_AHEAD])):
                break
        return carry, _gathered(told, tuple(last))

    return advance


def _gathered(told: list[Told], fed: tuple[streams.Fed, ...] = ()) -> Chunk:
    def stacked(*leaves: jax.Array) -> np.ndarray:
        return np.array([np.asarray(leaf) for leaf in leaves])  # a tenth of what device_get takes

    return Chunk(jax.tree.map(stacked, *told), fed)


def build(loss: Found, update: Found, ids: Found) -> Program:
    """The programs of these functions, compiled once per shapes, shardings and length."""

    def step(carry: Carry, data: PyTree, key: Any, static: Static) -> tuple[Carry, Told]:
        loss_fn, ids_fn = loss(), ids()
        batch, place = batches.draw(carry.place, data, key, static.batch_size, static.where.data)
        axes = sharding.explicit_axes(data)

        def told(params: PyTree) -> tuple[jax.Array, dict[str, jax.Array]]:
            return check_loss(loss_fn(sharding.gathered(params, axes), batch), static.has_aux)

        rows_of = None if ids_fn is None else ids_fn(batch)
        params, opt_state, value = _moved(told, update(), carry, rows_of)
        return sharding.keep(Carry(params, opt_state, place), static.where.carry), value

    one = jax.jit(step, static_argnums=3, donate_argnums=0)

    def chunk(
        carry: Carry, data: PyTree, key: Any, static: Static, length: int
    ) -> tuple[Carry, Told]:
        return lax.scan(lambda carry, _: one(carry, data, key, static), carry, length=length)

    return Program(one, jax.jit(chunk, static_argnums=(3, 4), donate_argnums=0))


def _moved(
    told: Callable[[PyTree], tuple[jax.Array, dict[str, jax.Array]]],
    update: Any,
    carry: Carry,
    ids: PyTree,
) -> tuple[PyTree, PyTree, Told]:
    """The parameters and the state after a step, and what the loss told before it."""
    params, opt_state, _ = carry
    if ids is None:
        (loss, metrics), grads = jax.value_and_grad(told, has_aux=True)(params)
    else:
        grad_fn = rows.value_and_row_grad(told, lambda: ids, has_aux=True)
        (loss, metrics), grads = grad_fn(params, opt_state=opt_state)
    grads = jax.tree.map(jnp.conj, grads)  # a complex gradient descends by its conjugate
    extra = {"value": loss, "grad": grads, "value_fn": lambda params: told(params)[0]}
    try:
        result = _updated(update, grads, opt_state, params, extra)
        updates, opt_state = check_updated(grads, opt_state, result)
    except (TypeError, ValueError) as error:
        if ids is not None:
            error.add_note(
                "fit: ids_fn is given, so the gradients of tables are RowGrads, for an "
                "optimizer of lecture_opt.rows; rows.lazy(optimizer) makes one of any"
            )
        raise
    return rows.apply_updates(params, updates), opt_state, Told(loss, metrics)


def _of_rows(optimizer: optax.GradientTransformation, state: PyTree) -> bool:
    """Whether the optimizer is for row gradients, as far as its state and its module show."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, rows.ExactState))
    exact = any(isinstance(node, rows.ExactState) for node in nodes)
    return exact or str(getattr(optimizer.update, "__module__", "")).startswith(rows.__name__)


def _updated(
    update: Any, grads: PyTree, opt_state: PyTree, params: PyTree, extra: dict[str, Any]
) -> tuple[PyTree, PyTree]:
    """The optimizer's update, given those of the extra arguments that it takes."""
    try:
        return update(grads, opt_state, params, **extra)
    except TypeError as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if refused is None or refused[1] not in extra:
            raise
    taken = {name: value for name, value in extra.items() if name != refused[1]}
    return _updated(update, grads, opt_state, params, taken)
