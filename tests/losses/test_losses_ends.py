"""Numbers at the ends of what a dtype holds: values and slopes against the formulas by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lecture_opt as lo
from lecture_opt import backprop

LOG_SQRT_2_PI = 0.5 * np.log(2 * np.pi)
EPS = float(np.finfo(np.float32).eps)
HUGE = [1e30, 1e35, 3e38]


def nll(error, log_variance):
    """The formula in float64, and its slopes by the prediction and by the log-variance."""
    square = error**2 * np.exp(-log_variance)
    slope = -error * np.exp(-log_variance)
    return LOG_SQRT_2_PI + 0.5 * log_variance + 0.5 * square, slope, 0.5 - 0.5 * square


@pytest.mark.parametrize("log_variance", [-600.0, -200.0, -100.0, 0.0, 200.0])
@pytest.mark.parametrize("error", [0.0, 1e-30, -1e-30, 1e-10, 1e-3])
def test_gaussian_nll_of_any_log_variance(error, log_variance):
    def loss(predictions, log_variance):
        return lo.gaussian_nll(predictions, jnp.float32(error), log_variance=log_variance)

    arguments = jnp.float32(0), jnp.float32(log_variance)
    value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(*arguments)
    largest = float(np.finfo(np.float32).max)
    rtol = 8 * EPS + EPS * abs(log_variance)  # an exponent is rounded, and taken four times
    expected = nll(float(np.float32(error)), log_variance)
    for ours, exact in zip((value, *slopes), expected, strict=True):
        if abs(exact) < largest:
            np.testing.assert_allclose(ours, exact, rtol=rtol, atol=np.finfo(np.float32).tiny)
        else:
            assert abs(ours) == np.inf
            assert np.sign(ours) == np.sign(exact)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
@pytest.mark.parametrize("z", [0.0, 1e-5, -2.0])
def test_gaussian_nll_of_any_scale(scale, z):
    target = np.float32(z) * np.float32(scale)
    error, sigma = float(target), float(np.float32(scale))

    def loss(predictions, scale):
        return lo.gaussian_nll(predictions, target, scale)

    arguments = jnp.float32(0), jnp.float32(scale)
    value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(*arguments)
    z = error / sigma
    exact = LOG_SQRT_2_PI + np.log(sigma) + 0.5 * z**2, -z / sigma, (1 - z**2) / sigma
    np.testing.assert_allclose((value, *slopes), exact, rtol=8 * EPS)


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("labels", [[1], [[0.0, 1.0, 0.0]]], ids=["ids", "soft"])
def test_softmax_of_huge_finite_logits_is_their_distance(huge, labels):
    logits = jnp.array([[huge, 0.0, -jnp.inf]])
    value, slope = jax.jit(jax.value_and_grad(lo.softmax_cross_entropy))(logits, jnp.array(labels))
    np.testing.assert_allclose(value, np.float32(huge), rtol=EPS)
    np.testing.assert_array_equal(slope, [[1, -1, 0]])


@pytest.mark.parametrize("labels", [[1], [[0.0, 1.0]]], ids=["ids", "soft"])
def test_a_distance_past_the_largest_number_keeps_its_slope(labels):
    logits = jnp.array([[3e38, -3e38]])
    value, slope = jax.jit(jax.value_and_grad(lo.softmax_cross_entropy))(logits, jnp.array(labels))
    assert value == np.finfo(np.float32).max
    np.testing.assert_array_equal(slope, [[1, -1]])
    assert lo.softmax_cross_entropy(logits, jnp.array([0])) == 0


@pytest.mark.parametrize("huge", HUGE)
def test_sigmoid_of_huge_finite_logits_is_their_size(huge):
    for logit, label in ((huge, 0), (-huge, 1)):
        arguments = jnp.float32(logit), jnp.int32(label)
        value, slope = jax.jit(jax.value_and_grad(lo.sigmoid_cross_entropy))(*arguments)
        np.testing.assert_allclose(value, np.float32(huge), rtol=EPS)
        assert slope == np.sign(logit)


LARGE = jax.ShapeDtypeStruct((2**16, 2**15), jnp.bfloat16)
MASK = jax.ShapeDtypeStruct(LARGE.shape, bool)
BY_HAND = (backprop.squared_error, backprop.sigmoid_cross_entropy)
LOSSES = (lo.mean_squared_error, lo.mean_absolute_error, lo.gaussian_nll, lo.sigmoid_cross_entropy)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mean_of_2_31_elements_traces(loss):
    """Only shapes: nothing is allocated."""
    assert jax.eval_shape(jax.grad(loss), LARGE, LARGE).shape == LARGE.shape
    hidden = jax.eval_shape(lambda x, y, m: loss(x, y, where=m), LARGE, LARGE, MASK)
    assert hidden.shape == ()


@pytest.mark.parametrize("loss", BY_HAND)
def test_a_delta_of_2_31_elements_traces(loss):
    assert jax.eval_shape(loss, LARGE, LARGE)[1].shape == LARGE.shape


CASES = {
    "softmax": (lo.softmax_cross_entropy, [[1.0, 2.0], [0.0, -np.inf]], [0, 0]),
    "soft": (lo.softmax_cross_entropy, [[1.0, 2.0]], [[0.5, 0.5]]),
    "categorical": (lo.categorical_cross_entropy, [[0.0, 1.0]], [0]),
    "sigmoid": (lo.sigmoid_cross_entropy, [-np.inf, 0.5], [0.0, 1.0]),
    "binary": (lo.binary_cross_entropy, [0.0, 1.0, 0.5], [0.0, 1.0, 1.0]),
    "squared": (lo.mean_squared_error, [0.0, 1.0], [0.0, 2.0]),
    "absolute": (lo.mean_absolute_error, [0.0, 1.0], [0.0, 2.0]),
    "gaussian": (lo.gaussian_nll, [0.0, 1.0], [0.0, 2.0]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("disabled", [False, True])
def test_finite_losses_make_no_nan_on_the_way(case, disabled):
    loss, predictions, targets = CASES[case]
    arguments = jnp.array(predictions), jnp.array(targets)
    with jax.debug_nans(True), jax.disable_jit(disabled):
        value, slope = jax.value_and_grad(loss)(*arguments)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
