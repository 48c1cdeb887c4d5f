"""Losses of regression: minus the log-likelihood of Normal and Laplace models."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.losses import _arithmetic as arithmetic
from lecture_opt.losses import _inputs as inputs
from lecture_opt.losses._inputs import Reduction
from lecture_opt.numerics import compute_dtype

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


def mean_squared_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """(y - f)^2: minus the log-density of a Normal distribution, up to scale and a constant.

    It is 2 sigma^2 (-log N(y | f, sigma) - log(sigma sqrt(2 pi))) for any sigma, so that its
    minimum does not depend on sigma. With reduction "none" it equals `optax.squared_error`, or
    twice `optax.l2_loss`.

    Args:
        predictions: The f, floating, of any shape; the loss has their dtype.
        targets: The y, of the same shape and any real dtype.
        where: Which elements count, booleans of the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: Where a dtype is not the one above.
        ValueError: Where shapes differ; (n, 1) is not broadcast against (n,).

    Source: the lecture's slides "Regresión" and "Funciones de costo en Theano".

    Example:
        >>> import jax.numpy as jnp
        >>> mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])).item()
        2.0
    """
    arrays = _check("mean_squared_error", predictions, targets, where, reduction)
    return _squared(*arrays, reduction)


def mean_absolute_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """|y - f|: minus the log-density of a Laplace distribution of scale 1, up to log(2).

    Its gradient at y = f is 0. Arguments and errors are those of `mean_squared_error`.

    Source: the lecture's slide "Funciones de costo en Theano".

    Example:
        >>> import jax.numpy as jnp
        >>> mean_absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])).item()
        1.0
    """
    arrays = _check("mean_absolute_error", predictions, targets, where, reduction)
    return _absolute(*arrays, reduction)


def gaussian_nll(
    predictions: ArrayLike,
    targets: ArrayLike,
    scale: ArrayLike = 1.0,
    *,
    log_variance: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Minus the log-density of a Normal distribution of mean f and standard deviation sigma.

    -log N(y | f, sigma) = log(sigma sqrt(2 pi)) + (y - f)^2 / (2 sigma^2), differentiable in f and
    in sigma, which is `scale`, or exp(log_variance / 2) where `log_variance` is given instead.
    Either is a scalar or has the shape of `predictions`, and the unit of `scale` is theirs. The
    other arguments are those of `mean_squared_error`.

    Raises:
        TypeError: Where a dtype is not real.
        ValueError: Where shapes do not fit, both spreads are given, or, where values are known,
            `scale` is not positive. Traced, that scale gives NaN.

    Source: the lecture's slide "Regresión".

    Example:
        >>> print(f"{gaussian_nll(1.0, 3.0, scale=2.0):.4f}")  # log(2 sqrt(2 pi)) + 1/2
        2.1121
    """
    name = "gaussian_nll"
    x, y, mask = _check(name, predictions, targets, where, reduction)
    if log_variance is None:
        sigma = _check_spread(name, "scale", scale, x)
        _check_positive(name, scale, where)
        return _normal(x, y, sigma, mask, reduction)
    if is_given(scale):
        raise ValueError(f"{name}: both scale and log_variance are given; wanted one")
    return _normal_log(x, y, _check_spread(name, "log_variance", log_variance, x), mask, reduction)


def is_given(scale: ArrayLike) -> bool:
    """Whether `scale` differs from its default."""
    return not (isinstance(scale, float) and scale == 1.0)


@partial(jax.jit, static_argnames="reduction")
def _squared(x: jax.Array, y: jax.Array, mask: jax.Array | None, reduction: Reduction) -> jax.Array:
    return arithmetic.reduce(_error(x, y, mask) ** 2, reduction, mask, None, x.dtype)


@partial(jax.jit, static_argnames="reduction")
def _absolute(
    x: jax.Array, y: jax.Array, mask: jax.Array | None, reduction: Reduction
) -> jax.Array:
    error = _error(x, y, mask)
    loss = jnp.sign(error) * error  # the gradient of jnp.abs at 0 is 1
    return arithmetic.reduce(loss, reduction, mask, None, x.dtype)


@partial(jax.jit, static_argnames="reduction")
def _normal(
    x: jax.Array, y: jax.Array, sigma: jax.Array, mask: jax.Array | None, reduction: Reduction
) -> jax.Array:
    error = _error(x, y, mask)
    sigma = _spread(sigma, error, mask, 1)
    loss = LOG_SQRT_2_PI + jnp.log(sigma) + 0.5 * arithmetic.quotient(error, sigma) ** 2
    return arithmetic.reduce(loss, reduction, mask, None, x.dtype)


@partial(jax.jit, static_argnames="reduction")
def _normal_log(
    x: jax.Array,
    y: jax.Array,
    log_variance: jax.Array,
    mask: jax.Array | None,
    reduction: Reduction,
) -> jax.Array:
    error = _error(x, y, mask)
    log_sigma = 0.5 * _spread(log_variance, error, mask, 0)
    loss = LOG_SQRT_2_PI + log_sigma + 0.5 * arithmetic.quotient_of_log(error, log_sigma) ** 2
    return arithmetic.reduce(loss, reduction, mask, None, x.dtype)


def _error(x: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The error y - x in the dtype to compute in, with 0 where it is hidden."""
    working = compute_dtype(x.dtype)
    x, y = (arithmetic.hide(a.astype(working), mask, 0) for a in (x, y))
    return y - x


def _spread(value: jax.Array, error: jax.Array, mask: jax.Array | None, fill: float) -> jax.Array:
    return arithmetic.hide(jnp.broadcast_to(value.astype(error.dtype), error.shape), mask, fill)


def _check(
    name: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    where: ArrayLike | None,
    reduction: Reduction,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    inputs.check_reduction(name, reduction)
    x = inputs.floating(name, "predictions", predictions)
    y = inputs.matching(name, "targets", targets, "predictions", x)
    return x, y, inputs.visible(name, where, x.shape)


def _check_spread(name: str, argument: str, value: ArrayLike, x: jax.Array) -> jax.Array:
    spread = inputs.real(name, argument, value)
    if spread.shape not in ((), x.shape):
        raise ValueError(
            f"{name}: {argument} has shape {spread.shape} and predictions has shape {x.shape}; "
            "wanted a scalar or equal shapes"
        )
    return spread


def _check_positive(name: str, scale: ArrayLike, where: ArrayLike | None) -> None:
    if inputs.readable(scale, where):
        values = inputs.shown(scale, where if np.ndim(scale) else None)
        bad = values[values <= 0]
        if bad.size:
            raise ValueError(f"{name}: scale contains {bad[0]}; wanted positive values")
