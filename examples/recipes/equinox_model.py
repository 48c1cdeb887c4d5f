"""A model of Equinox, trained by `fit`: its arrays are partitioned from the rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
net = eqx.nn.MLP(64, 10, width_size=32, depth=1, key=jax.random.key(0))
params, rest = eqx.partition(net, eqx.is_inexact_array)


def loss_fn(params, batch):
    logits = jax.vmap(eqx.combine(params, rest))(batch[0])
    return lo.softmax_cross_entropy(logits, batch[1])


result = lo.fit(
    loss_fn, params, lo.adam(0.01), data, steps=100, batch_size=64, key=jax.random.key(1)
)
trained = eqx.combine(result.params, rest)
accuracy = (jax.vmap(trained)(data[0]).argmax(axis=-1) == data[1]).mean()
print(f"Equinox: loss {result.losses[-1]:.3f}, accuracy {accuracy:.3f}")
