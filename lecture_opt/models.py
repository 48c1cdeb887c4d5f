"""Models: a pair of pure functions around a pytree of plain dicts and lists.

`Model(init, apply)` is all a model is: `init(key)` draws the parameters, `apply(params, x)` uses
them. Modules compose as in the lecture, F(x) = f3(W3) o f2(W2) o f1(W1) (x):

- `dense`: the affine layer
- `relu`, `sigmoid`, `tanh`, `softmax`: modules without parameters; `activation` makes others
- `chain`: the composition; its parameters are a list with one entry per module
- `mlp`, `softmax_regression`, `logistic`: the lecture's models; they end in logits

`x` and the parameters must have one dtype, and the result has it too.

Example:
    >>> import jax, jax.numpy as jnp
    >>> model = chain(dense(64, 32), relu, dense(32, 10))
    >>> params = model.init(jax.random.key(0))
    >>> model.apply(params, jnp.ones((5, 64))).shape
    (5, 10)
    >>> jax.tree.map(jnp.shape, params)
    [{'bias': (32,), 'kernel': (64, 32)}, {}, {'bias': (10,), 'kernel': (32, 10)}]
"""

import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer, glorot_uniform, he_normal, zeros
from jax.typing import ArrayLike, DTypeLike

Params: TypeAlias = Any
"""A pytree of arrays, of dicts and lists where this module made it."""

glorot = glorot_uniform()
"""Uniform with variance 2 / (inputs + outputs)."""

he = he_normal()
"""Truncated normal with variance 2 / inputs, which keeps the scale of activations through relu."""


class Model(NamedTuple):
    """`init(key) -> params` and `apply(params, x) -> y`, where `x` may have any leading shape."""

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, ArrayLike], jax.Array]


class LayerError(ValueError):
    """A layer's complaint; `chain` puts its own name before it."""


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
    outputs = _positive(name, "out_features", out_features)
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
    outputs = _positive(name, "classes", classes)
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
        _check_structure(name, params, {})
        return function(_array(name, x))

    return Model(lambda _: {}, apply)


relu = activation(jax.nn.relu)
sigmoid = activation(jax.nn.sigmoid)
tanh = activation(jnp.tanh)
softmax = activation(jax.nn.softmax)
"""Over the last axis."""


def chain(*modules: Model) -> Model:
    """The composition of `modules`, the first one applied first.

    Parameters are a list with the parameters of each module. Errors of a module's shapes name
    its place: `chain[2].dense(64, 10): ...`.

    Example:
        >>> neuron = chain(dense(3, 1), sigmoid)
        >>> jax.tree.map(jnp.shape, neuron.init(jax.random.key(0)))
        [{'bias': (1,), 'kernel': (3, 1)}, {}]
    """
    for i, module in enumerate(modules):
        if not isinstance(module, Model):
            raise TypeError(
                f"chain: module {i} is {module!r}; wanted a Model (activation(function) makes one)"
            )

    def init(key: jax.Array) -> Params:
        keys = _split("chain", key, len(modules))
        return [module.init(key) for module, key in zip(modules, keys, strict=True)]

    def apply(params: Params, x: ArrayLike) -> jax.Array:
        if not isinstance(params, list | tuple) or len(params) != len(modules):
            raise LayerError(
                f"chain: params is {_describe(params)}; wanted a list of {len(modules)}, "
                "one entry per module"
            )
        y = _array("chain", x)
        for i, (module, entry) in enumerate(zip(modules, params, strict=True)):
            try:
                y = module.apply(entry, y)
            except LayerError as error:
                raise LayerError(f"chain[{i}].{error}") from None
        return y

    return Model(init, apply)


