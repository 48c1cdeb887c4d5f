"""Cross-entropy of a categorical distribution, from probabilities and from logits."""

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

from lecture_opt import losses
from lecture_opt.losses import categorical_cross_entropy, softmax_cross_entropy

B, C = 5, 3
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(B, C))
PROBS = scipy.special.softmax(LOGITS, axis=-1)
IDS = np.array([0, 2, 1, 2, 0])
ONE_HOT = np.eye(C)[IDS]
SOFT = RNG.dirichlet(np.ones(C), size=B)
WEIGHTS = np.array([0.5, 2.0, 3.0])
LABELS = {"ids": IDS, "one_hot": ONE_HOT, "soft": SOFT}
EPS = np.finfo(np.float64).eps
EPS32 = np.finfo(np.float32).eps
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)
both = pytest.mark.parametrize(
    ("loss", "scores"), [(categorical_cross_entropy, PROBS), (softmax_cross_entropy, LOGITS)]
)
every_label = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
none = {"reduction": "none"}


def transcription(labels, weights, smoothing, mask=None):
    """sum_i -w p log q and sum_i w p of the module's data, in NumPy, where p is smoothed."""
    p = np.eye(C)[labels] if labels.ndim == 1 else labels
    p = (1 - smoothing) * p + smoothing / C
    w = np.ones(C) if weights is None else weights
    mask = np.ones(B, bool) if mask is None else mask
    return -(w * p * np.log(PROBS))[mask].sum(), (w * p)[mask].sum()


@both
def test_it_is_minus_the_log_density_of_a_categorical_distribution(x64, loss, scores):
    expected = [
        -scipy.stats.multinomial(1, q).logpmf(p) for q, p in zip(PROBS, ONE_HOT, strict=True)
    ]
    for labels in (IDS, ONE_HOT):
        np.testing.assert_allclose(loss(scores, labels, **none), expected, rtol=8 * EPS)


@both
def test_soft_labels_give_entropy_plus_divergence(x64, loss, scores):
    expected = scipy.stats.entropy(SOFT, axis=-1) + scipy.stats.entropy(SOFT, PROBS, axis=-1)
    np.testing.assert_allclose(loss(scores, SOFT, **none), expected, rtol=16 * EPS)


@every_label
@both
def test_weights_and_smoothing_are_those_of_the_formula(x64, loss, scores, labels):
    @jax.jit
    def sum_and_mean(weights, smoothing, mask):
        f = functools.partial(
            loss, scores, labels, where=mask, class_weights=weights, label_smoothing=smoothing
        )
        return f(reduction="sum"), f(reduction="mean")

    for weights in (np.ones(C), WEIGHTS):
        for smoothing in (0.0, 0.3, 1.0):
            for mask in (np.ones(B, bool), np.array([True, False, True, True, False])):
                total, weight = transcription(labels, weights, smoothing, mask)
                given_sum, given_mean = sum_and_mean(weights, smoothing, mask)
                np.testing.assert_allclose(given_sum, total, rtol=16 * EPS)
                np.testing.assert_allclose(given_mean, total / weight, rtol=16 * EPS)


@both
def test_options_that_are_off_change_nothing(x64, loss, scores):
    off = {"where": np.ones(B, bool), "class_weights": np.ones(C), "label_smoothing": 0}
    options = [(weights, s) for weights in (None, WEIGHTS) for s in (0.0, 0.3)]

    @jax.jit
    def each_option():
        return loss(scores, SOFT, **off), [
            loss(scores, SOFT, class_weights=weights, label_smoothing=s) for weights, s in options
        ]

    all_off, given_ = each_option()
    np.testing.assert_allclose(all_off, given_[0], rtol=4 * EPS)
    for value, (weights, smoothing) in zip(given_, options, strict=True):
        total, weight = transcription(SOFT, weights, smoothing)
        np.testing.assert_allclose(value, total / weight, rtol=16 * EPS)


@both
def test_weights_of_0_make_a_mean_over_nothing(loss, scores):
    weights = np.array([1.0, 0.0, 0.0])
    ids = np.array([1, 2, 1, 2, 1])
    f = jax.jit(jax.value_and_grad(lambda x: loss(x, ids, class_weights=weights)))
    value, gradient = f(jnp.asarray(scores))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((B, C)))


