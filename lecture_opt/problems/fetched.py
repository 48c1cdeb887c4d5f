"""Tasks whose data scikit-learn fetches once, over a network, and keeps in its data folder."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import models
from lecture_opt.problems.parts import TaskError
from lecture_opt.problems.task import Params, Task, classifier, split

LONGEST = 128


def mnist_mlp() -> Task:
    """A network of one hidden layer on MNIST (LeCun and others, 1998)."""
    return _images("mnist-mlp", "mnist_784", "MNIST's handwritten digits")


def fashion_mnist_mlp() -> Task:
    """A network of one hidden layer on Fashion-MNIST (Xiao and others, 2017)."""
    return _images("fashion-mnist-mlp", "Fashion-MNIST", "Fashion-MNIST's pictures of clothes")


def newsgroups() -> Task:
    """Softmax regression over the words of the 20 newsgroups (Lang, 1995)."""
    fetched = _fetch("newsgroups", "fetch_20newsgroups_vectorized", subset="all")
    counts, labels = fetched.data.tocsr(), np.asarray(fetched.target)
    features = counts.shape[1]
    ids = np.full((counts.shape[0], LONGEST), features, np.int32)
    for row in range(counts.shape[0]):
        present = counts.indices[counts.indptr[row] : counts.indptr[row + 1]][:LONGEST]
        ids[row, : len(present)] = present

    def init(key: jax.Array) -> Params:
        del key
        return {"kernel": jnp.zeros((features, 20)), "bias": jnp.zeros(20)}

    def apply(params: Params, ids: jax.Array) -> jax.Array:
        weights = params["kernel"].at[ids].get(mode="fill", fill_value=0)
        return weights.sum(axis=-2) + params["bias"][None]

    text = f"20 newsgroups: softmax regression over {features:,} sparse words."
    return classifier("newsgroups", init, apply, split(ids, labels, standardise=False), text)


def _images(name: str, data_set: str, what: str) -> Task:
    fetched = _fetch(name, "fetch_openml", name=data_set, version=1, as_frame=False)
    x = fetched.data.astype(np.float32) / 255
    model = models.mlp([784, 128, 10])
    data = split(x, fetched.target.astype(np.int32), standardise=False)
    return classifier(name, model.init, model.apply, data, f"{what}: a network 784-128-10.")


def _fetch(task: str, function: str, **arguments: Any) -> Any:
    """What scikit-learn's fetcher gives; TaskError where the data can't be had."""
    from sklearn import datasets

    try:
        return getattr(datasets, function)(**arguments)
    except OSError as error:
        raise TaskError(
            f"--task {task}: scikit-learn could not fetch its data ({error}); it needs a network "
            f"once, and then keeps them in {datasets.get_data_home()}"
        ) from error
