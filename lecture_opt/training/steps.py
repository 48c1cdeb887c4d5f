"""The compiled chunk: many steps as one `lax.scan`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lecture_opt import rows
from lecture_opt.training import batches, sharding
from lecture_opt.training.checks import check_loss

PyTree: TypeAlias = Any
LossFn: TypeAlias = Callable[[PyTree, PyTree], jax.Array]
IdsFn: TypeAlias = Callable[[PyTree], PyTree]


class Carry(NamedTuple):
    """What a step hands on to the next."""

    params: PyTree
    opt_state: PyTree
    place: batches.Place | None


def current(carry: Carry) -> Carry:
    """The carry, where tables of `rows` have made up the steps that their rows missed."""
    params, opt_state = rows.finalize(carry.params, carry.opt_state)
    return carry._replace(params=params, opt_state=opt_state)


@functools.lru_cache(maxsize=32)
def compiled(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, ids_fn: IdsFn | None = None
) -> Callable[..., tuple[Carry, jax.Array]]:
    """The chunk of steps, compiled once per shapes, shardings and length for these functions."""
    update = optax.with_extra_args_support(optimizer).update

    def step(
        carry: Carry, data: PyTree, key: Any, batch_size: int | None, where: sharding.Placement
    ) -> tuple[Carry, jax.Array]:
        params, opt_state, place = carry
        batch, place = batches.draw(place, data, key, batch_size, where.data)
        axes = sharding.explicit_axes(data)

        def value_fn(params: PyTree) -> jax.Array:
            return check_loss(loss_fn(sharding.gathered(params, axes), batch))

        if ids_fn is None:
            loss, grads = jax.value_and_grad(value_fn)(params)
        else:
            grad_fn = rows.value_and_row_grad(value_fn, lambda: ids_fn(batch))
            loss, grads = grad_fn(params, opt_state=opt_state)
        grads = jax.tree.map(jnp.conj, grads)  # a complex gradient descends by its conjugate
        try:
            updates, opt_state = update(
                grads, opt_state, params, value=loss, grad=grads, value_fn=value_fn
            )
        except (TypeError, ValueError) as error:
            if ids_fn is not None:
                error.add_note(
                    "fit: ids_fn is given, so the gradients of tables are RowGrads, for an "
                    "optimizer of lecture_opt.rows; rows.lazy(optimizer) makes one of any"
                )
            raise
        carry = Carry(rows.apply_updates(params, updates), opt_state, place)
        return sharding.keep(carry, where.carry), loss

    def run_chunk(
        carry: Carry,
        data: PyTree,
        key: Any,
        length: int,
        batch_size: int | None,
        where: sharding.Placement,
    ) -> tuple[Carry, jax.Array]:
        def body(carry: Carry, _: None) -> tuple[Carry, jax.Array]:
            return step(carry, data, key, batch_size, where)

        return lax.scan(body, carry, length=length)

    static = ("length", "batch_size", "where")
    return jax.jit(run_chunk, static_argnames=static, donate_argnames="carry")
