"""What the losses' module docstring promises of all of them, asked of each."""

import functools
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import values_and_gradient
from jax import export

from lecture_opt import losses

B, C = 6, 4


class Kind(NamedTuple):
    """A loss, predictions and targets it takes, and the shape of its loss per example."""

    loss: Callable[..., jax.Array]
    predictions: np.ndarray
    targets: np.ndarray
    shape: tuple[int, ...]


def _kinds() -> dict[str, Kind]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(B, C))
    probs, soft = (0.5 * rng.dirichlet(np.ones(C), size=B) + 0.5 / C for _ in range(2))
    ids = np.array([0, 3, 1, 2, 2, 0])
    unit, real = rng.uniform(0.1, 0.9, size=(B, 2)), rng.normal(size=(B, 2))
    other = real + rng.choice([-1, 1], size=(B, 2)) * rng.uniform(0.5, 2, size=(B, 2))
    return {
        "categorical_ids": Kind(losses.categorical_cross_entropy, probs, ids, (B,)),
        "categorical_soft": Kind(losses.categorical_cross_entropy, probs, soft, (B,)),
        "softmax_ids": Kind(losses.softmax_cross_entropy, logits, ids, (B,)),
        "softmax_soft": Kind(losses.softmax_cross_entropy, logits, soft, (B,)),
        "binary": Kind(losses.binary_cross_entropy, unit, unit[::-1].copy(), (B, 2)),
        "sigmoid": Kind(losses.sigmoid_cross_entropy, real, unit, (B, 2)),
        "squared": Kind(losses.mean_squared_error, real, other, (B, 2)),
        "absolute": Kind(losses.mean_absolute_error, real, other, (B, 2)),
        "gaussian": Kind(losses.gaussian_nll, real, other, (B, 2)),
    }


KINDS = _kinds()
CROSS_ENTROPIES = {name: k for name, k in KINDS.items() if "entropy" in k.loss.__name__}
each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)


def cast(x, dtype):
    """Floating `x` as `dtype`, ids as they are."""
    return jnp.asarray(x) if np.issubdtype(x.dtype, np.integer) else jnp.asarray(x, dtype)


def eps(dtype) -> float:
    return float(jnp.finfo(dtype).eps)


@each
def test_reductions_are_of_the_losses_per_example(x64, kind):
    loss, predictions, targets, shape = kind
    f = jax.jit(lambda x, y: [loss(x, y, reduction=r) for r in ("none", "sum", "mean")])
    per_example, total, mean = f(predictions, targets)
    assert per_example.shape == shape
    np.testing.assert_allclose(total, np.sum(per_example), rtol=4 * eps(np.float64))
    np.testing.assert_allclose(mean, np.mean(per_example), rtol=4 * eps(np.float64))
    default = loss(predictions, targets)  # another program, whose sum may be in another order
    np.testing.assert_allclose(default, mean, rtol=4 * eps(np.float64))


def check_derivatives(f, x: jax.Array) -> None:
    """Gradient and second derivative along one direction, against central differences."""
    v = jnp.asarray(np.random.default_rng(2).choice([-1.0, 1.0], size=x.shape))

    @jax.jit
    def derivatives(x):
        slope, curvature = jax.jvp(jax.grad(f), (x,), (v,))
        return f(x), slope, curvature

    h = eps(np.float64) ** (1 / 3)
    _, slope, curvature = derivatives(x)
    (ahead, grad_ahead, _), (behind, grad_behind, _) = (
        derivatives(x + h * v),
        derivatives(x - h * v),
    )
    fourth = B * 6 / 0.125**4  # bounds derivatives: of -log q from 1/8 on, summed over examples
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=fourth / 6 * h**2)
    close(jnp.vdot(slope, v), (ahead - behind) / (2 * h))
    close(curvature, (grad_ahead - grad_behind) / (2 * h))


