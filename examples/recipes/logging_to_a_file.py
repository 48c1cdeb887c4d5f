"""Losses to a CSV file and to Python's logging, from the callback of `fit`."""

import csv
import logging
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.softmax_regression(64, 10)
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
logger = logging.getLogger("training")


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


path = Path(tempfile.mkdtemp()) / "losses.csv"
with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["step", "loss"])

    def callback(step, params, losses):
        """Called after each chunk, with its losses; `params` are a copy."""
        writer.writerows(enumerate(losses.tolist(), start=step - len(losses) + 1))
        logger.info("step %d: loss %.3f", step, losses[-1])

    lo.fit(
        loss_fn,
        model.init(jax.random.key(0)),
        lo.adam(0.01),
        data,
        steps=200,
        batch_size=64,
        key=jax.random.key(1),
        chunk=50,
        callback=callback,
    )
print(f"the file has {len(path.read_text().splitlines())} lines")