def mlp(sizes: Sequence[int], *, activation: Model = relu, dtype: DTypeLike = jnp.float32) -> Model:
    """A multilayer perceptron: dense layers with `activation` between them.

    Args:
        sizes: Features of the input, of each hidden layer and of the output, so that
            `mlp([64, 32, 10])` is `chain(dense(64, 32), relu, dense(32, 10))`.
        activation: The module between layers. Layers before a `relu` are initialised after He
            et al. (2015), others after Glorot and Bengio (2010).
        dtype: Floating dtype of the parameters.

    Example:
        >>> len(mlp([64, 64, 32, 10], activation=tanh).init(jax.random.key(0)))
        5
    """
    if not hasattr(sizes, "__len__") or len(sizes) < 2:
        raise ValueError(f"mlp: sizes is {sizes}; wanted at least an input and an output size")
    hidden_init = he if activation is relu else glorot
    modules = []
    for inputs, outputs in pairwise(sizes[:-1]):
        modules += [dense(inputs, outputs, kernel_init=hidden_init, dtype=dtype), activation]
    return chain(*modules, dense(sizes[-2], sizes[-1], dtype=dtype))


def _affine(
    name: str,
    features: int,
    outputs: tuple[int, ...],
    kernel_init: Initializer,
    bias_init: Initializer,
    dtype: DTypeLike,
) -> Model:
    """The layer x W + b with W of shape `(features, *outputs)`."""
    shape = (_positive(name, "the number of features", features), *outputs)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"{name}: dtype is {jnp.dtype(dtype)}; wanted a floating dtype")

    def init(key: jax.Array) -> Params:
        kernel_key, bias_key = _split(name, key, 2)
        matrix = (features, math.prod(outputs))  # initialisers want the two axes of a fan
        return {
            "kernel": kernel_init(kernel_key, matrix, dtype).reshape(shape),
            "bias": bias_init(bias_key, outputs, dtype),
        }

    def apply(params: Params, x: ArrayLike) -> jax.Array:
        _check_structure(name, params, {"bias": 0, "kernel": 0})
        x, kernel, bias = _array(name, x), *map(jnp.asarray, (params["kernel"], params["bias"]))
        _check_arrays(name, x, kernel, bias, shape)
        y = x @ kernel
        return y + jnp.expand_dims(bias, tuple(range(y.ndim - bias.ndim)))

    return Model(init, apply)


def _split(name: str, key: jax.Array, number: int) -> jax.Array:
    try:
        return jax.random.split(key, number)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}.init: key is {key!r}; wanted one random key, as jax.random.key(0)"
        ) from None


def _array(name: str, x: ArrayLike) -> jax.Array:
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):
        raise LayerError(f"{name}: x is a {type(x).__name__}; wanted an array of numbers") from None


def _check_structure(name: str, params: Params, wanted: dict[str, int]) -> None:
    given: Any = jax.tree.structure(params)
    if given != jax.tree.structure(wanted):
        keys = ", ".join(f'"{key}": array' for key in wanted)
        raise LayerError(f"{name}: params is {_describe(params)}; wanted {{{keys}}}")


def _check_arrays(
    name: str, x: jax.Array, kernel: jax.Array, bias: jax.Array, shape: tuple[int, ...]
) -> None:
    features, *outputs = shape
    if x.ndim == 0:
        raise LayerError(f"{name}: x is a scalar; wanted {features} features in its last axis")
    if x.shape[-1] != features:
        raise LayerError(
            f"{name}: x has {x.shape[-1]} features in its last axis (shape {x.shape}); "
            f"wanted {features}"
        )
    for key, leaf, wanted in (("kernel", kernel, shape), ("bias", bias, tuple(outputs))):
        if leaf.shape != wanted:
            raise LayerError(f'{name}: params["{key}"] has shape {leaf.shape}; wanted {wanted}')
        if leaf.dtype != x.dtype:
            raise LayerError(
                f'{name}: x is {x.dtype} and params["{key}"] is {leaf.dtype}; '
                "wanted one dtype (cast with .astype)"
            )


def _positive(function: str, argument: str, value: SupportsIndex) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{function}: {argument} is {value!r}; wanted a positive integer")
    return number


def _describe(params: Params) -> str:
    """The shapes in a tree, for messages."""
    return str(jax.tree.map(np.shape, params))