@each
def test_gradients_are_those_of_finite_differences(x64, kind):
    loss, predictions, targets, _ = kind
    check_derivatives(lambda x: loss(x, targets, reduction="sum"), jnp.asarray(predictions))


@each
def test_float_targets_have_a_gradient_too(x64, kind):
    loss, predictions, targets, _ = kind
    if not np.issubdtype(targets.dtype, np.integer):
        check_derivatives(lambda y: loss(predictions, y, reduction="sum"), jnp.asarray(targets))


def junk_behind(mask: np.ndarray, x: np.ndarray, junk: float) -> np.ndarray:
    bad = -1 if np.issubdtype(x.dtype, np.integer) else junk
    return np.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, bad)


@each
def test_what_where_hides_leaves_no_trace(x64, kind):
    loss, predictions, targets, shape = kind
    mask = np.random.default_rng(1).random(shape) < 0.6

    @jax.jit
    def masked(x, y):
        def of(reduction):
            f = functools.partial(loss, where=mask, reduction=reduction)
            return jax.value_and_grad(lambda x: jnp.sum(f(x, y)))(x)

        return {"none": of("none"), "mean": of("mean")}

    @jax.jit
    def visible(x, y):
        return jax.value_and_grad(lambda x: loss(x, y, reduction="sum"))(x)

    seen, seen_gradient = visible(predictions[mask], targets[mask])
    for junk in (np.nan, np.inf, -np.inf):
        x, y = (junk_behind(mask, a, junk) for a in (predictions, targets))
        for reduction, (value, gradient) in jax.device_get(masked(x, y)).items():
            size = float(mask.sum()) if reduction == "mean" else 1.0
            np.testing.assert_allclose(value, seen / size, rtol=8 * eps(np.float64))
            np.testing.assert_array_equal(gradient[~mask], 0)
            np.testing.assert_allclose(
                gradient[mask], seen_gradient / size, rtol=8 * eps(np.float64)
            )


@pytest.mark.parametrize("kind", CROSS_ENTROPIES.values(), ids=CROSS_ENTROPIES.keys())
def test_what_where_hides_leaves_no_trace_in_the_gradients_of_the_options(x64, kind):
    loss, predictions, targets, shape = kind
    mask = np.random.default_rng(1).random(shape) < 0.6
    classes = C if shape == (B,) else 2

    def gradients(x, y, **where):
        def f(weights, smoothing):
            return loss(x, y, class_weights=weights, label_smoothing=smoothing, **where)

        return jax.jit(jax.grad(f, (0, 1)))(1 + jnp.arange(classes, dtype=float), 0.2)

    x, y = (junk_behind(mask, a, np.nan) for a in (predictions, targets))
    seen = gradients(predictions[mask], targets[mask])
    for given, expected in zip(gradients(x, y, where=mask), seen, strict=True):
        np.testing.assert_allclose(
            given, expected, rtol=0, atol=64 * eps(np.float64)
        )  # of O(1) terms


@each
def test_values_known_to_be_wrong_behind_where_are_not_looked_at(kind):
    loss, predictions, targets, shape = kind
    mask = np.arange(B) < 2
    mask = np.broadcast_to(mask.reshape(B, *(1,) * (len(shape) - 1)), shape)
    hidden = [junk_behind(mask, x, 7.0) for x in (predictions, targets)]
    per_example, _ = values_and_gradient(loss)(predictions, targets)
    np.testing.assert_allclose(
        loss(*hidden, where=mask, reduction="none"),
        np.where(mask, per_example, 0),
        rtol=4 * eps(np.float32),
    )


