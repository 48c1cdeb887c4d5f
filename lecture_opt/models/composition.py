"""The composition of modules, and the multilayer perceptron."""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from lecture_opt.models.checks import LayerError, Params, as_array, entries, split
from lecture_opt.models.layers import Model, dense, glorot, he, rectifies, relu


def chain(*modules: Model) -> Model:
    """The composition of `modules`, the first one applied first.

    Parameters are a list with the parameters of each module. Errors of a module's shapes name
    its place: `chain[2].dense(64, 10): ...`.

    Example:
        >>> from lecture_opt.models import sigmoid
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
        keys = split("chain", key, len(modules))
        return [module.init(key) for module, key in zip(modules, keys, strict=True)]

    def apply(params: Params, x: ArrayLike) -> jax.Array:
        pairs, y = entries("chain", modules, params), as_array("chain", x)
        for i, (module, entry) in enumerate(pairs):
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
        activation: The module between layers. Layers before one that gives max(z, 0) are
            initialised after He et al. (2015), others after Glorot and Bengio (2010).
        dtype: Floating dtype of the parameters.

    Example:
        >>> from lecture_opt.models import tanh
        >>> len(mlp([64, 64, 32, 10], activation=tanh).init(jax.random.key(0)))
        5
    """
    if not isinstance(activation, Model):
        raise TypeError(
            f"mlp: activation is {activation!r}; wanted a Model (activation(function) makes one)"
        )
    if not hasattr(sizes, "__len__") or len(sizes) < 2:
        raise ValueError(f"mlp: sizes is {sizes}; wanted at least an input and an output size")

    # Told when parameters are first drawn: a model can be made before JAX has its devices.
    is_relu = functools.cache(lambda: rectifies(activation, dtype))

    def hidden_init(*arguments: Any, **options: Any) -> jax.Array:
        return (he if is_relu() else glorot)(*arguments, **options)

    modules = []
    for inputs, outputs in pairwise(sizes[:-1]):
        modules += [dense(inputs, outputs, kernel_init=hidden_init, dtype=dtype), activation]
    return chain(*modules, dense(sizes[-2], sizes[-1], dtype=dtype))
