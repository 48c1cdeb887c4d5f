"""The engine is the hand-written loop, whatever the split, and nothing spoils a neighbour."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import environment, problems, specs
from lecture_opt.compare.runs import data, engine, entrants, examine, hosted, machine, pure
from lecture_opt.environment import lenient
from lecture_opt.problems import loop as loops


def cut(problem, steps=20, evaluations=4, batch_size=16):
    """The loop of a problem with a few steps."""
    loop = problems.as_loop(problem)
    return dataclasses.replace(loop, steps=steps, evaluations=evaluations, batch_size=batch_size)


def spec_of(constructor):
    return specs.OptimizerSpec("mine:mine", "mine:mine", constructor=constructor)


class Runner:
    """Trains runs of one optimizer on one loop."""

    def __init__(self, loop, constructor, runs=4, settings=({"learning_rate": 0.1},)):
        self.loop, self.data = loop, data.prepare(loop)
        self.entrant = entrants.look(
            loop, examine.examine(loop), spec_of(constructor), list(settings)
        )
        self.program = engine.build(self.entrant, self.data, runs=runs)

    def __call__(self, rates, seeds):
        given = {} if self.entrant.settings else {"learning_rate": np.asarray(rates)}
        return engine.train(self.program, self.entrant, self.data, given, seeds, test_at="last")


@pytest.fixture(scope="module")
def cancer():
    return problems.load("cancer-logistic")


@pytest.fixture(scope="module")
def adam(cancer):
    return Runner(cut(cancer), optax.adam)


def test_a_run_is_the_hand_written_loop(cancer, adam):
    rates, seeds = [0.01, 0.1, 0.01, 0.1, 0.3], [3, 3, 7, 7, 8]
    result = adam(rates, seeds)
    for run in (1, 3, 4):
        params = cancer.init(jax.random.key(seeds[run]))
        optimizer = optax.adam(rates[run])
        losses = []
        with lenient():
            state = optimizer.init(params)
            train, validation, test = cancer.parts(seeds[run])
            for rows in loops.rows(seeds[run], len(train[0]), 20, 16):
                batch = tuple(part[rows] for part in train)
                loss, grads = jax.value_and_grad(cancer.loss)(params, batch)
                updates, state = optimizer.update(grads, state, params)
                params = optax.apply_updates(params, updates)
                losses.append(loss)
        np.testing.assert_allclose(
            result.losses[run], np.reshape(losses, (4, 5)).mean(axis=1), rtol=1e-4
        )
        for found, part in ((result.validation[run, -1], validation), (result.test[run], test)):
            np.testing.assert_allclose(found, cancer.metric(params, part), rtol=1e-6)


def overshooting(learning_rate):
    """SGD that climbs from its eleventh step on."""

    def update(grads, count, params=None):
        sign = jnp.where(count < 10, -1.0, 3.0)
        return jax.tree.map(lambda g: sign * learning_rate * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def test_the_metric_is_taken_at_the_best_validation_evaluation(cancer):
    run = Runner(cut(cancer), overshooting, runs=2)
    short = Runner(cut(cancer, steps=10, evaluations=2), overshooting, runs=2)
    given = {"learning_rate": np.array([0.05, 0.1])}, [3, 7]
    found = engine.train(run.program, run.entrant, run.data, *given, test_at="best")
    place = found.validation.argmax(axis=1)
    assert np.all(place < 3)
    stopped = engine.train(short.program, short.entrant, short.data, *given, test_at="best")
    np.testing.assert_allclose(found.test, stopped.test, rtol=1e-6)
    last = engine.train(run.program, run.entrant, run.data, *given, test_at="last")
    assert np.all(last.test < found.test)
    by_hand = hosted.train(run.entrant, run.data, *given, test_at="best")
    np.testing.assert_allclose(by_hand.test, found.test, rtol=1e-6)


def test_the_split_into_calls_changes_no_bit(adam):
    rates, seeds = np.geomspace(0.01, 1, 9), [3, 7, 8] * 3
    whole = adam(rates, seeds)
    for first, last in ((0, 1), (3, 8), (8, 9)):
        part = slice(first, last)
        alone = adam(rates[part], seeds[part])
        jax.tree.map(
            lambda a, b, part=part: np.testing.assert_array_equal(a, b[part]), alone, whole
        )


def test_programs_of_other_sizes_agree_to_rounding(cancer, adam):
    rates, seeds = np.geomspace(0.01, 1, 6), [3, 7, 8] * 2
    other = Runner(cut(cancer), optax.adam, runs=6)
    assert other.program.trace_seconds > 0
    assert other.program.compile_seconds > 0
    one, two = adam(rates, seeds), other(rates, seeds)
    # 20 steps, each with a sum over 30 features: a few hundred roundings of float32 in all.
    rtol = 300 * np.finfo(np.float32).eps
    np.testing.assert_allclose(one.losses, two.losses, rtol=rtol)


def exploding(learning_rate):
    """SGD that breaks at its twelfth step where the rate is over one."""

    def update(grads, count, params=None):
        broken = (learning_rate > 1) & (count == 11)
        factor = jnp.where(broken, jnp.inf, -jnp.minimum(learning_rate, 0.1))
        return jax.tree.map(lambda g: factor * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def test_a_diverged_run_stays_so_and_leaves_the_others_alone(cancer):
    run = Runner(cut(cancer), exploding, runs=2)
    both, well = run([0.1, 2.0], [3, 3]), run([0.1, 0.1], [3, 3])
    np.testing.assert_array_equal(both.diverged, [False, True])
    np.testing.assert_array_equal(both.losses[0], well.losses[0])
    # Ten steps done, two of four evaluations passed: there it ends.
    np.testing.assert_array_equal(both.losses[1, :2], well.losses[1, :2])
    assert np.all(np.isnan(both.losses[1, 2:]))
    assert np.all(np.isnan(both.validation[1, 2:]))
    np.testing.assert_array_equal(both.untrained[0], both.untrained[1])


def test_a_metric_that_is_not_finite_is_a_divergence(cancer):
    def metric(params, part):
        return cancer.metric(params, part) / 0

    bad = problems.Task("bad", cancer.init, cancer.loss, metric, cancer.data)
    result = Runner(cut(bad), optax.sgd, runs=1)([1.0], [0])
    assert result.diverged.all()
    assert np.all(np.isnan(result.validation))


def test_a_loss_that_is_not_finite_is_a_divergence_even_where_the_params_hold(cancer):
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
    assert Runner(cut(bad), ignores, runs=1)([1.0], [0]).diverged.all()


def test_one_bad_number_among_finite_ones_is_found():
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        found = pure.finite((jnp.array([1.0, bad]), jnp.ones(2), jnp.arange(3)))
        np.testing.assert_array_equal(found, [False, True])
    assert not pure.finite((jnp.array([jnp.inf, -jnp.inf]),))
    assert pure.finite((jnp.array([1.0, -2.0]), jnp.zeros(0))).all()


def test_a_state_that_holds_infinity_from_the_start_is_no_divergence(cancer):
    """As the best loss so far of optax's `reduce_on_plateau`."""

    def remembers(learning_rate):
        def update(grads, best, params=None, *, value, **_):
            return jax.tree.map(lambda g: -learning_rate * g, grads), best

        return optax.GradientTransformationExtraArgs(lambda params: jnp.inf * jnp.ones(()), update)

    assert not Runner(cut(cancer), remembers, runs=1)([0.1], [0]).diverged.any()


def test_compile_options_are_those_this_xla_knows():
    assert not environment._are_options({"xla_no_such_option": 1})
    environment.fast_jit(jnp.sin)(1.0)


def test_an_epoch_takes_every_row_once():
    rows = loops.rows(0, 10, 4, 5)
    np.testing.assert_array_equal(np.sort(rows[:2].ravel()), np.arange(10))
    np.testing.assert_array_equal(np.sort(rows[2:].ravel()), np.arange(10))
    assert not np.array_equal(rows[:2], rows[2:])


def test_the_memory_bounds_how_many_run_at_once(adam):
    at_once = functools.partial(machine.runs_at_once, adam.entrant)
    assert at_once([160]) == 20
    assert at_once([24]) == 12
    assert at_once([7]) == 7
    assert at_once([25, 15, 10]) == 15  # 30 + 15 + 15 in four calls; at 20 it would be 80 in four
    assert at_once([160], bytes_at_most=0) == 1
    assert 1 <= at_once([160], bytes_at_most=10_000) < 20


def test_strict_promotion_of_the_caller_is_no_matter_for_the_compared(adam):
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    adam([0.1], [0])  # optax.adam fails under strict
