"""Loops as their users wrote them: linen, nnx, Equinox and by hand."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.compare import Loop

rng = np.random.default_rng(0)
X = rng.normal(size=(96, 6)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int32)
DATA = tuple((X[part], Y[part]) for part in np.split(np.arange(96), [64, 80]))
SIZES = {"batch_size": 16, "steps": 6, "evaluations": 3}


def crossed(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def linen_loop():
    """A TrainState with batch statistics and dropout, its step jitted by the user."""
    from flax import linen as nn
    from flax.training import train_state

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(8)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
            return nn.Dense(2)(x)

    class TrainState(train_state.TrainState):
        batch_stats: dict
        key: jax.Array

    net = Net()

    def start(tx, key):
        variables = net.init(key, X[:2], train=False)
        return TrainState.create(
            apply_fn=net.apply, params=variables["params"], tx=tx, key=key,
            batch_stats=variables["batch_stats"],
        )  # fmt: skip

    @jax.jit
    def step(state, batch):
        x, y = batch
        dropout = jax.random.fold_in(state.key, state.step)

        def loss_of(params):
            logits, changed = state.apply_fn(
                {"params": params, "batch_stats": state.batch_stats},
                x, train=True, rngs={"dropout": dropout}, mutable=["batch_stats"],
            )  # fmt: skip
            return crossed(logits, y), changed

        (loss, changed), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        state = state.apply_gradients(grads=grads)
        return state.replace(batch_stats=changed["batch_stats"]), {"loss": loss}

    def metric(state, part):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        logits = state.apply_fn(variables, part[0], train=False)
        return {"loss": crossed(logits, part[1]), "accuracy": (logits.argmax(-1) == part[1]).mean()}

    return Loop("linen", start, step, metric, DATA, metric_name="loss", **SIZES)


def nnx_loop():
    """Modules that the step changes in place; it returns the loss alone."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.last = nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))

    def start(tx, key):
        model = Net(nnx.Rngs(key))
        model.train()
        return model, nnx.Optimizer(model, tx, wrt=nnx.Param)

    def step(state, batch):
        model, optimizer = state
        loss, grads = nnx.value_and_grad(lambda m: crossed(m(batch[0]), batch[1]))(model)
        optimizer.update(model, grads)
        return loss

    def metric(state, part):
        model, _ = state
        model.eval()
        return crossed(model(part[0]), part[1])

    return Loop("nnx", start, step, metric, DATA, **SIZES)


def equinox_loop():
    """A module, its state and a step that is made in `start`."""
    import equinox as eqx

    def start(tx, key):
        model = eqx.nn.MLP(6, 2, 8, 1, key=key)

        @eqx.filter_jit
        def update(model, opt_state, batch):
            loss, grads = eqx.filter_value_and_grad(
                lambda model: crossed(jax.vmap(model)(batch[0]), batch[1])
            )(model)
            params = eqx.filter(model, eqx.is_inexact_array)
            updates, opt_state = tx.update(grads, opt_state, params)
            return eqx.apply_updates(model, updates), opt_state, loss

        return model, tx.init(eqx.filter(model, eqx.is_inexact_array)), update

    def step(state, batch):
        model, opt_state, update = state
        model, opt_state, loss = update(model, opt_state, batch)
        return loss, (model, opt_state, update)

    def metric(state, part):
        return crossed(jax.vmap(state[0])(part[0]), part[1])

    return Loop("equinox", start, step, metric, DATA, **SIZES)


class Hand(NamedTuple):
    params: dict
    opt_state: tuple
    tx: optax.GradientTransformation
    epoch: int
    mean: float


def stream(seed):
    """Batches of a stream, noise added on the host; the last of an epoch is short."""
    noise = np.random.default_rng(seed)
    order = noise.permutation(len(DATA[0][0]))
    for rows in np.split(order, range(24, len(order), 24)):
        yield (
            DATA[0][0][rows] + noise.normal(size=(len(rows), 6)).astype(np.float32),
            DATA[0][1][rows],
        )


def hand_loop(data=(stream, *DATA[1:]), **options):
    """A loop by hand: a tuple, Python numbers in it, `pmean`, a key for each step."""

    def start(tx, key):
        params = {"w": jax.random.normal(key, (6, 2)), "b": jnp.zeros(2)}
        return Hand(params, tx.init(params), tx, 0, 0.0)

    def step(state, batch, key):
        x, y = batch
        x = x + 0.1 * jax.random.normal(key, x.shape)
        loss, grads = jax.value_and_grad(lambda p: crossed(x @ p["w"] + p["b"], y))(state.params)
        grads = jax.lax.pmean(grads, "batch")
        updates, opt_state = state.tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(
            params=params, opt_state=opt_state, epoch=state.epoch + 1,
            mean=0.9 * state.mean + 0.1 * loss,
        )  # fmt: skip

    def metric(state, part, key):
        assert key is not None
        return crossed(part[0] @ state.params["w"] + state.params["b"], part[1]) + 0 * state.epoch

    return Loop("hand", start, step, metric, data, axis_name="batch", **SIZES | options)


LOOPS = {
    "linen": linen_loop, "nnx": nnx_loop, "equinox": equinox_loop,
    "hand": functools.partial(hand_loop, (DATA[0], *DATA[1:])), "stream": hand_loop,
}  # fmt: skip
