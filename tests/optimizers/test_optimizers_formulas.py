"""The six are the slides' rules: against NumPy float64 transcriptions, and against optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import SLIDES, beside_optax, other_than_default

import lecture_opt as lo

NAMES = sorted(SLIDES)
RNG = np.random.default_rng(0)


def gradients(steps, shape=(5,), dtype=np.float64):
    return list(np.random.default_rng(1).normal(size=(steps, *shape)).astype(dtype))


def updates_of(optimizer, grads):
    state = optimizer.init(jnp.zeros_like(grads[0]))
    step = jax.jit(optimizer.update)
    for g in grads:
        updates, state = step(jnp.asarray(g), state)
        yield np.asarray(updates)


def assert_is_the_slide(name, grads, rtol, **hyperparameters):
    ours = list(updates_of(getattr(lo, name)(**hyperparameters), grads))
    slide = list(SLIDES[name](grads, **hyperparameters))
    np.testing.assert_allclose(ours, slide, rtol=rtol, atol=rtol * np.max(np.abs(slide)))


@pytest.mark.parametrize("name", NAMES)
def test_with_its_defaults_it_is_the_slide(x64, name):
    assert_is_the_slide(name, gradients(50), 1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_with_other_hyperparameters_it_is_the_slide(x64, name):
    assert_is_the_slide(name, gradients(50), 1e-13, **other_than_default(name))


def test_where_the_square_of_a_gradient_underflows_adam_is_the_slide():
    grads = [np.full(2, 1e-25, np.float32)] * 3
    ours, slide = updates_of(lo.adam(0.1), grads), SLIDES["adam"](np.float64(grads), 0.1)
    np.testing.assert_allclose(list(ours), list(slide), rtol=4 * np.finfo(np.float32).eps, atol=0)


@pytest.mark.parametrize("name", ["adagrad", "adam", "rmsprop", "sgd"])
def test_complex_parameters_use_the_squared_modulus(x64, name):
    grads = [a + 1j * b for a, b in zip(gradients(20), gradients(40)[20:], strict=True)]
    assert_is_the_slide(name, grads, 1e-13, **other_than_default(name))
    state = getattr(lo, name)().init(jnp.zeros(2, jnp.complex128))
    squares = getattr(state, "nu", getattr(state, "accumulator", jnp.zeros(())))
    assert not jnp.iscomplexobj(squares)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_walks_the_path_of_its_optax_equal(x64, name, dtype):
    """300 steps: float64 to 1e-12 relative, float32 to 4 ulp of the length of the path."""
    ours, theirs = beside_optax(name)
    start = RNG.normal(size=(7, 3)).astype(dtype)

    def walk(optimizer):
        def step(carry, g):
            params, state = carry
            updates, state = optimizer.update(g, state, params)
            return (optax.apply_updates(params, updates), state), params

        carry = jnp.asarray(start), optimizer.init(jnp.asarray(start))
        return jax.lax.scan(step, carry, grads)[1]

    grads = np.random.default_rng(2).normal(size=(300, 7, 3)).astype(dtype)
    with jax.numpy_dtype_promotion("standard"):
        path, other = map(np.asarray, jax.jit(lambda: (walk(ours), walk(theirs)))())
    length = np.abs(start) + np.abs(np.diff(other, axis=0)).sum(axis=0)
    tolerance = 1e-12 if dtype == "float64" else 4 * np.finfo(dtype).eps
    assert np.max(np.abs(path - other) / length) <= tolerance


def decreasing(count):
    return 0.1 / (1.0 + jnp.asarray(count, dtype=float))


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_is_asked_with_zero_first(x64, name):
    grads = gradients(4)
    scheduled = list(updates_of(getattr(lo, name)(decreasing), grads))
    constant = list(updates_of(getattr(lo, name)(0.1), grads[:1]))
    np.testing.assert_allclose(scheduled[0], constant[0], rtol=1e-15)
    if name not in ("momentum", "nesterov"):
        unit = list(updates_of(getattr(lo, name)(1.0), grads))
        expected = [0.1 / (1 + t) * u for t, u in enumerate(unit)]
        np.testing.assert_allclose(scheduled, expected, rtol=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_scheduled_rate_sits_inside_the_velocity(x64, nesterov):
    grads = gradients(20)
    ours = (lo.nesterov if nesterov else lo.momentum)(decreasing)
    equal = optax.chain(
        optax.scale_by_learning_rate(decreasing), optax.trace(0.9, nesterov=nesterov)
    )
    differs = optax.sgd(decreasing, momentum=0.9, nesterov=nesterov)
    np.testing.assert_allclose(
        list(updates_of(ours, grads)), list(updates_of(equal, grads)), rtol=1e-12, atol=1e-14
    )
    assert not np.allclose(list(updates_of(ours, grads)), list(updates_of(differs, grads)))


def test_b1_decay_rounds_to_one_in_float32():
    grads = gradients(30, dtype=np.float32)
    ours, fixed = updates_of(lo.adam(), grads), updates_of(lo.adam(b1_decay=1.0), grads)
    np.testing.assert_array_equal(list(ours), list(fixed))


@given(st.integers(0, 2**31 - 1), st.floats(0.0, 0.99))
def test_both_readings_of_nesterov_walk_the_same_path(seed, decay):
    """The params of `nesterov` are the points at which "jump first" measures."""
    here, measured = both_readings(seed, decay)
    np.testing.assert_allclose(here, measured, rtol=1e-4, atol=1e-5)


@jax.jit
def both_readings(seed, decay):
    curvature = jnp.array([1.0, 5.0])
    grad = jax.grad(lambda p: 0.5 * jnp.sum(curvature * p**2))
    as_given, jump_first = lo.nesterov(0.05, decay), lo.momentum(0.05, decay)

    def step(carry, _):
        here, state, there, other = carry
        measured = lo.lookahead(there, other, decay)
        updates, state = as_given.update(grad(here), state)
        jump, other = jump_first.update(grad(measured), other)
        return (here + updates, state, there + jump, other), (here, measured)

    start = jax.random.normal(jax.random.key(seed), (2,))
    carry = start, as_given.init(start), start, jump_first.init(start)
    return jax.lax.scan(step, carry, length=10)[1]


def test_lookahead_keeps_the_dtype():
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    assert lo.lookahead(params, lo.momentum().init(params))["w"].dtype == jnp.bfloat16
