"""The compiled chunk: many steps as one `lax.scan`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.training import batches, sharding
from lecture_opt.training.checks import check_loss

LossFn: TypeAlias = Callable[[PyTree, PyTree], jax.Array]
IdsFn: TypeAlias = Callable[[PyTree], PyTree]


class Carry(NamedTuple):
    """What a step hands on to the next."""

    params: PyTree
    opt_state: PyTree
    place: batches.Place | None


def chunks(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    ids_fn: IdsFn | None,
    source: batches.Source,
) -> Callable[[Carry, int], tuple[Carry, jax.Array]]:
    """A function that takes so many steps from a carry, which it overwrites."""
    program = compiled(loss_fn, optimizer, ids_fn)

    def advance(carry: Carry, length: int) -> tuple[Carry, jax.Array]:
        where = sharding.placement(carry, source.data)
        return program(carry, source.data, source.key, length, source.batch_size, where)

    return advance


@functools.lru_cache(maxsize=32)
def compiled(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, ids_fn: IdsFn | None = None
) -> Callable[..., tuple[Carry, jax.Array]]:
    """The program of a chunk, compiled once per shapes, shardings and length."""

    def run_chunk(
        carry: Carry,
        data: PyTree,
        key: Any,
        length: int,
        batch_size: int | None,
        where: sharding.Placement,
    ) -> tuple[Carry, jax.Array]:
        def step(carry: Carry, _: None) -> tuple[Carry, jax.Array]:
            batch, place = batches.draw(carry.place, data, key, batch_size, where.data)
            axes = sharding.explicit_axes(data)

            def value_fn(params: PyTree) -> jax.Array:
                return check_loss(loss_fn(sharding.gathered(params, axes), batch))

            ids = None if ids_fn is None else ids_fn(batch)
            params, opt_state, loss = _moved(value_fn, optimizer, carry, ids)
            return sharding.keep(Carry(params, opt_state, place), where.carry), loss

        return lax.scan(step, carry, length=length)

    static = ("length", "batch_size", "where")
    return jax.jit(run_chunk, static_argnames=static, donate_argnames="carry")


def _moved(
    value_fn: Callable[[PyTree], jax.Array],
    optimizer: optax.GradientTransformation,
    carry: Carry,
    ids: PyTree,
) -> tuple[PyTree, PyTree, jax.Array]:
    """The parameters and the state after a step, and the loss before it."""
    params, opt_state, _ = carry
    if ids is None:
        loss, grads = jax.value_and_grad(value_fn)(params)
    else:
        grad_fn = rows.value_and_row_grad(value_fn, lambda: ids)
        loss, grads = grad_fn(params, opt_state=opt_state)
    grads = jax.tree.map(jnp.conj, grads)  # a complex gradient descends by its conjugate
    update = optax.with_extra_args_support(optimizer).update
    try:
        updates, opt_state = update(
            grads, opt_state, params, value=loss, grad=grads, value_fn=value_fn
        )
    except (TypeError, ValueError) as error:
        if ids is not None:
            error.add_note(
                "fit: ids_fn is given, so the gradients of tables are RowGrads, for an "
                "optimizer of lecture_opt.rows; rows.lazy(optimizer) makes one of any"
            )
        raise
    return rows.apply_updates(params, updates), opt_state, loss
