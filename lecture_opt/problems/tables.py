"""Tasks on the tables of numbers that scikit-learn carries."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import losses, models
from lecture_opt.problems.parts import Pool
from lecture_opt.problems.task import Data, Params, Task, binary_classifier, classifier, split


def digits_softmax() -> Task:
    """Softmax regression on the handwritten digits."""
    model = models.softmax_regression(64, 10)
    return _digits("digits-softmax", model, "softmax regression")


def digits_mlp() -> Task:
    """A network of one hidden layer on the handwritten digits."""
    return _digits("digits-mlp", models.mlp([64, 32, 10]), "a network 64-32-10 with ReLU")


def digits_convnet() -> Task:
    """A convolutional network on the handwritten digits.

    The convolution is a product of the patches of 3 x 3 pixels with a matrix: a batch of many
    runs, each with kernels of its own, is slow in XLA's convolutions on a CPU.
    """
    convolution = models.dense(9, 16, kernel_init=models.he)
    head = models.dense(144, 10)

    def init(key: jax.Array) -> Params:
        first, second = jax.random.split(key)
        return {"convolution": convolution.init(first), "head": head.init(second)}

    def apply(params: Params, x: jax.Array) -> jax.Array:
        maps = jax.nn.relu(convolution.apply(params["convolution"], x))
        return head.apply(params["head"], maps.reshape(*x.shape[:-2], 144))

    images, labels = split(*load("load_digits")).examples
    text = f"{_DIGITS}: 16 kernels of 3 x 3, two pixels apart, ReLU, an affine layer."
    return classifier("digits-convnet", init, apply, Pool((patches(images), labels)), text)


def patches(images: np.ndarray) -> np.ndarray:
    """(n, 9, 9): the 3 x 3 patches, two pixels apart, of images (n, 64).

    >>> patches(np.arange(64.0)[None])[0, 1]
    array([ 2.,  3.,  4., 10., 11., 12., 18., 19., 20.])
    """
    views = np.lib.stride_tricks.sliding_window_view(images.reshape(-1, 8, 8), (3, 3), (1, 2))
    return np.ascontiguousarray(views[:, ::2, ::2].reshape(-1, 9, 9))


def wine_softmax() -> Task:
    """Softmax regression on 178 wines."""
    model = models.softmax_regression(13, 3)
    data = split(*load("load_wine"))
    text = "178 Italian wines of three cultivars, 13 measurements: softmax regression."
    return classifier("wine-softmax", model.init, model.apply, data, text)


def cancer_logistic() -> Task:
    """Logistic regression on the tumours of the Wisconsin breast cancer data."""
    model = models.logistic(30)
    text = "569 tumours of the Wisconsin breast cancer data: logistic regression."
    return binary_classifier("cancer-logistic", model.init, model.apply, cancer(), text)


def cancer() -> Pool:
    """The Wisconsin breast cancer data, benign as 1.0."""
    x, y = load("load_breast_cancer")
    return split(x, y.astype(np.float32))


def diabetes_mlp() -> Task:
    """A network of one hidden layer on the diabetes patients."""
    model = models.mlp([10, 32, 1], activation=models.tanh)

    def loss(params: Params, part: Data) -> jax.Array:
        return losses.mean_squared_error(model.apply(params, part[0])[..., 0], jnp.asarray(part[1]))

    x, y = load("load_diabetes")
    data = split(x, (y - y.mean()) / y.std())
    text = (
        "442 diabetes patients, a year's progression (standardised): a network 10-32-1 with tanh."
    )
    return Task("diabetes-mlp", model.init, loss, loss, data, "squared error", False, text)


_DIGITS = "1,797 handwritten digits of 8 x 8 pixels"


def _digits(name: str, model: models.Model, what: str) -> Task:
    data = split(*load("load_digits"))
    return classifier(name, model.init, model.apply, data, f"{_DIGITS}: {what}.")


def load(loader: str) -> tuple[Any, Any]:
    """What the function of this name in `sklearn.datasets` gives as (x, y)."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "the tasks need scikit-learn's data: pip install 'lecture_opt[judge]'"
        ) from error
    x, y = getattr(datasets, loader)(return_X_y=True)
    return x, y
