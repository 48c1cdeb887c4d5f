"""Gradient accumulation: four small batches make one step, with the step of one large batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x[:1024] / 16, jnp.float32), jnp.asarray(labels[:1024])
model = lo.mlp([64, 32, 10])
params = model.init(jax.random.key(0))


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


def train(optimizer, size):
    @jax.jit
    def step(carry, batch):
        p, state = carry
        updates, state = optimizer.update(jax.grad(loss_fn)(p, batch), state, p)
        return (optax.apply_updates(p, updates), state), None

    batches = (x.reshape(-1, size, 64), labels.reshape(-1, size))
    return jax.lax.scan(step, (params, optimizer.init(params)), batches)[0][0]


accumulated = train(optax.MultiSteps(lo.momentum(0.1), every_k_schedule=4), size=32)
large = train(lo.momentum(0.1), size=128)
apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), accumulated, large)
print(f"4 x 32 and 1 x 128 end at most {max(jax.tree.leaves(apart)):.0e} apart")
