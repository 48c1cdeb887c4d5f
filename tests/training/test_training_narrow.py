"""A state in bfloat16: rounding without bias, means that follow, half the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lecture_opt as lo
from lecture_opt.training.narrow import stochastic

WORDS = jax.random.bits(jax.random.key(0), (4_096, 2), jnp.uint32)
ULP = float(jnp.finfo(jnp.bfloat16).eps)


def test_the_mean_of_the_roundings_is_the_number():
    values = jnp.concatenate([jnp.geomspace(1e-30, 1e30, 61), -jnp.linspace(1.0, 2.0, 40)])
    drawn = jax.vmap(stochastic, (None, 0))(values, WORDS).astype(jnp.float32)
    exact = np.asarray(values, float)
    relative = np.asarray(drawn, float) / exact - 1
    assert np.abs(relative).max() <= ULP
    deviation = ULP / 2 / np.sqrt(len(WORDS))  # of a choice between neighbours, at the most
    assert np.abs(relative.mean(0)).max() < 4.5 * deviation
    assert all(len(np.unique(column)) <= 2 for column in np.asarray(drawn).T)


def test_what_bfloat16_holds_stays_and_so_do_infinities():
    largest = float(jnp.finfo(jnp.float32).max)
    kept = jnp.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 2.0**-126])
    for words in WORDS[:64]:
        rounded = stochastic(kept, words).astype(jnp.float32)
        np.testing.assert_array_equal(rounded, kept)
        near = stochastic(jnp.array([largest, -largest]), words).astype(jnp.float32)
        assert not jnp.isnan(near).any()
        assert (jnp.abs(near) >= float(jnp.finfo(jnp.bfloat16).max)).all()


def test_equal_and_opposite_numbers_are_rounded_alike():
    values = jax.random.normal(jax.random.key(1), (100,))
    both = stochastic(jnp.stack([values, -values, values]), WORDS[0])
    np.testing.assert_array_equal(both[0], -both[1])
    np.testing.assert_array_equal(both[0], both[2])


def test_roundings_of_neighbouring_steps_are_independent():
    drawn = jax.vmap(stochastic, (None, 0))(jnp.full(1, 1 + ULP / 2), WORDS)[:, 0] > 1
    ups = np.asarray(drawn, float) - 0.5
    assert abs((ups[1:] * ups[:-1]).mean()) < 4.5 * 0.25 / np.sqrt(len(ups))


def test_a_slow_mean_follows_where_rounding_to_the_nearest_stands_still():
    steps, decay = 4_000, 0.999
    optimizer = lo.bfloat16_state(lo.adam(1e-3, b2=decay))
    grads = {"w": jnp.full(500, 0.1)}
    count, (inner_count, mu, nu) = optimizer.init(grads)
    start = type(optimizer.init(grads))(
        count, lo.AdamState(inner_count, mu, jax.tree.map(jnp.ones_like, nu))
    )

    def after(state, _):
        return optimizer.update(grads, state, grads)[1], None

    found = jax.jit(lambda state: jax.lax.scan(after, state, length=steps)[0])(start)
    wanted = 0.01 + (1 - 0.01) * decay**steps
    # Each step rounds by at most one ULP; a step's rounding fades as the mean does.
    deviation = wanted * ULP / 2 / np.sqrt(1 - decay**2)
    assert abs(float(found.state.nu["w"].mean()) - wanted) < 4.5 * deviation
    nearest = jnp.ones((), jnp.bfloat16)
    assert (nearest.astype(jnp.float32) * decay).astype(jnp.bfloat16) == nearest


@pytest.mark.parametrize("inner", [lo.adam(0.1), lo.momentum(0.1), lo.rmsprop(0.1)])
def test_the_arrays_are_half_as_large_and_steps_stay_close(inner):
    params = {"w": jnp.ones((40, 10)), "b": jnp.ones(10), "half": jnp.ones(4, jnp.bfloat16)}
    grads = jax.tree.map(lambda p: jax.random.normal(jax.random.key(2), p.shape, p.dtype), params)
    wide, narrow = inner, lo.bfloat16_state(inner)
    states = wide.init(params), narrow.init(params)
    for leaf in jax.tree.leaves(states[1]):
        assert leaf.dtype == jnp.bfloat16 if leaf.ndim else jnp.int32
    for _ in range(3):
        (first, one), (second, two) = (
            o.update(grads, s, params) for o, s in zip((wide, narrow), states, strict=True)
        )
        states = one, two
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(
                np.asarray(a, np.float32), np.asarray(b, np.float32), atol=8 * ULP * 0.1
            )


def test_a_run_is_repeated_by_its_seed_and_differs_from_another():
    params = jax.random.normal(jax.random.key(3), (200,))

    def run(seed):
        optimizer = lo.bfloat16_state(lo.adam(0.1), seed)
        state = optimizer.init(params)
        for _ in range(2):
            _, state = optimizer.update(params, state, params)
        return np.asarray(state.state.mu, np.float32)

    np.testing.assert_array_equal(run(0), run(0))
    assert (run(0) != run(1)).any()


def test_wider_arrays_stay_as_they_are(x64):
    optimizer = lo.bfloat16_state(lo.adam(0.1))
    state = optimizer.init(jnp.ones(3, jnp.float64))
    assert state.state.mu.dtype == jnp.float64
    updates, state = optimizer.update(jnp.ones(3), state, jnp.ones(3))
    assert updates.dtype == state.state.nu.dtype == jnp.float64


def test_steps_compile_once():
    optimizer, traced = lo.bfloat16_state(lo.adam(0.1)), []

    @jax.jit
    def step(grads, state):
        traced.append(1)
        return optimizer.update(grads, state)

    grads = jnp.ones(3)
    state = optimizer.init(grads)
    for _ in range(3):
        _, state = step(grads, state)
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("adam",), "bfloat16_state: optimizer is 'adam'; wanted an optax"),
        ((lo.sgd(), 0.5), "bfloat16_state: seed is 0.5; wanted an integer"),
    ],
)
def test_what_is_no_optimizer_or_seed_is_named(arguments, says):
    with pytest.raises(TypeError, match=says):
        lo.bfloat16_state(*arguments)
