"""Cross-entropy of a Bernoulli distribution, from probabilities and from logits."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from compiled import values_and_gradient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lecture_opt.losses import (
    binary_cross_entropy,
    categorical_cross_entropy,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)

B = 6
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=B)
PROBS = scipy.special.expit(LOGITS)
TARGETS = np.array([0, 1, 1, 0, 0, 1])
SOFT = RNG.uniform(size=B)
WEIGHTS = np.array([0.5, 3.0])
EPS = np.finfo(np.float64).eps
EPS32 = np.finfo(np.float32).eps
none = {"reduction": "none"}
both = pytest.mark.parametrize(
    ("loss", "scores"), [(binary_cross_entropy, PROBS), (sigmoid_cross_entropy, LOGITS)]
)
every_dtype = pytest.mark.parametrize(
    "dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]
)


@both
def test_it_is_minus_the_log_density_of_a_bernoulli_distribution(x64, loss, scores):
    expected = -scipy.stats.bernoulli.logpmf(TARGETS, PROBS)
    for labels in (TARGETS, TARGETS.astype(bool), TARGETS.astype(np.uint8), TARGETS * 1.0):
        np.testing.assert_allclose(loss(scores, labels, **none), expected, rtol=8 * EPS)


@both
def test_it_is_the_slide_s_formula(x64, loss, scores):
    for y in (TARGETS, SOFT):
        expected = -y * np.log(PROBS) - (1 - y) * np.log(1 - PROBS)
        np.testing.assert_allclose(loss(scores, y), expected.mean(), rtol=8 * EPS)


def test_it_is_the_categorical_loss_of_two_classes(x64):
    two = functools.partial(np.stack, axis=-1)
    mask = np.arange(B) != 2
    options = {"where": mask, "class_weights": WEIGHTS, "label_smoothing": 0.2}

    @jax.jit
    def each_reduction(y, pairs):
        def of(loss, x, y):
            return [loss(x, y, reduction=r, **options) for r in ("none", "sum", "mean")]

        return (
            of(binary_cross_entropy, PROBS, y) + of(sigmoid_cross_entropy, LOGITS, y),
            of(categorical_cross_entropy, two([1 - PROBS, PROBS]), pairs)
            + of(softmax_cross_entropy, two([np.zeros(B), LOGITS]), pairs),
        )

    for y in (TARGETS, SOFT):
        pairs = y if y is TARGETS else two([1 - y, y])
        for given_, wanted in zip(*each_reduction(y, pairs), strict=True):
            np.testing.assert_allclose(given_, wanted, rtol=16 * EPS)


@both
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_weights_and_smoothing_are_those_of_the_formula(x64, loss, scores, smoothing):
    p = (1 - smoothing) * SOFT + smoothing / 2
    positive, negative = p * np.log(PROBS), (1 - p) * np.log(1 - PROBS)
    plain = loss(scores, SOFT, label_smoothing=smoothing, **none)
    np.testing.assert_allclose(plain, -(positive + negative), rtol=8 * EPS)
    options = {"class_weights": WEIGHTS, "label_smoothing": smoothing}
    weighted = -(WEIGHTS[1] * positive + WEIGHTS[0] * negative)
    np.testing.assert_allclose(loss(scores, SOFT, **none, **options), weighted, rtol=8 * EPS)
    weight = WEIGHTS[1] * p + WEIGHTS[0] * (1 - p)
    np.testing.assert_allclose(
        loss(scores, SOFT, **options), weighted.sum() / weight.sum(), rtol=8 * EPS
    )


def test_logits_give_what_optax_gives(x64):
    for y in (TARGETS * 1.0, SOFT):
        expected = optax.sigmoid_binary_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(y))
        given_ = sigmoid_cross_entropy(LOGITS, y, **none)
        np.testing.assert_allclose(given_, expected, rtol=8 * EPS)


@every_dtype
def test_probabilities_of_0_and_1_give_finite_values_and_gradients(x64, dtype):
    tiny, rtol = float(jnp.finfo(dtype).tiny), 4 * float(jnp.finfo(dtype).eps)
    probs, labels = jnp.array([0, 0, 1, 1], dtype), np.array([0.0, 1.0, 0.0, 1.0])
    value, gradient = values_and_gradient(binary_cross_entropy)(probs, labels)
    worst = 1 - np.log(tiny)
    np.testing.assert_allclose(value, [0, worst, worst, 0], rtol=rtol)
    np.testing.assert_allclose(gradient, [1, -1 / tiny, 1 / tiny, -1], rtol=rtol)
    _, gradient = values_and_gradient(binary_cross_entropy)(probs, np.full(4, 0.5))
    assert np.isfinite(gradient).all()


@every_dtype
def test_logits_of_10_000_give_finite_and_right_values_and_gradients(x64, dtype):
    logits, labels = jnp.array([1e4, 1e4, -1e4, -1e4], dtype), np.array([0.0, 1.0, 0.0, 1.0])
    size = float(logits[0])
    value, gradient = values_and_gradient(sigmoid_cross_entropy)(logits, labels)
    np.testing.assert_array_equal(value, [size, 0, 0, size])
    np.testing.assert_array_equal(gradient, [1, 0, 0, -1])


def test_second_derivatives_at_extremes_are_finite():
    for loss, x in (
        (sigmoid_cross_entropy, [1e4, -1e4, 1e4, -1e4, 0]),
        (binary_cross_entropy, [1.0, 0.0, 1.0, 0.0, 0.5]),
    ):
        labels = np.array([0, 0, 1, 1, 1])
        second = jax.jit(jax.hessian(lambda x, loss=loss, y=labels: loss(x, y)))
        assert np.isfinite(second(jnp.asarray(x))).all()


def test_infinite_logits_cost_nothing_when_right():
    logits, labels = np.array([np.inf, -np.inf]), np.array([1, 0])
    assert sigmoid_cross_entropy(logits, labels) == 0
    value, gradient = values_and_gradient(sigmoid_cross_entropy)(logits, labels)
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_small_probabilities_keep_their_digits():
    tiny_probs = np.float32([1e-10, 3e-20, 1e-30])
    given_ = binary_cross_entropy(tiny_probs, np.zeros(3, int), **none)
    np.testing.assert_allclose(given_, tiny_probs, rtol=2 * EPS32)


@every_dtype
def test_the_two_forms_agree_where_both_are_exact(x64, dtype):
    logits = jnp.asarray([-1.5, -0.25, 0.0, 2.0], dtype)
    probs = scipy.special.expit(np.asarray(logits, float))
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    from_logits, _ = values_and_gradient(sigmoid_cross_entropy)(logits, labels)
    from_probs, _ = values_and_gradient(binary_cross_entropy)(jnp.asarray(probs, dtype), labels)
    # a rounded q is off by eps q / 2, log(1 - q) by q / (1 - q) of that: 7.4 for the last
    rtol = 8 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(from_logits, from_probs, rtol=rtol)


def test_gradients_through_sigmoid_agree(x64):
    through = jax.jit(jax.grad(lambda z: binary_cross_entropy(jax.nn.sigmoid(z), SOFT)))
    direct = jax.jit(jax.grad(lambda z: sigmoid_cross_entropy(z, SOFT)))
    z = jnp.asarray(LOGITS)
    np.testing.assert_allclose(through(z), direct(z), atol=8 * EPS)
    np.testing.assert_allclose(direct(z), (PROBS - SOFT) / B, atol=8 * EPS)


@both
@pytest.mark.parametrize("bad", [-1, 2, 1.5, -0.25])
def test_labels_out_of_range_raise_or_give_nan(loss, scores, bad):
    labels = TARGETS.astype(type(bad))
    labels[1] = bad
    with pytest.raises(
        ValueError, match=f"{loss.__name__}: labels contains {bad}; wanted .*0 to 1"
    ):
        loss(scores, labels)
    expected = np.arange(B) == 1
    value, gradient = values_and_gradient(loss)(scores, labels)
    np.testing.assert_array_equal(np.isnan(value), expected)
    np.testing.assert_array_equal(np.isnan(gradient), expected)
    for transform in (lambda f: f, jax.jit):
        given_ = transform(loss)(scores, labels, where=~expected)
        np.testing.assert_allclose(given_, value[~expected].mean(), rtol=4 * EPS32)


@pytest.mark.parametrize("bad", [1.5, -0.25])
def test_logits_given_as_probabilities_are_told(bad):
    probs = PROBS.copy()
    probs[1] = bad
    message = re.escape(
        f"binary_cross_entropy: probs contains {bad}; wanted values from 0 to 1 "
        "(these look like logits; use sigmoid_cross_entropy)"
    )
    with pytest.raises(ValueError, match=message):
        binary_cross_entropy(probs, TARGETS)
    for labels in (TARGETS, 1 - TARGETS):
        value, gradient = values_and_gradient(binary_cross_entropy)(probs, labels)
        np.testing.assert_array_equal(np.isnan(value), np.arange(B) == 1)
        np.testing.assert_array_equal(np.isnan(gradient), np.arange(B) == 1)


@pytest.mark.parametrize("loss", [binary_cross_entropy, sigmoid_cross_entropy])
def test_values_out_of_range_by_0_01_are_taken_and_by_more_are_not(x64, loss):
    near, far = np.array([-0.01, 1.01, 0.5, 0.5]), np.array([-0.0101, 1.0101, 0.5, 0.5])
    inside = np.array([0.0, 1.0, 0.0, 1.0])
    # as labels, and as probabilities
    arguments = [lambda p: (inside, p)]
    if loss is binary_cross_entropy:
        arguments.append(lambda p: (p, inside))
    for pair in arguments:
        assert np.isfinite(loss(*pair(near)))
        assert np.isfinite(values_and_gradient(loss)(*pair(near))[0]).all()
        for x in far[:2]:
            with pytest.raises(ValueError, match=f"contains {x}; wanted values from 0 to 1"):
                loss(*pair(np.full(4, x)))
        value, _ = values_and_gradient(loss)(*pair(far))
        np.testing.assert_array_equal(np.isnan(value), [True, True, False, False])


@every_dtype
def test_probabilities_rounded_out_of_range_count_as_0_and_1_and_keep_gradients(x64, dtype):
    eps = float(jnp.finfo(dtype).eps)
    rounded, exact = (jnp.array(x, dtype) for x in ([1 + eps, -eps] * 2, [1, 0, 1, 0]))
    labels = np.array([1.0, 0.0, 0.0, 1.0])
    f = values_and_gradient(binary_cross_entropy)
    for given_, wanted in zip(f(rounded, labels), f(exact, labels), strict=True):
        np.testing.assert_array_equal(given_, wanted)


@both
def test_class_weights_are_two(loss, scores):
    with pytest.raises(
        ValueError, match=rf"{loss.__name__}: class_weights has shape \(6,\).*\(2,\)"
    ):
        loss(scores, TARGETS, class_weights=np.ones(B))
    with pytest.raises(ValueError, match=rf"{loss.__name__}: label_smoothing is -0\.5"):
        loss(scores, TARGETS, label_smoothing=-0.5)


@both
def test_scalars_are_taken(loss, scores):
    expected = loss(scores, TARGETS, **none)
    np.testing.assert_allclose(loss(scores[1], 1), expected[1], rtol=4 * EPS32)
    np.testing.assert_allclose(loss(float(scores[0]), False), expected[0], rtol=4 * EPS32)


@given(
    arrays(np.float32, 8, elements=st.floats(0, 1, width=32)),
    arrays(np.float32, 8, elements=st.floats(0, 1, width=32)),
)
def test_any_probabilities_and_labels_give_finite_values_and_gradients(probs, labels):
    value, gradient = values_and_gradient(binary_cross_entropy)(probs, labels)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    # at its own probability a label's loss is least: the gradient points there
    towards = np.sign(probs.astype(float) - labels)
    apart = abs(probs.astype(float) - labels) > 8 * EPS32
    np.testing.assert_array_equal(np.sign(gradient)[apart], towards[apart])


@given(arrays(np.float32, 8, elements=st.floats(-1e4, 1e4, width=32)))
def test_logits_of_any_size_give_the_exact_loss(logits):
    for label in (0, 1):
        value, _ = values_and_gradient(sigmoid_cross_entropy)(logits, np.full(8, label))
        exact = np.logaddexp(0, (1 - 2 * label) * logits.astype(float))
        np.testing.assert_allclose(value, exact, rtol=4 * EPS32, atol=np.finfo(np.float32).tiny)
