"""Models: a pair of pure functions around a pytree of plain dicts and lists.

A model is `Model(init, apply)`: `init(key)` draws the parameters, `apply(params, x)` uses them.
Modules compose as in the lecture, F(x) = f3(W3) o f2(W2) o f1(W1) (x):

- `dense`: the affine layer
- `relu`, `sigmoid`, `tanh`, `softmax`: modules without parameters; `activation` makes others
- `chain`: the composition; its parameters are a list with one entry per module
- `mlp`, `softmax_regression`, `logistic`: the lecture's models; they end in logits

`x` and the parameters must have one dtype, which the result has too.

Example:
    >>> import jax, jax.numpy as jnp
    >>> model = chain(dense(64, 32), relu, dense(32, 10))
    >>> params = model.init(jax.random.key(0))
    >>> model.apply(params, jnp.ones((5, 64))).shape
    (5, 10)
    >>> jax.tree.map(jnp.shape, params)
    [{'bias': (32,), 'kernel': (64, 32)}, {}, {'bias': (10,), 'kernel': (32, 10)}]
"""

from lecture_opt.models.checks import LayerError, Params
from lecture_opt.models.composition import chain, mlp
from lecture_opt.models.layers import (
    Model,
    activation,
    dense,
    glorot,
    he,
    logistic,
    relu,
    sigmoid,
    softmax,
    softmax_regression,
    tanh,
)  # fmt: skip

__all__ = [
    "LayerError", "Model", "Params", "activation", "chain", "dense", "glorot", "he", "logistic",
    "mlp", "relu", "sigmoid", "softmax", "softmax_regression", "tanh",
]  # fmt: skip
