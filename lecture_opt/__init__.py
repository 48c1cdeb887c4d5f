"""Losses, models and optimizers of the lecture, for JAX, and `fit` to train with them.

>>> import jax, jax.numpy as jnp, optax
>>> import lecture_opt as lo
>>> model = lo.mlp([2, 8, 3], activation=lo.relu)
>>> params = model.init(jax.random.key(0))
>>> def loss_fn(params, batch):
...     x, y = batch
...     return lo.softmax_cross_entropy(model.apply(params, x), y)
>>> data = jnp.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), jnp.array([0, 1, 2])
>>> result = lo.fit(loss_fn, params, lo.adam(0.01), data, steps=200, key=jax.random.key(1))
>>> bool(result.losses[-1] < result.losses[0])
True
"""

from lecture_opt import backprop, optimizers, rows
from lecture_opt.backprop import gradient_flow
from lecture_opt.losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    gaussian_nll,
    l2_penalty,
    log_likelihood,
    mean_absolute_error,
    mean_squared_error,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from lecture_opt.models import (
    LayerError,
    Model,
    activation,
    chain,
    dense,
    logistic,
    mlp,
    relu,
    sigmoid,
    softmax,
    softmax_regression,
    tanh,
)
from lecture_opt.optimizers import *  # noqa: F403  # each is exported by its own package
from lecture_opt.training import (
    Checkpoint,
    FitResult,
    bfloat16_state,
    fit,
    shard_data,
    shard_params,
    zero1,
)

__all__ = [
    "Checkpoint", "FitResult", "LayerError", "Model", "activation", "backprop", "bfloat16_state",
    "binary_cross_entropy", "categorical_cross_entropy", "chain", "dense", "fit", "gaussian_nll",
    "gradient_flow", "l2_penalty", "log_likelihood", "logistic", "mean_absolute_error",
    "mean_squared_error", "mlp", "relu", "rows", "shard_data", "shard_params", "sigmoid",
    "sigmoid_cross_entropy", "softmax", "softmax_cross_entropy", "softmax_regression", "tanh",
    "zero1",
]  # fmt: skip
__all__ += optimizers.__all__
__all__.sort()