def test_logits_give_what_optax_gives(x64):
    @jax.jit
    def both_libraries(logits, ids, soft):
        smoothed = optax.smooth_labels(jax.nn.one_hot(ids, C, dtype=logits.dtype), 0.2)
        return (
            [
                optax.softmax_cross_entropy(logits, soft),
                optax.softmax_cross_entropy_with_integer_labels(logits, ids),
                optax.softmax_cross_entropy(logits, smoothed),
            ],
            [
                softmax_cross_entropy(logits, soft, **none),
                softmax_cross_entropy(logits, ids, **none),
                softmax_cross_entropy(logits, ids, label_smoothing=0.2, **none),
            ],
        )

    for expected, given_ in zip(*both_libraries(LOGITS, IDS, SOFT), strict=True):
        np.testing.assert_allclose(given_, expected, rtol=8 * EPS)


@pytest.mark.parametrize("labels", [IDS, SOFT], ids=["ids", "soft"])
@both
def test_classes_may_be_on_any_axis(loss, scores, labels):
    x, y = (np.stack([a, a[::-1]], axis=1) for a in (scores, labels))  # (B, 2, C), (B, 2[, C])
    mask = np.arange(2 * B).reshape(B, 2) % 3 > 0
    f = functools.partial(
        loss, where=mask, class_weights=WEIGHTS, label_smoothing=0.1, reduction="none"
    )

    @jax.jit
    def on_each_axis():
        return [
            f(np.moveaxis(x, -1, axis), np.moveaxis(y, -1, axis) if y.ndim == 3 else y, axis=axis)
            for axis in (-1, 0, 1, 2, -2, -3)
        ]

    @jax.jit
    def halves():
        return [f(x[:, i], y[:, i], where=mask[:, i]) for i in (0, 1)]

    last, *others = on_each_axis()
    np.testing.assert_array_equal(last, np.stack(halves(), axis=1))
    for other in others:
        np.testing.assert_array_equal(other, last)


@both
def test_one_example_without_a_batch_is_a_scalar(loss, scores):
    @jax.jit
    def f():
        one = [loss(scores[1], 2, **none), loss(scores[1], 2)]
        return one, loss(scores[1], IDS[1], where=False), loss(scores, IDS, **none)[1]

    one, hidden, expected = f()
    np.testing.assert_array_equal(one, [expected] * 2)
    assert hidden == 0
    assert loss(scores[1], 2).shape == ()


@every_dtype
def test_probabilities_of_0_and_1_give_finite_values_and_gradients(x64, dtype):
    probs = jnp.asarray(np.eye(C)[[0, 1, 2, 0, 1]], dtype)
    for labels in (IDS, SOFT):
        value, gradient = values_and_gradient(categorical_cross_entropy)(probs, labels)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        p = np.eye(C)[labels] if labels.ndim == 1 else labels
        assert (gradient[p > 0] < 0).all()
        np.testing.assert_array_equal(gradient[p == 0], 0)


