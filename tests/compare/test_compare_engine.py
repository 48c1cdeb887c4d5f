"""The engine is the hand-written loop, whatever the split, and nothing spoils a neighbour."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import environment, problems
from lecture_opt.compare.runs import engine
from lecture_opt.environment import lenient

RATE = ["learning_rate"]


@pytest.fixture(scope="module")
def cancer():
    return problems.load("cancer-logistic")


@pytest.fixture(scope="module")
def start(cancer):
    return engine.prepare(cancer, seeds=(3, 7, 8), steps=20, batch_size=16, evaluations=4)


@pytest.fixture(scope="module")
def adam(cancer, start):
    return engine.build(cancer, optax.adam, RATE, start, runs=4)


def test_a_run_is_the_hand_written_loop(cancer, start, adam):
    rates, seeds = np.array([0.01, 0.1, 0.01, 0.1, 0.3]), np.array([0, 0, 1, 1, 2])
    result = engine.train(adam, cancer, start, {"learning_rate": rates}, seeds)
    for run in (1, 3, 4):
        params = jax.tree.map(lambda leaf, run=run: leaf[seeds[run]], start.params)
        optimizer = optax.adam(float(rates[run]))
        losses = []
        with lenient():
            state = optimizer.init(params)
            for rows in start.rows[seeds[run]].reshape(-1, 16):
                batch = tuple(part[rows] for part in cancer.train)
                loss, grads = jax.value_and_grad(cancer.loss)(params, batch)
                updates, state = optimizer.update(grads, state, params)
                params = optax.apply_updates(params, updates)
                losses.append(loss)
        for ours, theirs in zip(*map(jax.tree.leaves, (result.params, params)), strict=True):
            np.testing.assert_allclose(ours[run], theirs, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            result.losses[run], np.reshape(losses, (4, 5)).mean(axis=1), rtol=1e-4
        )
        np.testing.assert_allclose(
            result.validation[run, -1], cancer.metric(params, cancer.validation), rtol=1e-6
        )


def test_the_split_into_calls_changes_no_bit(cancer, start, adam):
    rates, seeds = np.geomspace(0.01, 1, 9), np.arange(9) % 3
    whole = engine.train(adam, cancer, start, {"learning_rate": rates}, seeds)
    for first, last in ((0, 1), (3, 8), (8, 9)):
        part = slice(first, last)
        alone = engine.train(adam, cancer, start, {"learning_rate": rates[part]}, seeds[part])
        jax.tree.map(
            lambda a, b, part=part: np.testing.assert_array_equal(a, b[part]), alone, whole
        )


def test_programs_of_other_sizes_agree_to_rounding(cancer, start, adam):
    rates, seeds = np.geomspace(0.01, 1, 6), np.arange(6) % 3
    other = engine.build(cancer, optax.adam, RATE, start, runs=6)
    assert other.trace_seconds > 0
    assert other.compile_seconds > 0
    one, two = (
        engine.train(program, cancer, start, {"learning_rate": rates}, seeds)
        for program in (adam, other)
    )
    # 20 steps, each with a sum over 30 features: a few hundred roundings of float32 in all.
    rtol = 300 * np.finfo(np.float32).eps
    np.testing.assert_allclose(one.losses, two.losses, rtol=rtol)
    for a, b in zip(*map(jax.tree.leaves, (one.params, two.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(a).max())


def exploding(learning_rate):
    """SGD that breaks at its twelfth step where the rate is over one."""

    def update(grads, count, params=None):
        broken = (learning_rate > 1) & (count == 11)
        factor = jnp.where(broken, jnp.inf, -jnp.minimum(learning_rate, 0.1))
        return jax.tree.map(lambda g: factor * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def test_a_diverged_run_is_put_back_and_leaves_the_others_alone(cancer, start):
    program = engine.build(cancer, exploding, RATE, start, runs=2)
    both = engine.train(
        program, cancer, start, {"learning_rate": np.array([0.1, 2.0])}, np.array([0, 0])
    )
    well = engine.train(
        program, cancer, start, {"learning_rate": np.array([0.1, 0.1])}, np.array([0, 0])
    )
    np.testing.assert_array_equal(both.diverged, [False, True])
    np.testing.assert_array_equal(both.losses[0], well.losses[0])
    np.testing.assert_array_equal(both.losses[1, :2], well.losses[1, :2])
    assert np.all(np.isnan(both.losses[1, 2:]))
    # Ten steps done, two of four evaluations passed: there it stays.
    short = engine.prepare(cancer, seeds=(3,), steps=10, batch_size=16, evaluations=2)
    np.testing.assert_array_equal(short.rows[0], start.rows[0, :2])
    stays = engine.train(
        engine.build(cancer, exploding, RATE, short, runs=2),
        cancer, short, {"learning_rate": np.array([0.1, 2.0])}, np.array([0, 0]),
    )  # fmt: skip
    for a, b in zip(*map(jax.tree.leaves, (both.params, stays.params)), strict=True):
        np.testing.assert_allclose(a[1], b[1], rtol=1e-5, atol=1e-6)


def test_a_metric_that_is_not_finite_is_a_divergence(cancer, start):
    def metric(params, part):
        return cancer.metric(params, part) / 0

    bad = problems.Task("bad", cancer.init, cancer.loss, metric, cancer.data)
    program = engine.build(bad, optax.sgd, RATE, start, runs=1)
    result = engine.train(program, bad, start, {"learning_rate": np.ones(1)}, np.zeros(1, int))
    assert result.diverged.all()
    assert np.all(np.isnan(result.validation))


def test_a_loss_that_is_not_finite_is_a_divergence_even_where_the_params_hold(cancer, start):
    def ignores(learning_rate):
        return optax.GradientTransformation(
            lambda params: (),
            lambda grads, state, params=None: (
                jax.tree.map(lambda g: jnp.nan_to_num(-learning_rate * g), grads),
                state,
            ),
        )

    bad = problems.Task(
        "bad",
        cancer.init,
        lambda params, part: cancer.loss(params, part) + jnp.log(params["bias"] * 0 - 1),
        cancer.metric,
        cancer.data,
    )
    program = engine.build(bad, ignores, RATE, start, runs=1)
    result = engine.train(program, bad, start, {"learning_rate": np.ones(1)}, np.zeros(1, int))
    assert result.diverged.all()


def test_one_bad_number_among_finite_ones_is_found():
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        assert not engine._finite({"a": jnp.array([1.0, bad]), "b": jnp.ones(2)})
    assert not engine._finite({"a": jnp.array([jnp.inf, -jnp.inf])})
    assert engine._finite({"a": jnp.array([1.0, -2.0]), "b": jnp.zeros(0)})


def test_compile_options_are_those_this_xla_knows():
    assert not environment._are_options({"xla_no_such_option": 1})
    environment.fast_jit(jnp.sin)(1.0)


def test_an_epoch_takes_every_row_once():
    rows = engine.batches(0, 10, 4, 5)
    np.testing.assert_array_equal(np.sort(rows[:2].ravel()), np.arange(10))
    np.testing.assert_array_equal(np.sort(rows[2:].ravel()), np.arange(10))
    assert not np.array_equal(rows[:2], rows[2:])


def test_the_memory_bounds_how_many_run_at_once(start):
    assert engine.runs_at_once(start, 160) == 10
    assert engine.runs_at_once(start, 24) == 8
    assert engine.runs_at_once(start, 7) == 7
    assert engine.runs_at_once(start, 160, bytes_at_most=0) == 1
    one = engine.runs_at_once(start, 160, bytes_at_most=10_000)
    assert 1 <= one < 20


def test_strict_promotion_of_the_caller_is_no_matter_for_the_compared(cancer, start):
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    engine.build(cancer, optax.adam, RATE, start, runs=1)  # optax.adam fails under strict
