"""Epochs with their accuracy, errors on validation data, and a stop when these fall no more."""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
train, validation = (x[:1200], labels[:1200]), (x[1200:], labels[1200:])
model = lo.mlp([64, 32, 10])


def loss_fn(params, batch):
    """The loss and, for `has_aux`, metrics of the batch, which `fit` averages over each epoch."""
    logits = model.apply(params, batch[0])
    accuracy = (logits.argmax(axis=-1) == batch[1]).mean()
    return lo.softmax_cross_entropy(logits, batch[1]), {"accuracy": accuracy}


@jax.jit
def errors(params):
    """The share of wrong answers: with `patience` the lowest value is the best."""
    return (model.apply(params, validation[0]).argmax(axis=-1) != validation[1]).mean()


result = lo.fit(
    loss_fn,
    model.init(jax.random.key(0)),
    lo.adam(0.01),
    train,
    epochs=60,
    batch_size=64,
    key=jax.random.key(1),
    has_aux=True,
    eval_fn=errors,
    patience=5,
)
print(f"stopped after epoch {len(result.evaluations)} of 60", end=", ")
print(f"accuracy in training {result.metrics[-1][1]['accuracy']:.3f}", end=", ")
print(f"in validation at its best {1 - errors(result.best):.3f}")