@every_dtype
def test_log_of_0_is_the_tangent_at_the_smallest_normal_number(x64, dtype):
    tiny = float(jnp.finfo(dtype).tiny)
    probs = jnp.array([[0, 1, 0], [tiny, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype)
    value, gradient = values_and_gradient(categorical_cross_entropy)(probs, np.zeros(B, int))
    rtol = 2 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(value[:3], [1 - np.log(tiny), -np.log(tiny), 0], rtol=rtol)
    np.testing.assert_allclose(gradient[:2, 0], -1 / tiny, rtol=rtol)
    np.testing.assert_array_equal(gradient[:, 1:], 0)


@every_dtype
def test_logits_of_10_000_give_finite_and_right_values_and_gradients(x64, dtype):
    large = [[1e4, 0, -1e4], [-1e4, 1e4, 0], [0, -1e4, 1e4], [1e4] * 3, [-1e4] * 3]
    x = jnp.asarray(large, dtype)
    exact = np.asarray(x, float)
    rtol = 4 * float(jnp.finfo(dtype).eps)
    for labels in (IDS, SOFT):
        p = np.eye(C)[labels] if labels.ndim == 1 else labels
        value, gradient = values_and_gradient(softmax_cross_entropy)(x, labels)
        expected = -(p * scipy.special.log_softmax(exact, axis=-1)).sum(axis=-1)
        np.testing.assert_allclose(value, expected, rtol=rtol)
        expected = scipy.special.softmax(exact, axis=-1) - p
        np.testing.assert_allclose(gradient, expected, atol=rtol)


def test_second_derivatives_at_extremes_are_finite(x64):
    for loss, x in (
        (softmax_cross_entropy, [[1e4, 0, -1e4], [-1e4, 1e4, 0], [0, 0, 0]]),
        (categorical_cross_entropy, [[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]),
    ):
        second = jax.jit(jax.hessian(lambda x, loss=loss: loss(x, np.array([0, 0, 2]))))
        assert np.isfinite(second(jnp.asarray(x, jnp.float32))).all()


@every_dtype
def test_the_two_forms_agree_where_both_are_exact(x64, dtype):
    rows = [
        [0.5, 0.25, 0.25],
        [0.125, 0.125, 0.75],
        [0.25, 0.5, 0.25],
        [0.1, 0.1, 0.8],
        [1 / 3] * 3,
    ]
    logits = jnp.asarray(np.log(rows), dtype)
    probs = jnp.asarray(scipy.special.softmax(np.asarray(logits, float), axis=-1), dtype)
    ids = np.array([1, 2, 0, 0, 1])
    from_logits, _ = values_and_gradient(softmax_cross_entropy)(logits, ids)
    from_probs, _ = values_and_gradient(categorical_cross_entropy)(probs, ids)
    rtol = 4 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(from_logits, from_probs, rtol=rtol)


def test_gradients_through_softmax_agree(x64):
    through = jax.jit(jax.grad(lambda z: categorical_cross_entropy(jax.nn.softmax(z), SOFT)))
    direct = jax.jit(jax.grad(lambda z: softmax_cross_entropy(z, SOFT)))
    z = jnp.asarray(LOGITS)
    np.testing.assert_allclose(through(z), direct(z), atol=8 * EPS)


@every_label
def test_a_logit_of_minus_infinity_rules_a_class_out(x64, labels):
    wide = np.concatenate([LOGITS, np.full((B, 1), -np.inf)], axis=-1)
    padded = labels if labels.ndim == 1 else np.pad(labels, ((0, 0), (0, 1)))
    value, gradient = values_and_gradient(softmax_cross_entropy)(wide, padded)
    seen = softmax_cross_entropy(LOGITS, labels, **none)
    np.testing.assert_allclose(value, seen, rtol=4 * EPS)
    np.testing.assert_array_equal(gradient[:, -1], 0)
    assert np.isfinite(gradient).all()


@both
@pytest.mark.parametrize("bad", [-1, C, C + 250, -(2**31)])
def test_class_ids_out_of_range_raise_or_give_nan(loss, scores, bad):
    ids = IDS.copy()
    ids[1] = bad
    with pytest.raises(ValueError, match=rf"{loss.__name__}: .*class id {bad}; .* 0 to 2"):
        loss(scores, ids)
    x = jnp.asarray(scores)
    for transform in (jax.grad, jax.jit):
        with pytest.raises(ValueError, match=f"class id {bad}"):
            transform(lambda x: loss(x, ids))(x)  # ids are known while x is not
    value, gradient = values_and_gradient(loss)(x, ids)
    assert np.isnan(value[1])
    np.testing.assert_allclose(np.delete(value, 1), np.delete(loss(scores, IDS, **none), 1))
    assert np.isnan(gradient[1]).any()
    mask = np.arange(B) != 1
    seen = value[mask].mean()
    np.testing.assert_allclose(loss(scores, ids, where=mask), seen, rtol=4 * EPS32)
    np.testing.assert_allclose(jax.jit(loss)(x, ids, where=mask), seen, rtol=4 * EPS32)


@both
def test_class_ids_too_large_for_32_bits_do_not_wrap_around(loss, scores):
    with pytest.raises(ValueError, match="class id 4294967297"):
        loss(scores, np.array([0, 1, 2, 0, 2**32 + 1]))


def test_class_ids_may_have_any_integer_dtype():
    logits = np.zeros((2, 300))
    logits[:, 7] = 5
    ids = np.array([7, 100])
    typed = [ids.astype(dtype) for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int32)]
    expected = -scipy.special.log_softmax(logits, axis=-1)[np.arange(2), ids]

    def f(typed):
        return [softmax_cross_entropy(logits, ids, **none) for ids in typed]

    for given_ in jax.jit(f)(typed) + jax.jit(lambda: f(typed))():  # traced and known
        np.testing.assert_allclose(given_, expected, rtol=4 * EPS32)


@both
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (IDS[:, None], ValueError, "integer labels are class ids, wanted shape (5,)"),
        (IDS[:-1], ValueError, "integer labels are class ids, wanted shape (5,)"),
        (np.eye(C, dtype=int)[IDS], ValueError, "class ids, wanted shape (5,) (distributions, one"),
        (IDS.astype(float), ValueError, "floating labels are distributions, wanted shape (5, 3)"),
        (SOFT[:, :2], ValueError, "floating labels are distributions, wanted shape (5, 3)"),
        (SOFT.T, ValueError, "floating labels are distributions, wanted shape (5, 3)"),
        (ONE_HOT.astype(bool), TypeError, "wanted integer class ids or floating distributions"),
        (IDS == 1, TypeError, "wanted integer class ids or floating distributions"),
    ],
)
def test_labels_are_told_by_rank_and_dtype(loss, scores, labels, error, message):
    name = "probs" if loss is categorical_cross_entropy else "logits"
    given_ = f"labels has dtype {jnp.asarray(labels).dtype} and shape {labels.shape}, "
    with pytest.raises(error, match=re.escape(f"{loss.__name__}: {given_}{name} has shape (5, 3)")):
        loss(scores, labels)
    with pytest.raises(error, match=re.escape(message)):
        jax.jit(loss)(scores, labels)


