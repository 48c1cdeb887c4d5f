"""Backpropagation by hand, module by module (slides "Backpropagation" and "... una neurona").

The lecture sees a network as a composition, y = f3(W3, f2(W2, f1(W1, x))). Going back through it,
each module receives delta, the derivative of the loss with respect to its output, and does two
things with it:

    grads    = delta . df/dW      what its own parameters are moved by
    delta_in = delta . df/dx      the delta of the module before it

- `Module(name, forward, backward)`: the two directions of a module
- `dense`, `relu`, `sigmoid`, `tanh`, `softmax`, `neuron`: the lecture's modules
- `chain`: the composition, which passes the delta back; `automatic` takes in any other `Model`
- `softmax_cross_entropy`, `sigmoid_cross_entropy`, `squared_error`: a loss and the first delta
- `value_and_grad`: all of it, equal to `jax.value_and_grad`
- `explain`: norms of activations, deltas and gradients, and dead ReLUs, module by module

Parameters are the trees of `lecture_opt.models`, so both can be held side by side:

    >>> import jax, jax.numpy as jnp
    >>> import lecture_opt as lo
    >>> from lecture_opt import backprop
    >>> model = lo.mlp([4, 8, 3], activation=lo.tanh)
    >>> by_hand = backprop.chain(backprop.dense, backprop.tanh, backprop.dense)
    >>> params = model.init(jax.random.key(0))
    >>> x, labels = jnp.ones((5, 4)), jnp.array([0, 1, 2, 0, 1])
    >>> value_and_grad = jax.jit(backprop.value_and_grad, static_argnums=0)
    >>> loss, grads = value_and_grad(by_hand, params, (x, labels))
    >>> def loss_fn(params):
    ...     return lo.softmax_cross_entropy(model.apply(params, x), labels)
    >>> expected = jax.jit(jax.grad(loss_fn))(params)
    >>> bool(jnp.allclose(grads[0]["kernel"], expected[0]["kernel"], atol=1e-6))
    True
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt import losses
from lecture_opt.models import LayerError, Model, Params

Residuals: TypeAlias = Any
"""What `forward` keeps for `backward`: any tree of arrays."""

LossAndDelta: TypeAlias = Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]


class Module(NamedTuple):
    """`forward(params, x) -> y, residuals` and `backward(residuals, delta) -> delta_in, grads`.

    `delta` has the shape of y and `delta_in` that of x; `grads` is a tree like params. `parts`
    are the modules of a `chain`.
    """

    name: str
    forward: Callable[[Params, ArrayLike], tuple[jax.Array, Residuals]]
    backward: Callable[[Residuals, jax.Array], tuple[jax.Array, Params]]
    parts: tuple["Module", ...] = ()


# ---- modules ------------------------------------------------------------------------------


def _dense_forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
    x, kernel, bias = _affine_inputs("dense", params, x, kernel_ndim=2)
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
    x, kernel, bias = _affine_inputs("neuron", params, x, kernel_ndim=1)
    z = x @ kernel
    z = z + jnp.broadcast_to(bias, z.shape)
    return jnp.maximum(z, 0), (x, kernel, z)


def _neuron_backward(residuals: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
    x, kernel, z = residuals
    through = (delta * _step(z))[..., None]
    grads = through * x  # the slide's delta * step(z) * x, one row for each example
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


def chain(*modules: Module) -> Module:
    """The composition f3(W3) o f2(W2) o f1(W1), the first module applied first.

    Forward, x_2 = f1(W1, x_1), x_3 = f2(W2, x_2) and so on; backward, each module's `delta_in` is
    the delta of the one before it. Parameters are a list with one entry per module, as in
    `models.chain`.

    Raises:
        TypeError: Something in `modules` is no `Module`.
        LayerError: In the forward pass, where params or x don't fit.

    Example:
        >>> net = chain(dense, relu, dense)
        >>> [part.name for part in net.parts]
        ['dense', 'relu', 'dense']
    """
    for i, module in enumerate(modules):
        if not isinstance(module, Module):
            raise TypeError(
                f"backprop.chain: module {i} is {module!r}; wanted a backprop.Module "
                "(backprop.automatic makes one of a Model)"
            )

    def forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
        y, residuals = jnp.asarray(x), []
        for module, entry in _pairs(modules, params):
            y, kept = module.forward(entry, y)
            residuals.append(kept)
        return y, residuals

    def backward(residuals: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
        grads = []
        for module, kept in zip(reversed(modules), reversed(residuals), strict=True):
            delta, own = module.backward(kept, delta)
            grads.append(own)
        return delta, grads[::-1]

    return Module("chain", forward, backward, modules)


# ---- losses -------------------------------------------------------------------------------


def softmax_cross_entropy(logits: jax.Array, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The mean cross-entropy of softmax(logits), and its delta, (q - p) / N.

    From L = -sum_j p_j log q_j and the softmax: dL/dz_j = -sum_k p_k (1[j = k] - q_j) = q_j - p_j,
    as the p sum to 1. The N examples are averaged.

    Args:
        logits: `(..., classes)`.
        labels: Class ids or distributions, as in `lecture_opt.softmax_cross_entropy`.

    Example:
        >>> loss, delta = softmax_cross_entropy(jnp.zeros((1, 2)), jnp.array([0]))
        >>> print(delta)
        [[-0.5  0.5]]
    """
    loss = losses.softmax_cross_entropy(logits, labels)
    q, p = jax.nn.softmax(logits), jnp.asarray(labels)
    if p.ndim < logits.ndim:
        p = jax.nn.one_hot(p, logits.shape[-1])
    return loss, (q - p.astype(q.dtype)) / (logits.size // logits.shape[-1])


def sigmoid_cross_entropy(logits: jax.Array, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The mean binary cross-entropy of sigmoid(logits), and its delta, (q - p) / N.

    Example:
        >>> loss, delta = sigmoid_cross_entropy(jnp.zeros(2), jnp.array([1, 0]))
        >>> print(delta)
        [-0.25  0.25]
    """
    loss = losses.sigmoid_cross_entropy(logits, labels)
    return loss, (jax.nn.sigmoid(logits) - jnp.asarray(labels).astype(logits.dtype)) / logits.size


def squared_error(predictions: jax.Array, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """The mean of (y - f)^2, and its delta, 2 (f - y) / N.

    Example:
        >>> loss, delta = squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))
        >>> print(loss, delta)
        2.0 [ 0. -2.]
    """
    loss = losses.mean_squared_error(predictions, targets)
    error = predictions - jnp.asarray(targets).astype(predictions.dtype)
    return loss, error * 2 / predictions.size


def value_and_grad(
    module: Module,
    params: Params,
    batch: tuple[Any, Any],
    loss: LossAndDelta = softmax_cross_entropy,
) -> tuple[jax.Array, Params]:
    """The loss of `batch`, a pair (x, targets), and its gradient with respect to `params`.

    Args:
        module: Usually a `chain`.
        params: Its parameters.
        batch: Inputs and targets.
        loss: `(output, targets) -> (loss, delta)`.

    Example:
        >>> params = {"kernel": jnp.array([1.0, 2.0]), "bias": jnp.array(-1.0)}
        >>> batch = jnp.array([[1.0, 1.0]]), jnp.array([0.0])
        >>> loss, grads = value_and_grad(neuron, params, batch, squared_error)
        >>> print(loss, grads["kernel"])  # delta is 2 * (2 - 0), step(2) is 1, x is (1, 1)
        4.0 [4. 4.]
    """
    x, targets = batch
    y, residuals = module.forward(params, x)
    value, delta = loss(y, targets)
    _, grads = module.backward(residuals, delta)
    return value, grads


# ---- what happens inside ------------------------------------------------------------------


class Explanation(NamedTuple):
    """One entry per module, in the order of the forward pass; norms are Euclidean, in float64.

    Attributes:
        loss: Of the batch.
        names: Place and kind of each module, such as "1 relu".
        activations: Norm of its output over the whole batch.
        deltas: Norm of the delta that it receives, the derivative of the loss by its output.
        gradients: Norm of the gradient of its parameters; NaN where it has none.
        dead: Share of its ReLUs that give 0 for every example; NaN where it is no ReLU.
    """

    loss: float
    names: tuple[str, ...]
    activations: np.ndarray
    deltas: np.ndarray
    gradients: np.ndarray
    dead: np.ndarray


def explain(
    module: Module,
    params: Params,
    batch: tuple[Any, Any],
    loss: LossAndDelta = softmax_cross_entropy,
) -> Explanation:
    """What flows through each module: where gradients vanish or explode, and which ReLUs are dead.

    Arguments as in `value_and_grad`. `lecture_opt.gradient_flow.draw` makes a picture of it.

    Example:
        >>> import lecture_opt as lo
        >>> params = lo.mlp([2, 3, 2]).init(jax.random.key(0))
        >>> params[0]["bias"] = jnp.array([-9.0, 0.0, 9.0])  # the first ReLU never fires
        >>> batch = jnp.array([[0.5, 0.5], [1.0, -1.0]]), jnp.array([0, 1])
        >>> explain(chain(dense, relu, dense), params, batch).names
        ('0 dense', '1 relu', '2 dense')
    """
    x, targets = batch
    parts = list(_leaves(module, params))
    y, kept, outputs = jnp.asarray(x), [], []
    for part, entry in parts:
        y, residuals = part.forward(entry, y)
        kept.append(residuals)
        outputs.append(y)
    value, delta = loss(y, targets)
    deltas, gradients = [], []
    for (part, _), residuals in zip(reversed(parts), reversed(kept), strict=True):
        deltas.append(_norm(delta))
        delta, grads = part.backward(residuals, delta)
        gradients.append(_norm(grads) if jax.tree.leaves(grads) else np.nan)
    return Explanation(
        float(value),
        tuple(f"{i} {part.name}" for i, (part, _) in enumerate(parts)),
        np.array([_norm(output) for output in outputs]),
        np.array(deltas[::-1]),
        np.array(gradients[::-1]),
        np.array(
            [_dead_share(part, output) for (part, _), output in zip(parts, outputs, strict=True)]
        ),
    )


def _leaves(module: Module, params: Params) -> Iterator[tuple[Module, Params]]:
    """The modules of chains within chains, in order, each with its parameters."""
    if not module.parts:
        yield module, params
        return
    for part, entry in _pairs(module.parts, params):
        yield from _leaves(part, entry)


def _norm(tree: Any) -> float:
    """Euclidean, over all leaves; scaled by the largest element, whose square might overflow."""
    values = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])
    largest = np.max(np.abs(values), initial=0.0)
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    return float(largest * np.linalg.norm(values / largest))


def _dead_share(module: Module, output: jax.Array) -> float:
    if module not in (relu, neuron):
        return np.nan
    units = 1 if module is neuron else output.shape[-1]
    fired = np.asarray(output).reshape(-1, units).any(axis=0)
    return float(1 - fired.mean())


# ---- private ------------------------------------------------------------------------------


def _step(z: jax.Array) -> jax.Array:
    """1 where z > 0, else 0."""
    return (z > 0).astype(z.dtype)


def _pairs(modules: tuple[Module, ...], params: Params) -> Iterator[tuple[Module, Params]]:
    if not isinstance(params, list | tuple) or len(params) != len(modules):
        raise LayerError(
            f"backprop.chain: params is {jax.tree.map(np.shape, params)}; wanted a list of "
            f"{len(modules)}, one entry per module"
        )
    return zip(modules, params, strict=True)


def _affine_inputs(
    name: str, params: Params, x: ArrayLike, kernel_ndim: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """x, W and b as arrays that fit."""
    if not isinstance(params, dict) or set(params) != {"kernel", "bias"}:
        raise LayerError(
            f"backprop.{name}: params is {jax.tree.map(np.shape, params)}; "
            'wanted {"kernel": array, "bias": array}'
        )
    x, kernel, bias = (jnp.asarray(a) for a in (x, params["kernel"], params["bias"]))
    if kernel.ndim != kernel_ndim or bias.shape != kernel.shape[1:]:
        raise LayerError(
            f"backprop.{name}: kernel has shape {kernel.shape} and bias {bias.shape}; wanted "
            + ("(inputs, outputs) and (outputs,)" if kernel_ndim == 2 else "(features,) and ()")
        )
    if x.ndim == 0 or x.shape[-1] != kernel.shape[0]:
        raise LayerError(
            f"backprop.{name}: x has shape {x.shape}; wanted {kernel.shape[0]} features in its "
            "last axis"
        )
    return x, kernel, bias
