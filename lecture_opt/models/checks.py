"""Checks of what a layer is given: each raises an error that names the layer and the argument."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.numerics import PyTree

T = TypeVar("T")
Params: TypeAlias = PyTree
"""A pytree of arrays, of dicts and lists where this package made it."""


class LayerError(ValueError):
    """What a layer was given does not fit; `chain` puts its own name before the message."""


def split(name: str, key: jax.Array, number: int) -> jax.Array:
    """Split the one key that an init is given."""
    try:
        return jax.random.split(key, number)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}.init: key is {key!r}; wanted one random key, as jax.random.key(0)"
        ) from None


def as_array(name: str, x: ArrayLike) -> jax.Array:
    """Return `x` as an array; it must hold numbers."""
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):
        raise LayerError(f"{name}: x is a {type(x).__name__}; wanted an array of numbers") from None


def check_structure(name: str, params: Params, wanted: dict[str, int]) -> None:
    """Raise unless `params` is a dict with the keys of `wanted` and one array for each."""
    given: Any = jax.tree.structure(params)
    if given != jax.tree.structure(wanted):
        keys = ", ".join(f'"{key}": array' for key in wanted)
        raise LayerError(f"{name}: params is {shapes(params)}; wanted {{{keys}}}")


def entries(name: str, modules: Sequence[T], params: Params) -> Iterator[tuple[T, Params]]:
    """Each module of a chain with its entry of `params`, which must be a list of that length."""
    if not isinstance(params, list | tuple) or len(params) != len(modules):
        raise LayerError(
            f"{name}: params is {shapes(params)}; wanted a list of {len(modules)}, "
            "one entry per module"
        )
    return zip(modules, params, strict=True)


def check_shapes(
    name: str, x: jax.Array, kernel: jax.Array, bias: jax.Array, shape: tuple[int, ...]
) -> None:
    """Raise unless the kernel has `shape`, and x and the bias have shapes that fit it."""
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


def positive(function: str, argument: str, value: SupportsIndex) -> int:
    """Return `value` as an integer; it must be positive."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{function}: {argument} is {value!r}; wanted a positive integer")
    return number


def shapes(params: Params) -> str:
    """The shapes in a tree, for messages."""
    return str(jax.tree.map(np.shape, params))
