"""Squared and absolute error, and minus the log-density of a Normal distribution."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lecture_opt.losses import gaussian_nll, mean_absolute_error, mean_squared_error

B = 5
RNG = np.random.default_rng(0)
PREDICTIONS, TARGETS = RNG.normal(size=(2, B, 2))
SCALES = RNG.uniform(0.5, 2, size=(B, 2))
EPS = np.finfo(np.float64).eps
EPS32 = np.finfo(np.float32).eps
none = {"reduction": "none"}


def test_squared_error_is_the_normal_log_density_less_a_constant(x64):
    given_ = mean_squared_error(PREDICTIONS, TARGETS, **none)
    for sigma in (np.sqrt(0.5), 1.0, 3.0):
        nll = -scipy.stats.norm.logpdf(TARGETS, PREDICTIONS, sigma)
        expected = 2 * sigma**2 * (nll - np.log(sigma * np.sqrt(2 * np.pi)))
        np.testing.assert_allclose(given_, expected, rtol=8 * EPS, atol=16 * sigma**2 * EPS)


def test_absolute_error_is_the_laplace_log_density_less_log_2(x64):
    expected = -scipy.stats.laplace.logpdf(TARGETS, PREDICTIONS) - np.log(2)
    given_ = mean_absolute_error(PREDICTIONS, TARGETS, **none)
    np.testing.assert_allclose(given_, expected, atol=8 * EPS)


@pytest.mark.parametrize("scale", [1.0, 0.3, 7, np.float32(2.5), SCALES])
def test_gaussian_nll_is_minus_the_normal_log_density(x64, scale):
    expected = -scipy.stats.norm.logpdf(TARGETS, PREDICTIONS, np.float64(scale))
    by_scale = gaussian_nll(PREDICTIONS, TARGETS, scale, **none)
    # Terms of order one may cancel: their rounding stays.
    np.testing.assert_allclose(by_scale, expected, rtol=8 * EPS, atol=8 * EPS)
    by_variance = gaussian_nll(
        PREDICTIONS, TARGETS, log_variance=2 * np.log(np.float64(scale)), **none
    )
    np.testing.assert_allclose(by_variance, expected, rtol=16 * EPS, atol=8 * EPS)


def test_the_default_scale_is_1(x64):
    expected = gaussian_nll(PREDICTIONS, TARGETS, np.ones((B, 2)))
    np.testing.assert_allclose(gaussian_nll(PREDICTIONS, TARGETS), expected, rtol=4 * EPS)


@pytest.mark.parametrize("spread", [1.7, SCALES], ids=["scalar", "array"])
def test_gradients_of_the_spread_are_kept(x64, spread):
    squares = (TARGETS - PREDICTIONS) ** 2

    def total(x):
        return np.sum(x) if np.ndim(spread) == 0 else x

    f = functools.partial(gaussian_nll, PREDICTIONS, TARGETS, reduction="sum")
    by_scale = jax.grad(f)(jnp.asarray(spread))
    expected = total(1 / spread - squares / spread**3)
    np.testing.assert_allclose(by_scale, expected, rtol=16 * EPS, atol=16 * EPS)
    by_variance = jax.grad(lambda v: f(log_variance=v))(2 * jnp.log(jnp.asarray(spread)))
    expected = total(0.5 - 0.5 * squares / spread**2)
    np.testing.assert_allclose(by_variance, expected, rtol=16 * EPS, atol=16 * EPS)


def test_the_spread_that_minimises_is_the_standard_deviation(x64):
    residuals = TARGETS - TARGETS.mean()
    slope = jax.grad(lambda s: gaussian_nll(np.zeros((B, 2)), residuals, s))(residuals.std())
    np.testing.assert_allclose(slope, 0, atol=16 * EPS)


def test_spreads_behind_where_leave_no_trace(x64):
    mask = np.arange(2 * B).reshape(B, 2) % 3 > 0

    def masked(x, s):
        return gaussian_nll(x, TARGETS, s, where=mask)

    def masked_log(x, v):
        return gaussian_nll(x, TARGETS, log_variance=v, where=mask)

    x = jnp.where(mask, PREDICTIONS, jnp.nan)
    for f, spread in ((masked, SCALES), (masked_log, np.log(SCALES))):
        clean = jax.jit(jax.value_and_grad(f, (0, 1)))(jnp.asarray(PREDICTIONS), spread)
        for junk in (np.nan, np.inf, -np.inf, 0.0, -1.0):
            dirty = jnp.where(mask, spread, junk)
            value, gradients = jax.value_and_grad(f, (0, 1))(x, dirty)
            np.testing.assert_allclose(value, clean[0], rtol=4 * EPS)
            for given_, expected in zip(gradients, clean[1], strict=True):
                np.testing.assert_allclose(given_, expected, rtol=4 * EPS)
                np.testing.assert_array_equal(given_[~mask], 0)


def test_scalar_spreads_go_with_where(x64):
    mask = np.arange(2 * B).reshape(B, 2) % 3 > 0
    expected = -scipy.stats.norm.logpdf(TARGETS, PREDICTIONS, 2.0)[mask].mean()
    given_ = gaussian_nll(PREDICTIONS, TARGETS, 2.0, where=mask)
    np.testing.assert_allclose(given_, expected, rtol=8 * EPS)
    given_ = gaussian_nll(PREDICTIONS, TARGETS, log_variance=2 * np.log(2.0), where=mask)
    np.testing.assert_allclose(given_, expected, rtol=8 * EPS)


@pytest.mark.parametrize("bad", [0.0, -1.5])
def test_scales_that_are_not_positive_raise_or_give_nan(bad):
    scales = SCALES.copy()
    scales[1, 0] = bad
    for scale in (scales, bad):
        with pytest.raises(
            ValueError, match=f"gaussian_nll: scale contains {bad}; wanted positive"
        ):
            gaussian_nll(PREDICTIONS, TARGETS, scale)
    f = jax.jit(functools.partial(gaussian_nll, reduction="none"))
    wrong = np.zeros((B, 2), bool)
    wrong[1, 0] = True
    np.testing.assert_array_equal(np.isnan(f(PREDICTIONS, TARGETS, scales)), wrong)


def test_spreads_must_fit():
    for argument in ("scale", "log_variance"):
        for shape in ((2,), (B,), (1, 1), (B, 1)):
            message = f"gaussian_nll: {argument} has shape {shape} and predictions has shape (5, 2)"
            with pytest.raises(ValueError, match=re.escape(message)):
                gaussian_nll(PREDICTIONS, TARGETS, **{argument: np.ones(shape)})
        with pytest.raises(TypeError, match=f"gaussian_nll: {argument} has dtype complex64"):
            gaussian_nll(PREDICTIONS, TARGETS, **{argument: 1j})
    for scale in (2.0, 1, SCALES):
        with pytest.raises(ValueError, match="both scale and log_variance are given"):
            gaussian_nll(PREDICTIONS, TARGETS, scale, log_variance=0.0)


def test_spreads_of_any_dtype_are_taken():
    x, y = jnp.asarray(PREDICTIONS, jnp.bfloat16), jnp.asarray(TARGETS, jnp.float16)
    assert gaussian_nll(x, y, 2).dtype == jnp.bfloat16
    assert gaussian_nll(x, y, jnp.asarray(SCALES)).dtype == jnp.bfloat16
    assert gaussian_nll(x, y, log_variance=jnp.float16(0.5)).dtype == jnp.bfloat16


def test_errors_are_what_optax_gives(x64):
    x, y = jnp.asarray(PREDICTIONS), jnp.asarray(TARGETS)
    squared = mean_squared_error(x, y, **none)
    np.testing.assert_allclose(squared, optax.squared_error(x, y), rtol=4 * EPS)
    np.testing.assert_allclose(squared, 2 * optax.l2_loss(x, y), rtol=4 * EPS)


def test_the_gradient_of_the_absolute_error_at_its_minimum_is_0():
    gradient = jax.grad(mean_absolute_error)(jnp.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0]))
    np.testing.assert_allclose(gradient, [0, -1 / 3, 1 / 3], rtol=EPS32)


@pytest.mark.parametrize("loss", [mean_squared_error, mean_absolute_error, gaussian_nll])
def test_targets_are_not_rounded_to_the_dtype_of_the_predictions(loss):
    prediction, target = jnp.bfloat16(1.0), jnp.float32(1.001)  # bfloat16(1.001) is 1
    expected = loss(np.float32(1.0), target)
    assert loss(prediction, target) == expected.astype(jnp.bfloat16)
    assert jax.grad(loss)(prediction, target) < 0


@pytest.mark.parametrize("loss", [mean_squared_error, mean_absolute_error, gaussian_nll])
def test_integer_targets_and_scalars_are_taken(loss):
    assert loss(1.0, 3) == loss(1.0, 3.0)
    assert loss(np.float32(1.0), True) == loss(1.0, 1.0)


numbers = arrays(np.float32, 6, elements=st.floats(-1e3, 1e3, width=32))


@given(numbers, numbers, arrays(np.bool_, 6))
def test_errors_are_those_of_numpy_under_any_mask(predictions, targets, mask):
    difference = (targets - predictions.astype(float))[mask]
    squared, absolute = _masked_errors(predictions, targets, mask)
    count = max(mask.sum(), 1)
    # A square below the smallest normal float32 may be flushed to 0.
    tolerance = {"rtol": 8 * EPS32, "atol": np.finfo(np.float32).tiny}
    np.testing.assert_allclose(squared, (difference**2).sum() / count, **tolerance)
    np.testing.assert_allclose(absolute, abs(difference).sum() / count, **tolerance)


@jax.jit
def _masked_errors(predictions, targets, mask):
    return [f(predictions, targets, where=mask) for f in (mean_squared_error, mean_absolute_error)]