@both
def test_as_many_examples_as_classes_is_no_trap(loss, scores):
    square, ids = scores[:C], np.array([2, 0, 0])
    expected = loss(square, np.eye(C)[ids])
    np.testing.assert_allclose(loss(square, ids), expected, rtol=4 * EPS32)
    with pytest.raises(ValueError, match="integer labels are class ids"):
        loss(square, np.eye(C, dtype=int)[ids])


@both
@pytest.mark.parametrize("bad", [-0.2, 1.2])
def test_distributions_must_be_distributions(loss, scores, bad):
    labels = SOFT.copy()
    labels[1] = [bad, 1 - bad, 0]
    with pytest.raises(ValueError, match=rf"{loss.__name__}: labels contains {bad}; wanted"):
        loss(scores, labels)
    value, _ = values_and_gradient(loss)(scores, labels)
    np.testing.assert_array_equal(np.isnan(value), [False, True, False, False, False])
    with pytest.raises(ValueError, match=r"labels sums to 0\.9 over axis -1; wanted distributions"):
        loss(scores, np.full((B, C), 0.3))


def test_sums_may_be_off_by_0_01_and_no_more():
    for total in (0.991, 1.009):
        probs = PROBS * total
        assert np.isfinite(categorical_cross_entropy(probs, IDS))
        assert np.isfinite(softmax_cross_entropy(LOGITS, probs))
    for total in (0.989, 1.011):
        with pytest.raises(ValueError, match=f"probs sums to {total} over axis -1"):
            categorical_cross_entropy(PROBS * total, IDS)
        with pytest.raises(ValueError, match=f"labels sums to {total} over axis -1"):
            softmax_cross_entropy(LOGITS, PROBS * total)


@pytest.mark.parametrize("axis", [-1, 1])
def test_logits_given_as_probabilities_are_told(axis):
    hint = re.escape("(these look like logits; use softmax_cross_entropy)")
    for bad in (LOGITS, np.array([[1.5, -0.5, 0.0]] * B), np.array([[-0.5, 0.5, 1.0]] * B)):
        with pytest.raises(ValueError, match=r"probs contains -?[\d.]+; wanted .* 0 to 1 " + hint):
            categorical_cross_entropy(bad, IDS, axis=axis)
    with pytest.raises(ValueError, match=rf"probs sums to 0\.6 over axis {axis}; .*to 1 {hint}"):
        categorical_cross_entropy(np.full((B, C), 0.2), IDS, axis=axis)
    with pytest.raises(ValueError, match=r"probs sums to 1\.5"):
        categorical_cross_entropy(np.full((B, C), 0.5), IDS)


