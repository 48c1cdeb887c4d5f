"""Saving a trained model and loading it: the leaves of its tree in one NumPy file."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.mlp([64, 32, 10])


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


def save(path, tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    np.savez(path, **{jax.tree_util.keystr(key): leaf for key, leaf in leaves})


def load(path, like):
    """The saved tree, in the structure of `like`, as `model.init` makes it."""
    with np.load(path) as saved:
        return jax.tree_util.tree_map_with_path(
            lambda key, _: jnp.asarray(saved[jax.tree_util.keystr(key)]), like
        )


result = lo.fit(loss_fn, model.init(jax.random.key(0)), lo.adam(0.01), data, steps=50)
path = Path(tempfile.mkdtemp()) / "model.npz"
save(path, result.params)
loaded = load(path, model.init(jax.random.key(7)))
same = jnp.array_equal(model.apply(loaded, data[0]), model.apply(result.params, data[0]))
print(f"the loaded model gives the same predictions: {bool(same)}")
print("to resume a training, with its optimizer's state, see fit(..., checkpoint=FOLDER)")
