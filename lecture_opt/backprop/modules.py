"""The lecture's modules, each with its backward pass beside its forward pass."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lecture_opt.models import LayerError, Model, Params
from lecture_opt.models.checks import check_shapes, check_structure

Residuals: TypeAlias = Any
"""What `forward` keeps for `backward`: a tree of arrays."""


class Module(NamedTuple):
    """`forward(params, x) -> y, residuals` and `backward(residuals, delta) -> delta_in, grads`.

    `delta` has the shape of y and `delta_in` that of x; `grads` is a tree like params. `parts`
    are the modules of a `chain`.
    """

    name: str
    forward: Callable[[Params, ArrayLike], tuple[jax.Array, Residuals]]
    backward: Callable[[Residuals, jax.Array], tuple[jax.Array, Params]]
    parts: tuple["Module", ...] = ()


def _dense_forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
    x, kernel, bias = _affine_inputs("backprop.dense", params, x, kernel_ndim=2)
    y = x @ kernel
    return y + jnp.broadcast_to(bias, y.shape), (x, kernel)


def _dense_backward(residuals: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    x, kernel = residuals
    rows, row_deltas = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
    grads = {"bias": row_deltas.sum(axis=0), "kernel": rows.T @ row_deltas}
    return delta @ kernel.T, grads


dense = Module("dense", _dense_forward, _dense_backward)
"""y = x W + b, so dL/dW = x^T delta, dL/db = delta (both summed over examples), and
delta_in = delta W^T. Parameters as in `models.dense`."""


def _relu_forward(_: Params, z: ArrayLike) -> tuple[jax.Array, Residuals]:
    z = jnp.asarray(z)
    return jnp.maximum(z, 0), z


def _relu_backward(z: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    return delta * _step(z), {}


relu = Module("relu", _relu_forward, _relu_backward)
"""h = max(z, 0); delta_in = delta step(z), where step(0) = 0 as in `jax.nn.relu`."""


def _sigmoid_forward(_: Params, z: ArrayLike) -> tuple[jax.Array, Residuals]:
    h = jax.nn.sigmoid(z)
    return h, h


def _sigmoid_backward(h: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    return delta * (h * (1 - h)), {}


sigmoid = Module("sigmoid", _sigmoid_forward, _sigmoid_backward)
"""h = 1 / (1 + exp(-z)); delta_in = delta h (1 - h), at most a quarter of delta."""


def _tanh_forward(_: Params, z: ArrayLike) -> tuple[jax.Array, Residuals]:
    h = jnp.tanh(jnp.asarray(z))
    return h, h


def _tanh_backward(h: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    return delta * ((1 - h) * (1 + h)), {}  # 1 - h^2 would lose the digits of h near 1


tanh = Module("tanh", _tanh_forward, _tanh_backward)
"""h = tanh(z); delta_in = delta (1 - h^2)."""


def _softmax_forward(_: Params, z: ArrayLike) -> tuple[jax.Array, Residuals]:
    q = jax.nn.softmax(jnp.asarray(z))
    return q, q


def _softmax_backward(q: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    mean = jnp.sum(q * delta, axis=-1, keepdims=True)
    return q * (delta - mean), {}


softmax = Module("softmax", _softmax_forward, _softmax_backward)
"""q_j = exp(z_j) / sum_k exp(z_k) over the last axis; as dq_k/dz_j = q_k (1[j = k] - q_j),
delta_in_j = q_j (delta_j - sum_k q_k delta_k)."""


def _neuron_forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
    x, kernel, bias = _affine_inputs("backprop.neuron", params, x, kernel_ndim=1)
    z = x @ kernel
    z = z + jnp.broadcast_to(bias, z.shape)
    return jnp.maximum(z, 0), (x, kernel, z)


def _neuron_backward(residuals: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    x, kernel, z = residuals
    through = (delta * _step(z))[..., None]
    grads = through * x  # the slide's delta * step(z) * x, one row per example
    examples = tuple(range(x.ndim - 1))
    delta_in = through * jnp.broadcast_to(kernel, x.shape)
    return delta_in, {"bias": through.sum(), "kernel": grads.sum(axis=examples)}


neuron = Module("neuron", _neuron_forward, _neuron_backward)
"""The slide's neuron, h = relu(w . x + b): dL/dw = delta step(z) x, summed over examples.

Parameters as in `models.logistic`; x is `(..., features)` and h `(...)`."""


def automatic(model: Model, name: str = "automatic") -> Module:
    """Any `Model` as a module, its backward pass derived by JAX (`jax.vjp`).

    Example:
        >>> import lecture_opt as lo
        >>> square = automatic(lo.activation(jnp.square), "square")
        >>> y, residuals = square.forward({}, jnp.array([3.0]))
        >>> print(y, square.backward(residuals, jnp.array([0.5]))[0])
        [9.] [3.]
    """

    def forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
        y, pull_back = jax.vjp(model.apply, params, jnp.asarray(x))
        return y, pull_back

    def backward(pull_back: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
        grads, delta_in = pull_back(delta)
        return delta_in, grads

    return Module(name, forward, backward)


def _step(z: jax.Array) -> jax.Array:
    """1 where z > 0, else 0."""
    return (z > 0).astype(z.dtype)


def _affine_inputs(
    name: str, params: Params, x: ArrayLike, kernel_ndim: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return x, W and b as arrays; raise where their shapes do not fit."""
    check_structure(name, params, {"bias": 0, "kernel": 0})
    x, kernel, bias = (jnp.asarray(a) for a in (x, params["kernel"], params["bias"]))
    if kernel.ndim != kernel_ndim:
        wanted = ("(features,)", "(inputs, outputs)")[kernel_ndim - 1]
        raise LayerError(f"{name}: kernel has shape {kernel.shape}; wanted {wanted}")
    check_shapes(name, x, kernel, bias, kernel.shape)
    return x, kernel, bias
