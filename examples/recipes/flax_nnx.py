"""A model of Flax nnx, trained by `fit`: its parameters are split from the rest."""

import jax
import jax.numpy as jnp
from flax import nnx
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)


def loss_fn(params, batch):
    logits = nnx.merge(graph, params, rest)(batch[0])
    return lo.softmax_cross_entropy(logits, batch[1])


result = lo.fit(
    loss_fn, params, lo.adam(0.01), data, steps=100, batch_size=64, key=jax.random.key(1)
)
net = nnx.merge(graph, result.params, rest)
accuracy = (net(data[0]).argmax(axis=-1) == data[1]).mean()
print(f"nnx: loss {result.losses[-1]:.3f}, accuracy {accuracy:.3f}")
