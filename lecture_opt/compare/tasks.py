"""The tasks that optimizers are compared on: real data that scikit-learn carries, small models.

A `Task` is all that the engine needs to know. Inputs are standardised by the training part's
mean and deviation; rows are shuffled once, with a fixed seed, and split 60/20/20.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import losses, models

Params = Any
Data = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class Task:
    """What to train and how to judge it.

    Attributes:
      name: as `--task` names it.
      init: key -> params.
      loss: (params, (x, y)) -> scalar that the optimizer lowers.
      metric: (params, (x, y)) -> scalar to choose and report by.
      metric_name: what `metric` measures, with its unit.
      higher_is_better: the metric's direction.
      train, validation, test: the parts of the data, each (x, y).
    """

    name: str
    init: Callable[[jax.Array], Params]
    loss: Callable[[Params, Data], jax.Array]
    metric: Callable[[Params, Data], jax.Array]
    metric_name: str
    higher_is_better: bool
    train: Data
    validation: Data
    test: Data


def digits_softmax() -> Task:
    """Softmax regression on the 1,797 handwritten digits of 8 x 8 pixels, ten classes."""
    return _classification("digits-softmax", "load_digits", models.softmax_regression(64, 10))


def digits_mlp() -> Task:
    """A network 64-32-10 with ReLU on the handwritten digits."""
    return _classification("digits-mlp", "load_digits", models.mlp([64, 32, 10]))


def cancer_logistic() -> Task:
    """Logistic regression on the 569 tumours of the Wisconsin breast cancer data."""
    model = models.logistic(30)

    def loss(params: Params, data: Data) -> jax.Array:
        return losses.sigmoid_cross_entropy(model.apply(params, data[0]), data[1])

    def accuracy(params: Params, data: Data) -> jax.Array:
        return jnp.mean((model.apply(params, data[0]) > 0) == (data[1] > 0.5), dtype=jnp.float32)

    parts = _split(*_load("load_breast_cancer"), np.float32)
    return Task("cancer-logistic", model.init, loss, accuracy, "accuracy", True, *parts)


def diabetes_mlp() -> Task:
    """A network 10-32-1 with tanh on the 442 diabetes patients; the target is standardised."""
    model = models.mlp([10, 32, 1], activation=models.tanh)

    def loss(params: Params, data: Data) -> jax.Array:
        return losses.mean_squared_error(model.apply(params, data[0])[:, 0], data[1])

    x, y = _load("load_diabetes")
    parts = _split(x, (y - y.mean()) / y.std(), np.float32)
    return Task("diabetes-mlp", model.init, loss, loss, "squared error", False, *parts)


TASKS: dict[str, Callable[[], Task]] = {
    "digits-softmax": digits_softmax,
    "digits-mlp": digits_mlp,
    "diabetes-mlp": diabetes_mlp,
    "cancer-logistic": cancer_logistic,
}


def _classification(name: str, loader: str, model: models.Model) -> Task:
    def loss(params: Params, data: Data) -> jax.Array:
        return losses.softmax_cross_entropy(model.apply(params, data[0]), data[1])

    def accuracy(params: Params, data: Data) -> jax.Array:
        best = jnp.argmax(model.apply(params, data[0]), axis=-1).astype(data[1].dtype)
        return jnp.mean(best == data[1], dtype=jnp.float32)

    parts = _split(*_load(loader), np.int32)
    return Task(name, model.init, loss, accuracy, "accuracy", True, *parts)


def _load(loader: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "the tasks need scikit-learn's data: pip install 'lecture_opt[judge]'"
        ) from error
    x, y = getattr(datasets, loader)(return_X_y=True)
    return x, y


def _split(x: np.ndarray, y: np.ndarray, label_type: Any) -> tuple[Data, Data, Data]:
    order = np.random.default_rng(0).permutation(len(x))
    first, second = int(0.6 * len(x)), int(0.8 * len(x))
    train = x[order[:first]]
    deviation = train.std(axis=0)
    x = (x - train.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    parts = np.split(order, [first, second])
    train_part, validation, test = (
        (jnp.asarray(x[rows], jnp.float32), jnp.asarray(y[rows].astype(label_type)))
        for rows in parts
    )
    return train_part, validation, test
