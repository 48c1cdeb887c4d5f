"""Layers: a `Model` is an `init` and an `apply`; the affine ones, and activations."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer, glorot_uniform, he_normal, zeros
from jax.typing import ArrayLike, DTypeLike

from lecture_opt.meshes import cut, joined, placed
from lecture_opt.models import checks
from lecture_opt.models.checks import LayerError, Params

glorot = glorot_uniform()
"""Uniform with variance 2 / (inputs + outputs)."""

he = he_normal()
"""Truncated normal with variance 2 / inputs, which keeps the scale of activations through relu."""


class Model(NamedTuple):
    """`init(key) -> params` and `apply(params, x) -> y`, where `x` may have any leading shape."""

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, ArrayLike], jax.Array]


def dense(
    in_features: int,
    out_features: int,
    *,
    kernel_init: Initializer = glorot,
    bias_init: Initializer = zeros,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """The affine layer, y = x W + b.

    Parameters are `{"kernel": (in_features, out_features), "bias": (out_features,)}`; `x` is
    `(..., in_features)` and y `(..., out_features)`.

    Args:
        in_features: Length of the last axis of `x`.
        out_features: Number of neurons.
        kernel_init: Draws W; the default is uniform, after Glorot and Bengio (2010).
        bias_init: Draws b.
        dtype: Floating dtype of the parameters, and so of `x`.

    Example:
        >>> dense(64, 10).init(jax.random.key(0))["kernel"].shape
        (64, 10)
    """
    name = f"dense({in_features}, {out_features})"
    outputs = checks.positive(name, "out_features", out_features)
    return _affine(name, in_features, (outputs,), kernel_init, bias_init, dtype)


def softmax_regression(
    features: int,
    classes: int,
    *,
    kernel_init: Initializer = glorot,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """Multinomial logistic regression: one affine layer whose outputs are the classes' logits.

    The softmax is left to the loss, `softmax_cross_entropy`; `chain(softmax_regression(4, 3),
    softmax)` gives probabilities. Parameters as in `dense`.

    Example:
        >>> model = softmax_regression(4, 3)
        >>> model.apply(model.init(jax.random.key(0)), jnp.ones((5, 4))).shape
        (5, 3)
    """
    name = f"softmax_regression({features}, {classes})"
    outputs = checks.positive(name, "classes", classes)
    return _affine(name, features, (outputs,), kernel_init, zeros, dtype)


def logistic(
    features: int, *, kernel_init: Initializer = glorot, dtype: DTypeLike = jnp.float32
) -> Model:
    """Logistic regression, the lecture's single neuron; it gives the logit w . x + b.

    The probability that the target is 1 is the logit's sigmoid, which is left to the loss,
    `sigmoid_cross_entropy`; `chain(logistic(4), sigmoid)` gives it. Parameters are
    `{"kernel": (features,), "bias": ()}`; `x` is `(..., features)` and the logits are `(...)`.

    Example:
        >>> model = logistic(3)
        >>> model.apply(model.init(jax.random.key(0)), jnp.ones((5, 3))).shape
        (5,)
    """
    return _affine(f"logistic({features})", features, (), kernel_init, zeros, dtype)


def activation(function: Callable[[jax.Array], jax.Array]) -> Model:
    """The module without parameters that applies `function`: its params are `{}`.

    Example:
        >>> float(activation(jnp.sin).apply({}, 0.0))
        0.0
    """
    if not callable(function):
        raise TypeError(f"activation: function is {function!r}; wanted a function of an array")
    name = getattr(function, "__name__", "activation")

    def apply(params: Params, x: ArrayLike) -> jax.Array:
        checks.check_structure(name, params, {})
        return function(checks.as_array(name, x))

    return Model(lambda _: {}, apply)


relu = activation(jax.nn.relu)
sigmoid = activation(jax.nn.sigmoid)
tanh = activation(jnp.tanh)
softmax = activation(jax.nn.softmax)
"""Over the last axis."""


def rectifies(module: Model, dtype: DTypeLike = jnp.float32) -> bool:
    """Whether a module without parameters gives max(z, 0), told by some values of z.

    Example:
        >>> rectifies(activation(lambda z: jnp.maximum(z, 0)))
        True
    """
    z = np.array([-100, -1, 0, 1, 100], dtype)
    try:
        # A program of its own gives numbers even while the caller is traced.
        with jax.disable_jit(False):
            params = jax.eval_shape(lambda: module.init(jax.random.key(0)))
            program = jax.jit(lambda z: module.apply(params, z)).lower(z).compile()
            y = np.asarray(program(z))
    except Exception:  # a module with parameters or of other shapes, whatever it raises
        return False
    return np.array_equal(y, np.maximum(z, 0))


def _affine(
    name: str,
    features: int,
    outputs: tuple[int, ...],
    kernel_init: Initializer,
    bias_init: Initializer,
    dtype: DTypeLike,
) -> Model:
    """The layer x W + b with W of shape `(features, *outputs)`."""
    shape = (checks.positive(name, "the number of features", features), *outputs)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"{name}: dtype is {jnp.dtype(dtype)}; wanted a floating dtype")

    def init(key: jax.Array) -> Params:
        kernel_key, bias_key = checks.split(name, key, 2)
        matrix = (features, math.prod(outputs))  # initialisers want the two axes of a fan
        return {
            "kernel": kernel_init(kernel_key, matrix, dtype).reshape(shape),
            "bias": bias_init(bias_key, outputs, dtype),
        }

    def apply(params: Params, x: ArrayLike) -> jax.Array:
        checks.check_structure(name, params, {"bias": 0, "kernel": 0})
        x, kernel, bias = (
            checks.as_array(name, x),
            *map(jnp.asarray, (params["kernel"], params["bias"])),
        )
        checks.check_shapes(name, x, kernel, bias, shape)
        for key, leaf in (("kernel", kernel), ("bias", bias)):
            if leaf.dtype != x.dtype:
                raise LayerError(
                    f'{name}: x is {x.dtype} and params["{key}"] is {leaf.dtype}; '
                    "wanted one dtype (cast with .astype)"
                )
        return placed(_xw_plus_b, joined(cut(x)[:-1], cut(kernel)[1:]), x, kernel, bias)

    return Model(init, apply)


def _xw_plus_b(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    y = x @ kernel
    return y + jnp.expand_dims(bias, tuple(range(y.ndim - bias.ndim)))
