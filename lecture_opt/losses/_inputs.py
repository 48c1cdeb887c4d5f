"""Checks of a loss's arguments: each raises before any work, naming function and argument.

Shapes and dtypes are always checked, values where they are known, that is, not traced.
"""

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.losses._arithmetic import TOLERANCE
from lecture_opt.numerics import check_integers, known, native

Reduction: TypeAlias = Literal["mean", "sum", "none"]


class CrossEntropyArguments(NamedTuple):
    """The checked arguments of a cross-entropy; None stands for an argument left out."""

    scores: jax.Array
    labels: jax.Array
    mask: jax.Array | None
    class_weights: jax.Array | None
    label_smoothing: jax.Array | None


def check_reduction(name: str, reduction: str) -> None:
    """Raise unless `reduction` is one of `Reduction`."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"{name}: reduction is {reduction!r}; wanted one of {get_args(Reduction)}")


def array(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """Return `value` as an array; it must hold numbers. JAX may cut its integers: see `whole`."""
    try:
        return jnp.asarray(native(value))
    except OverflowError:  # Python integers past 32 bits
        return array(name, argument, np.asarray(value))
    except (TypeError, ValueError):
        dtype = getattr(value, "dtype", None)
        given = type(value).__name__ + (f" of dtype {dtype}" if dtype else "")
        raise TypeError(f"{name}: {argument} is a {given}; wanted an array of numbers") from None


def whole(name: str, argument: str, value: ArrayLike) -> None:
    """Raise where an integer of `value` does not fit the dtype that JAX gives it."""
    if known(value):
        check_integers(f"{name}: {argument}", value)


def floating(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """Return `value` as an array; it must hold real floating-point numbers."""
    x = array(name, argument, value)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"{name}: {argument} has dtype {x.dtype} and shape {x.shape}; wanted a floating dtype"
        )
    return x


def real(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """Return `value` as an array; it must not be complex."""
    x = array(name, argument, value)
    whole(name, argument, value)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: {argument} has dtype {x.dtype}; wanted real numbers")
    return x


def matching(name: str, argument: str, value: ArrayLike, other: str, x: jax.Array) -> jax.Array:
    """Return `value` as an array; it must be real and have the shape of `x`."""
    y = real(name, argument, value)
    if y.shape != x.shape:
        raise ValueError(
            f"{name}: {argument} has shape {y.shape} and {other} has shape {x.shape}; "
            "wanted equal shapes"
        )
    return y


def visible(name: str, where: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Return `where` as an array; it must be boolean and have the shape of the loss per example."""
    if where is None:
        return None
    mask = jnp.asarray(where)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{name}: where has dtype {mask.dtype}; wanted bool (True counts)")
    if mask.shape != shape:
        raise ValueError(
            f"{name}: where has shape {mask.shape}; wanted {shape}, that of the loss per example"
        )
    return mask


def readable(*values: Any) -> bool:
    """Whether the values can be read here: not traced, and not spread over other processes."""
    return known(*values) and all(
        leaf.is_fully_addressable or leaf.is_fully_replicated
        for leaf in jax.tree.leaves(values)
        if isinstance(leaf, jax.Array)
    )


def shown(value: ArrayLike, where: ArrayLike | None, axis: int | None = None) -> Any:
    """Return a known `value` in NumPy, `axis` moved last, without what a known `where` hides."""
    array = np.asarray(value) if axis is None else np.moveaxis(np.asarray(value), axis, -1)
    return array if where is None else array[np.asarray(where)]


def check_probabilities(name: str, argument: str, values: Any, hint: str = "") -> None:
    """Raise where a probability leaves [0, 1]. NaN passes: divergence is a value, not an error."""
    bad = values[(values < -TOLERANCE) | (values > 1 + TOLERANCE)]
    if bad.size:
        raise ValueError(f"{name}: {argument} contains {bad[0]}; wanted values from 0 to 1{hint}")


def check_order(name: str, probs: Any, labels: Any) -> None:
    """Raise where the values show that labels came first, as on the slide.

    Labels are mostly 0 or 1; what a softmax or a sigmoid gives hardly ever is.
    """
    if probs.size and np.all((probs == 0) | (probs == 1)) and np.all((labels > 0) & (labels < 1)):
        raise ValueError(
            f"{name}: probs are 0 and 1 only, and labels are not; wanted predictions first, "
            "then labels"
        )


def weights(name: str, class_weights: ArrayLike | None, classes: int) -> jax.Array | None:
    """Return `class_weights` as an array: one finite weight per class, at least 0."""
    if class_weights is None:
        return None
    w = real(name, "class_weights", class_weights)
    if w.shape != (classes,):
        raise ValueError(
            f"{name}: class_weights has shape {w.shape}; wanted {(classes,)}, one per class"
        )
    if readable(class_weights):
        values = np.asarray(class_weights)
        bad = values[~((values >= 0) & (values < np.inf))]
        if bad.size:
            raise ValueError(f"{name}: class_weights contains {bad[0]}; wanted finite, at least 0")
    return w


def smoothing(name: str, label_smoothing: ArrayLike) -> jax.Array | None:
    """Return `label_smoothing` as an array, a scalar from 0 to 1; None where it is known as 0."""
    s = real(name, "label_smoothing", label_smoothing)
    if s.shape != ():
        raise ValueError(f"{name}: label_smoothing has shape {s.shape}; wanted a scalar")
    if not readable(label_smoothing):
        return s
    value = float(np.asarray(label_smoothing))  # s itself is traced under jit
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: label_smoothing is {value}; wanted from 0 to 1")
    return None if value == 0 else s
