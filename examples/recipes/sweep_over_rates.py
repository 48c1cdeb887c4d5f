"""A sweep over learning rates in one compiled program: the rate is an argument, so `vmap` it."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.softmax_regression(64, 10)


def loss_fn(params):
    return lo.softmax_cross_entropy(model.apply(params, x), labels)


def train(learning_rate, steps=100):
    optimizer = lo.adam(learning_rate)
    params = model.init(jax.random.key(0))

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss_fn)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return loss_fn(carry[0])


rates = jnp.logspace(-3, 1, 9)
losses = jax.jit(jax.vmap(train))(rates)
for rate, loss in zip(rates, losses, strict=True):
    print(f"rate {rate:.1e}: loss {loss:.3f}")
print(f"the best of {len(rates)} rates is {rates[losses.argmin()]:.1e}")
