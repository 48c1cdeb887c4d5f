"""The compiled step, and how many of them run: as one `lax.scan`, or one by one from the host."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.extend import core

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, sharding
from lecture_opt.training.checks import check_loss, check_untraced
from lecture_opt.training.driver import prefers_host_steps
from lecture_opt.training.programs import Found, kept

LossFn: TypeAlias = Callable[[PyTree, PyTree], jax.Array]
IdsFn: TypeAlias = Callable[[PyTree], PyTree]


class Functions(NamedTuple):
    """What a step is made of."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    ids_fn: IdsFn | None


class Carry(NamedTuple):
    """What a step hands on to the next."""

    params: PyTree
    opt_state: PyTree
    place: batches.Place | None


Advance: TypeAlias = Callable[[Carry, int], tuple[Carry, np.ndarray]]
"""Takes so many steps, and gives their losses."""


class Program(NamedTuple):
    """A compiled step, and many of them as one `scan`; both overwrite the carry.

    They take `(carry, data, key, batch_size, where)`, and `chunk` a length, too.
    """

    step: Any
    chunk: Any


def chunks(
    functions: Functions, source: batches.Source, carry: Carry
) -> tuple[Advance, core.ClosedJaxpr]:
    """What takes steps, by `scan` or one by one; and a step, traced."""
    loss_fn, optimizer, ids_fn = functions
    program = kept(build, loss_fn, optimizer.update, ids_fn)
    where = sharding.placement(carry, source.data)
    rest = source.data, source.key, source.batch_size, where
    try:
        jaxpr = program.step.trace(carry, *rest).jaxpr
    except (TypeError, ValueError) as error:
        if ids_fn is not None or not _of_rows(optimizer, carry.opt_state):
            raise
        raise type(error)(
            "fit: ids_fn is not given, and the optimizer is one of lecture_opt.rows, for losses "
            f"that get the rows of a batch; without it the loss gets whole tables: {error}"
        ) from error
    check_untraced(**{"what loss_fn or optimizer closes over": jaxpr.consts})

    def scanned(carry: Carry, length: int) -> tuple[Carry, np.ndarray]:
        carry, losses = program.chunk(carry, *rest, length)
        return carry, np.array(losses)

    def one_by_one(carry: Carry, length: int) -> tuple[Carry, np.ndarray]:
        losses = []
        for _ in range(length):
            carry, loss = program.step(carry, *rest)
            losses.append(loss)
        return carry, np.array([np.asarray(loss) for loss in losses])  # a tenth of device_get

    platform = min(device.platform for device in jax.tree.leaves(carry.params)[0].devices())
    return one_by_one if prefers_host_steps(jaxpr, platform) else scanned, jaxpr


def build(loss: Found, update: Found, ids: Found) -> Program:
    """The programs of these functions, compiled once per shapes, shardings and length."""

    def step(
        carry: Carry, data: PyTree, key: Any, batch_size: int | None, where: sharding.Placement
    ) -> tuple[Carry, jax.Array]:
        loss_fn, ids_fn = loss(), ids()
        batch, place = batches.draw(carry.place, data, key, batch_size, where.data)
        axes = sharding.explicit_axes(data)

        def value_fn(params: PyTree) -> jax.Array:
            return check_loss(loss_fn(sharding.gathered(params, axes), batch))

        rows_of = None if ids_fn is None else ids_fn(batch)
        params, opt_state, value = _moved(value_fn, update(), carry, rows_of)
        return sharding.keep(Carry(params, opt_state, place), where.carry), value

    one = jax.jit(step, static_argnums=(3, 4), donate_argnums=0)

    def chunk(
        carry: Carry,
        data: PyTree,
        key: Any,
        batch_size: int | None,
        where: sharding.Placement,
        length: int,
    ) -> tuple[Carry, jax.Array]:
        return lax.scan(
            lambda carry, _: one(carry, data, key, batch_size, where), carry, length=length
        )

    return Program(one, jax.jit(chunk, static_argnums=(3, 4, 5), donate_argnums=0))


def _moved(
    value_fn: Callable[[PyTree], jax.Array], update: Any, carry: Carry, ids: PyTree
) -> tuple[PyTree, PyTree, jax.Array]:
    """The parameters and the state after a step, and the loss before it."""
    params, opt_state, _ = carry
    if ids is None:
        loss, grads = jax.value_and_grad(value_fn)(params)
    else:
        grad_fn = rows.value_and_row_grad(value_fn, lambda: ids)
        loss, grads = grad_fn(params, opt_state=opt_state)
    grads = jax.tree.map(jnp.conj, grads)  # a complex gradient descends by its conjugate
    extra = {"value": loss, "grad": grads, "value_fn": value_fn}
    try:
        updates, opt_state = _updated(update, grads, opt_state, params, extra)
    except (TypeError, ValueError) as error:
        if ids is not None:
            error.add_note(
                "fit: ids_fn is given, so the gradients of tables are RowGrads, for an "
                "optimizer of lecture_opt.rows; rows.lazy(optimizer) makes one of any"
            )
        raise
    return rows.apply_updates(params, updates), opt_state, loss


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
