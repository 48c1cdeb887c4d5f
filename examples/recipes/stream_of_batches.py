"""Batches from a file that need not fit into memory, drawn and changed anew in each epoch.

Any loader will do in the function's place: `lambda epoch: loader` with torch's DataLoader, tf.data
or grain. That a run can be resumed, its batches must follow from the epoch alone.
"""

import tempfile
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
path = Path(tempfile.mkdtemp()) / "images.npy"
np.save(path, (x / 16).astype(np.float32).reshape(-1, 8, 8))
images = np.load(path, mmap_mode="r")  # read where it is indexed
model = lo.mlp([64, 32, 10])


def stream(epoch):
    """The batches of an epoch: in an order of its own, the images moved by up to a pixel."""
    rng = np.random.default_rng(epoch)
    order = rng.permutation(len(images))
    for start in range(0, len(order), 64):
        rows = np.sort(order[start : start + 64])
        moved = np.roll(images[rows], rng.integers(-1, 2, size=2), axis=(1, 2))
        yield moved.reshape(len(rows), 64), labels[rows]


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


result = lo.fit(loss_fn, model.init(jax.random.key(0)), lo.adam(0.01), stream, epochs=20)
accuracy = (model.apply(result.params, x / 16).argmax(axis=-1) == labels).mean()
print(f"{result.step} steps in 20 epochs: loss {result.losses[-1]:.3f}, accuracy {accuracy:.3f}")