@each
def test_a_mean_over_nothing_is_0_with_zero_gradient(kind):
    loss, predictions, targets, shape = kind
    hidden = functools.partial(loss, where=np.zeros(shape, bool))
    value, gradient = jax.jit(jax.value_and_grad(hidden))(
        np.full_like(predictions, np.nan), targets
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(predictions.shape))
    empty = loss(predictions[:0], targets[:0])
    assert empty == 0
    assert empty.dtype == jnp.float32
    assert loss(predictions[:0], targets[:0], reduction="none").shape == (0, *shape[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@each
def test_the_result_has_the_dtype_of_the_predictions(x64, kind, dtype):
    loss, predictions, targets, _ = kind
    x = cast(predictions, dtype)
    for reduction in ("mean", "sum", "none"):
        f = functools.partial(loss, reduction=reduction)
        for target_dtype in (dtype, jnp.float32, jnp.float64):
            result = jax.eval_shape(f, x, cast(targets, target_dtype))
            assert result.dtype == dtype
            assert not result.weak_type
    assert jax.eval_shape(jax.grad(loss), x, targets).dtype == dtype


@each
def test_16_bit_losses_are_float32_ones_rounded_once(kind):
    loss, predictions, targets, _ = kind

    @jax.jit
    def narrow_and_wide(narrow):
        return [
            [loss(x, targets, reduction=r) for x in (narrow, narrow.astype(jnp.float32))]
            for r in ("mean", "none")
        ]

    for dtype in (jnp.float16, jnp.bfloat16):
        for given, wide in narrow_and_wide(predictions.astype(dtype)):
            np.testing.assert_array_equal(given, np.asarray(wide).astype(dtype))


@each
def test_float16_means_of_many_examples_do_not_overflow(kind):
    loss, predictions, targets, _ = kind
    copies = 40_000
    x = np.tile(predictions.astype(np.float16), (copies, 1))
    y = np.tile(targets, (copies,) + (1,) * (targets.ndim - 1))
    f = jax.jit(lambda x, y: [loss(x[:B], y[:B]), loss(x, y)])
    few, many = np.asarray(f(x, y), float)
    np.testing.assert_allclose(many, few, rtol=eps(jnp.float16))


@each
def test_under_jit_and_vmap_losses_are_the_same(kind):
    loss, predictions, targets, _ = kind
    x, y = jnp.asarray(predictions), jnp.asarray(targets)
    plain = loss(x, y, reduction="none")
    tolerance = 8 * eps(np.float32)
    np.testing.assert_allclose(values_and_gradient(loss)(x, y)[0], plain, rtol=tolerance)
    per_example = jax.jit(jax.vmap(functools.partial(loss, reduction="none")))
    np.testing.assert_allclose(per_example(x, y), plain, rtol=tolerance)


@each
def test_losses_lower_for_cuda(kind):
    loss, predictions, targets, _ = kind
    exported = export.export(jax.jit(jax.value_and_grad(loss)), platforms=["cuda"])(
        jnp.asarray(predictions), jnp.asarray(targets)
    )
    assert exported.platforms == ("cuda",)


@each
def test_losses_work_under_debug_nans(kind):
    loss, predictions, targets, shape = kind
    mask = np.arange(np.prod(shape)).reshape(shape) % 2 == 0
    with jax.debug_nans(True):
        f = jax.jit(jax.value_and_grad(lambda x: loss(x, targets, where=mask)))
        assert np.isfinite(f(jnp.asarray(predictions))[0])


@each
def test_numpy_and_python_values_are_taken(kind):
    loss, predictions, targets, _ = kind
    expected = loss(jnp.asarray(predictions), jnp.asarray(targets))
    assert loss(predictions, targets) == expected
    assert loss(predictions.tolist(), targets.tolist()) == expected


@each
def test_unmatched_shapes_are_an_error_that_shows_both(kind):
    loss, predictions, targets, _ = kind
    name = loss.__name__
    for x, y in (
        (predictions, targets[:, None]),
        (predictions[..., None], targets),
        (predictions, targets[:-1]),
        (predictions[:, :1], targets[..., None]),
    ):
        with pytest.raises(ValueError, match=f"{name}: (labels|targets) has ") as error:
            loss(x, y)
        assert str(x.shape) in str(error.value)
        assert str(y.shape) in str(error.value)


@each
def test_column_against_vector_is_an_error(kind):
    loss, predictions, _, _ = kind
    column, vector = predictions[:, :1], predictions[:, 0]
    with pytest.raises(ValueError, match=r"\(6, 1\).*\(6,\)|\(6,\).*\(6, 1\)"):
        loss(column, vector)
    with pytest.raises(ValueError, match=r"\(6, 1\).*\(6,\)|\(6,\).*\(6, 1\)"):
        loss(vector, column)


@pytest.mark.parametrize("dtype", [int, bool, complex])
@each
def test_predictions_must_be_floating(kind, dtype):
    loss, predictions, targets, _ = kind
    with pytest.raises(TypeError, match=rf"{loss.__name__}: \w+ has dtype .*\(6, \d\).*floating"):
        loss(predictions.astype(dtype), targets)


@pytest.mark.parametrize("wrong", [None, "text", {"logits": 1.0}, [[1.0], [1.0, 2.0]]])
@each
def test_what_is_no_array_is_named(kind, wrong):
    loss, predictions, targets, _ = kind
    message = rf"{loss.__name__}: (probs|logits|predictions) is a {type(wrong).__name__}; wanted"
    with pytest.raises(TypeError, match=message):
        loss(wrong, targets)
    message = rf"{loss.__name__}: (labels|targets) is a {type(wrong).__name__}; wanted"
    with pytest.raises(TypeError, match=message):
        loss(predictions, wrong)


@each
def test_complex_targets_are_an_error(kind):
    loss, predictions, targets, _ = kind
    with pytest.raises(TypeError, match=rf"{loss.__name__}: \w+ has dtype complex"):
        loss(predictions, targets.astype(complex))


@each
def test_where_must_be_boolean_and_of_the_shape_of_the_loss(kind):
    loss, predictions, targets, shape = kind
    with pytest.raises(TypeError, match=rf"{loss.__name__}: where has dtype float32; wanted bool"):
        loss(predictions, targets, where=np.ones(shape, np.float32))
    for wrong in ((), (*shape, 1), (1, *shape), (B + 1, *shape[1:])):
        message = f"{loss.__name__}: where has shape {wrong}; wanted {shape}"
        with pytest.raises(ValueError, match=re.escape(message)):
            loss(predictions, targets, where=np.ones(wrong, bool))


@each
def test_unknown_reductions_are_an_error(kind):
    loss, predictions, targets, _ = kind
    with pytest.raises(ValueError, match=rf"{loss.__name__}: reduction is 'average'; wanted"):
        loss(predictions, targets, reduction="average")


@each
def test_nan_predictions_give_nan_and_no_error(kind):
    loss, predictions, targets, _ = kind
    x = predictions.copy()
    x[1] = np.nan
    per_example, mean = jax.jit(lambda: [loss(x, targets, reduction=r) for r in ("none", "mean")])()
    assert np.all(np.isnan(per_example[1]))
    assert np.isfinite(np.delete(per_example, 1, axis=0)).all()
    assert np.isnan(mean)


def test_the_slide_s_order_of_arguments_is_caught_where_the_values_show_it():
    one_hot, probs = jnp.eye(3), jnp.full((3, 3), 1 / 3)
    for loss in (losses.categorical_cross_entropy, losses.binary_cross_entropy):
        loss(probs, one_hot)
        loss(one_hot, one_hot)
        with pytest.raises(ValueError, match="predictions first"):
            loss(one_hot, probs)
        loss(
            one_hot,
            probs,
            where=jnp.zeros(one_hot.shape[: loss(probs, one_hot, reduction="none").ndim], bool),
        )


@pytest.mark.slow
def test_arrays_that_span_processes_are_not_fetched():
    script = Path(__file__).with_name("losses_on_processes.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen([sys.executable, script, str(port), str(i)], stderr=subprocess.PIPE)
        for i in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