@pytest.mark.parametrize("bad", [[1.5, -0.5, 0.0], [-0.5, 0.75, 0.75], [0.0, 0.0, 2.0]])
def test_under_jit_probabilities_out_of_range_give_nan(bad):
    probs = PROBS.copy()
    probs[1] = bad
    value, gradient = values_and_gradient(categorical_cross_entropy)(probs, IDS)
    np.testing.assert_array_equal(np.isnan(value), [False, True, False, False, False])
    np.testing.assert_array_equal(np.isnan(gradient).any(-1), [False, True, False, False, False])


@every_dtype
def test_probabilities_rounded_out_of_range_count_as_0_and_1_and_keep_gradients(x64, dtype):
    eps = float(jnp.finfo(dtype).eps)
    rounded, exact = [1 + eps, -eps, 0], [1, 0, 0]
    probs = jnp.array([rounded, exact, rounded, exact, exact], dtype)
    ids = np.array([0, 0, 1, 1, 0])
    value, gradient = values_and_gradient(categorical_cross_entropy)(probs, ids)
    for of in (value, gradient):
        np.testing.assert_array_equal(of[0], of[1])
        np.testing.assert_array_equal(of[2], of[3])
    assert gradient[0, 0] < 0
    assert gradient[2, 1] < 0


def test_probabilities_that_were_bfloat16_once_are_taken():
    logits = np.random.default_rng(1).normal(size=(64, 100))
    soft = jax.nn.softmax(jnp.asarray(logits, jnp.bfloat16))
    ids = np.zeros(64, int)
    for probs in (soft, np.asarray(soft, np.float32)):
        losses = jax.jit(
            lambda p=probs: (categorical_cross_entropy(p, ids), softmax_cross_entropy(p, p))
        )()
        assert np.isfinite(np.asarray(losses, float)).all()


