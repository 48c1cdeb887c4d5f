"""A small problem with one table, walked on rows and by the dense rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lecture_opt as lo
from lecture_opt import rows

V, D, K = 12, 3, 4
TABLES = {"table": True}
EXACT = {
    "momentum": rows.momentum,
    "nesterov": rows.nesterov,
    "rmsprop": rows.rmsprop,
    "adam": rows.adam,
}
ALL = {"sgd": rows.sgd, "adagrad": rows.adagrad, **EXACT}
RATES = {"sgd": 0.01, "adagrad": 0.1, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 0.01}


def ids_fn(batch):
    return {"table": batch}


def loss_fn(params, batch):
    """Of rows (batch shape, D), each element with a curvature and a minimum of its own."""
    w = params["table"].astype(params["bias"].dtype)
    bias = jnp.broadcast_to(params["bias"], w.shape)
    curvature = jnp.broadcast_to(jnp.arange(1, D + 1, dtype=w.dtype), w.shape)
    return jnp.sum((w - bias) ** 2 * curvature) + jnp.sum((params["bias"] - 0.5) ** 2)


def dense_loss_fn(params, batch):
    ids = jnp.where(batch < 0, V, batch)  # jax counts negative ones from the end
    table = params["table"].at[ids].get(mode="fill", fill_value=0)
    return loss_fn(params | {"table": table}, batch)


def start(dtype=None, size=V):
    table = np.random.default_rng(0).normal(size=(size, D))
    return {"table": jnp.asarray(table, dtype or float), "bias": jnp.zeros(D)}


def batches(steps, seed=0):
    """Batches in which every row is left alone for stretches of many lengths."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, V, (steps, K))
    phase = (np.arange(steps) // rng.integers(5, 60)) % 3
    ids = np.where(phase[:, None] == 0, ids % 3, np.where(phase[:, None] == 1, 5, ids))
    return jnp.asarray(ids)


@functools.cache  # the same objects again find their compiled walks
def optimizers(name, **hyperparameters):
    """The optimizer on rows and the dense one; for "lazy", Adam as it is and as `rows.lazy` is."""
    if name == "lazy":
        return rows.lazy(lo.adam(**hyperparameters)), lo.adam(**hyperparameters)
    if name in RATES:
        hyperparameters = {"learning_rate": RATES[name], **hyperparameters}
    tables = {} if name in ("sgd", "adagrad") else {"tables": TABLES}
    return ALL[name](**hyperparameters, **tables), getattr(lo, name)(**hyperparameters)


def step_of(optimizer):
    def step(params, state, batch):
        grad_fn = rows.value_and_row_grad(loss_fn, ids_fn)
        loss, grads = grad_fn(params, batch, opt_state=state)
        updates, state = optimizer.update(grads, state, params)
        return rows.apply_updates(params, updates), state, loss

    return step


@functools.partial(jax.jit, static_argnums=0)
def walk(optimizer, params, ids):
    def step(carry, batch):
        params, state, loss = step_of(optimizer)(*carry, batch)
        return (params, state), loss

    return jax.lax.scan(step, (params, optimizer.init(params)), ids)


@functools.partial(jax.jit, static_argnums=0, static_argnames="lazy")
def dense_walk(optimizer, params, ids, *, lazy=False):
    """If lazy, rows that a batch does not name keep what they were, their state too."""

    def step(carry, batch):
        params, state = carry
        loss, grads = jax.value_and_grad(dense_loss_fn)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        new = optax.apply_updates(params, updates), state
        if lazy:
            named = jnp.isin(jnp.arange(V), batch)[:, None]
            new = jax.tree.map(
                lambda n, o: jnp.where(named, n, o) if n.shape == (V, D) else n, new, carry
            )
        return new, loss

    return jax.lax.scan(step, (params, optimizer.init(params)), ids)
