"""The compiled chunk: many steps as one `lax.scan`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lecture_opt import rows
from lecture_opt.training import sharding
from lecture_opt.training.batches import next_batch
from lecture_opt.training.checks import check_loss

PyTree: TypeAlias = Any
LossFn: TypeAlias = Callable[[PyTree, PyTree], jax.Array]


class Carry(NamedTuple):
    """What a step hands on to the next."""

    params: PyTree
    opt_state: PyTree
    batches: PyTree
    """`Batches`, or None where each batch is all the data."""


def current(carry: Carry) -> Carry:
    """The carry with the rows that the optimizer left behind brought up; others as they are."""
    params, opt_state = rows.finalize(carry.params, carry.opt_state)
    return carry._replace(params=params, opt_state=opt_state)


@functools.lru_cache(maxsize=32)
def compiled(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    batch_size: int | None,
    placement: sharding.Placement | None = None,
    ids_fn: Callable[[PyTree], PyTree] | None = None,
) -> Callable[[Carry, PyTree, Any, int], tuple[Carry, jax.Array]]:
    """The chunk of steps, compiled once per shapes and length for the same two functions."""
    update = optax.with_extra_args_support(optimizer).update

    def step(carry: Carry, data: PyTree, key: Any) -> tuple[Carry, jax.Array]:
        params, opt_state, batches = carry
        if batch_size is None:
            batch = data
        else:
            batch, batches = next_batch(batches, data, key, batch_size, placement)

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
        carry = Carry(rows.apply_updates(params, updates), opt_state, batches)
        return (carry if placement is None else sharding.keep(carry, placement.carry)), loss

    def run_chunk(carry: Carry, data: PyTree, key: Any, length: int) -> tuple[Carry, jax.Array]:
        return lax.scan(lambda carry, _: step(carry, data, key), carry, length=length)

    return jax.jit(run_chunk, static_argnums=3, donate_argnums=0)