@both
def test_options_must_fit(loss, scores):
    name = loss.__name__
    for weights, message in (
        (np.ones(2), rf"class_weights has shape \(2,\); wanted \({C},\)"),
        (np.ones((B, C)), rf"class_weights has shape \({B}, {C}\); wanted \({C},\)"),
        (2.0, r"class_weights has shape \(\); wanted"),
        (np.array([1.0, -1.0, 1.0]), r"class_weights contains -1\.0; wanted finite, at least 0"),
        (np.array([1.0, np.inf, 1.0]), "class_weights contains inf; wanted finite, at least 0"),
        (np.array([1.0, np.nan, 1.0]), "class_weights contains nan; wanted finite, at least 0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            loss(scores, IDS, class_weights=weights)
    for smoothing, message in (
        (-0.1, r"label_smoothing is -0\.1; wanted from 0 to 1"),
        (1.1, r"label_smoothing is 1\.1; wanted from 0 to 1"),
        (np.full(B, 0.1), r"label_smoothing has shape \(5,\); wanted a scalar"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            loss(scores, IDS, label_smoothing=smoothing)
    with pytest.raises(TypeError, match=f"{name}: class_weights has dtype complex64"):
        loss(scores, IDS, class_weights=WEIGHTS.astype(complex))
    with pytest.raises(TypeError, match=f"{name}: label_smoothing has dtype complex64"):
        loss(scores, IDS, label_smoothing=1j)


@both
def test_options_may_be_traced(loss, scores):
    f = jax.jit(lambda s, w: loss(scores, IDS, label_smoothing=s, class_weights=w))
    given_ = jax.vmap(f, (0, None))(jnp.array([0.0, 0.5]), jnp.asarray(WEIGHTS))
    sums = [transcription(IDS, WEIGHTS, s) for s in (0, 0.5)]
    expected = [total / weight for total, weight in sums]
    np.testing.assert_allclose(given_, expected, rtol=8 * EPS32)


@both
def test_there_must_be_classes_on_the_axis(loss, scores):
    for x, axis in (
        (np.ones((B, 0)), -1),
        (np.float32(1.0), -1),
        (scores, 2),
        (scores, -3),
    ):
        message = (
            f"{loss.__name__}: \\w+ has shape {re.escape(str(x.shape))}; wanted .* axis {axis}"
        )
        with pytest.raises(ValueError, match=message):
            loss(x, IDS, axis=axis)


def test_one_class_costs_nothing():
    np.testing.assert_array_equal(softmax_cross_entropy(np.ones((2, 1)), np.array([0, 0])), 0)


float32 = functools.partial(st.floats, width=32, allow_subnormal=False)


@given(
    arrays(np.float32, (4, C), elements=float32(-1e4, 1e4)),
    arrays(np.int32, 4, elements=st.integers(0, C - 1)),
)
def test_logits_of_any_size_give_the_exact_loss(logits, ids):
    value, gradient = _softmax_loss(logits, ids)
    exact = -scipy.special.log_softmax(logits.astype(float), axis=-1)[np.arange(4), ids]
    np.testing.assert_allclose(value, exact, rtol=4 * EPS32, atol=4 * EPS32)
    exact = scipy.special.softmax(logits.astype(float), axis=-1) - np.eye(C)[ids]
    # a difference of logits is rounded before it is exponentiated
    np.testing.assert_allclose(gradient, exact, atol=8 * EPS32)


@jax.jit
def _softmax_loss(logits, ids):
    f = functools.partial(softmax_cross_entropy, labels=ids)
    return f(logits, reduction="none"), jax.grad(lambda z: f(z, reduction="sum"))(logits)


@given(arrays(np.float32, (4, C), elements=float32(0, 1)), st.integers(0, C - 1))
def test_any_probabilities_give_finite_values_and_gradients_towards_the_label(raw, label):
    probs = np.where(raw.sum(-1, keepdims=True) > 0, raw, 1)
    probs = probs / probs.sum(-1, keepdims=True)
    value, gradient = _probs_loss(probs, np.full(4, label))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert (gradient[:, label] < 0).all()
    np.testing.assert_array_equal(np.delete(gradient, label, axis=-1), 0)


@jax.jit
def _probs_loss(probs, ids):
    f = functools.partial(categorical_cross_entropy, labels=ids)
    return f(probs, reduction="none"), jax.grad(lambda q: f(q, reduction="sum"))(probs)


# ---- several axes of classes --------------------------------------------------------------


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-1, 0), (1,)])
@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.categorical_cross_entropy])
def test_classes_on_several_axes_are_numbered_in_their_order(axes, loss):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    if loss is losses.categorical_cross_entropy:
        x = np.exp(x) / np.exp(x).sum(tuple(axes), keepdims=True)
    flat = np.moveaxis(x, axes, range(-len(axes), 0))
    flat = flat.reshape(*flat.shape[: 3 - len(axes)], -1)
    ids = np.random.default_rng(1).integers(0, flat.shape[-1], flat.shape[:-1])
    soft = np.eye(flat.shape[-1], dtype="float32")[ids]
    expected = loss(flat, ids, reduction="none")
    np.testing.assert_array_equal(loss(x, ids, axis=axes, reduction="none"), expected)
    order = np.moveaxis(np.arange(24).reshape(2, 3, 4), axes, range(-len(axes), 0)).ravel()
    labels = np.empty(24, "float32")
    labels[order] = soft.ravel()
    given = loss(x, labels.reshape(2, 3, 4), axis=axes, reduction="none")
    np.testing.assert_allclose(given, expected, rtol=4 * EPS32)
    if loss is losses.softmax_cross_entropy:
        theirs = optax.losses.softmax_cross_entropy_with_integer_labels(x, ids, axis=axes)
        np.testing.assert_allclose(expected, theirs, rtol=32 * EPS32)


@pytest.mark.parametrize(
    ("axis", "error"),
    [((), TypeError), (1.0, TypeError), (None, TypeError), ((0, 0), ValueError),
     ((0, 2), ValueError), ((1, -1), ValueError)],
)  # fmt: skip
def test_wrong_axes_are_named(axis, error):
    with pytest.raises(error, match=r"softmax_cross_entropy: (axis is|logits has shape)"):
        losses.softmax_cross_entropy(jnp.ones((2, 3)), jnp.array([0, 1]), axis=axis)


def test_integers_past_32_bits_are_told_before_jax_cuts_them():
    for labels in ([2**32, 0], np.array([2**32 + 1, 0])):
        with pytest.raises(ValueError, match="softmax_cross_entropy: labels holds 429496729"):
            losses.softmax_cross_entropy(jnp.ones((2, 3)), labels)
        with pytest.raises(ValueError, match="mean_squared_error: targets holds 429496729"):
            losses.mean_squared_error(jnp.ones(2), labels)
