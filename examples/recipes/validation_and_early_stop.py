"""Epochs, accuracy on validation data, and a stop when it has not improved for some epochs."""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
train, validation = (x[:1200], labels[:1200]), (x[1200:], labels[1200:])
model = lo.mlp([64, 32, 10])


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


@jax.jit
def accuracy(params):
    return (model.apply(params, validation[0]).argmax(axis=-1) == validation[1]).mean()


def patience(evaluations):
    """Whether so many evaluations have passed without a new best; for `until`."""
    best, since = -jnp.inf, 0

    def stop(value):
        nonlocal best, since
        best, since = (value, 0) if value > best else (best, since + 1)
        return since >= evaluations

    return stop


EPOCH, EPOCHS = 1200 // 64, 60
result = lo.fit(
    loss_fn,
    model.init(jax.random.key(0)),
    lo.adam(0.01),
    train,
    steps=EPOCHS * EPOCH,
    batch_size=64,
    key=jax.random.key(1),
    eval_fn=accuracy,
    eval_every=EPOCH,
    until=patience(5),
)
values = [float(value) for _, value in result.evaluations]
print(f"stopped after epoch {result.step // EPOCH} of {EPOCHS}", end=", ")
print(f"best accuracy {max(values):.3f} after epoch {1 + values.index(max(values))}")
