"""compare: the engine is the hand-written loop, the statistics are right, the command works."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import cli, compare, specs
from lecture_opt.compare import engine, statistics, tasks


@pytest.fixture(scope="module")
def cancer():
    return tasks.cancer_logistic()


def start_of(task, seeds, steps=20):
    return engine.prepare(task, seeds=seeds, steps=steps, batch_size=16, evaluations=4)


def swept(task, constructor, start, rates):
    program = engine.lower(task, constructor, start, rates).compile(engine.fast_compile_options())
    return engine.sweep(program, start, rates)


def test_a_run_of_the_sweep_is_the_hand_written_loop(cancer):
    start = start_of(cancer, (3, 7))
    result = swept(cancer, optax.adam, start, (0.01, 0.1))
    params = jax.tree.map(lambda leaf: leaf[1], start.params)
    optimizer = optax.adam(0.1)
    with jax.numpy_dtype_promotion("standard"):
        state = optimizer.init(params)
        for rows in start.rows[1].reshape(-1, 16):
            batch = tuple(part[rows] for part in cancer.train)
            updates, state = optimizer.update(jax.grad(cancer.loss)(params, batch), state)
            params = optax.apply_updates(params, updates)
    for ours, theirs in zip(*map(jax.tree.leaves, (result.params, params)), strict=True):
        np.testing.assert_allclose(ours[1, 1], theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        result.validation[1, 1, -1], cancer.metric(params, cancer.validation)
    )


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax.adam itself fails under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_a_diverged_run_is_frozen_and_leaves_the_others_alone(cancer):
    def explodes(learning_rate):
        def update(grads, state, params=None):
            factor = jnp.where(learning_rate > 1, jnp.inf, -learning_rate)
            return jax.tree.map(lambda g: factor * g, grads), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    start = start_of(cancer, (0,))
    both = swept(cancer, explodes, start, (0.1, 2.0))
    alone = swept(cancer, explodes, start, (0.1,))
    np.testing.assert_array_equal(both.diverged, [[False, True]])
    assert np.all(np.isnan(both.losses[0, 1]))
    np.testing.assert_allclose(both.losses[0, 0], alone.losses[0, 0], rtol=1e-5)
    for before, after in zip(*map(jax.tree.leaves, (start.params, both.params)), strict=True):
        np.testing.assert_array_equal(after[0, 1], before[0])


def test_one_bad_number_among_finite_ones_is_found():
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        assert not engine._finite({"a": jnp.array([1.0, bad]), "b": jnp.ones(2)})
    assert not engine._finite({"a": jnp.array([jnp.inf, -jnp.inf])})
    assert engine._finite({"a": jnp.array([1.0, -2.0]), "b": jnp.zeros(0)})


def test_compile_options_are_those_this_xla_knows():
    assert not engine._is_option("xla_no_such_option", 1)
    jax.jit(jnp.sin).lower(1.0).compile(engine.fast_compile_options())


def test_an_epoch_takes_every_row_once():
    rows = engine.batches(0, 10, 4, 5)
    np.testing.assert_array_equal(np.sort(rows[:2].ravel()), np.arange(10))
    np.testing.assert_array_equal(np.sort(rows[2:].ravel()), np.arange(10))
    assert not np.array_equal(rows[:2], rows[2:])


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_has_a_finite_gradient_and_disjoint_parts(name, key):
    task = tasks.TASKS[name]()
    params = task.init(key)
    grads = jax.grad(task.loss)(params, task.train)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    assert np.isfinite(task.metric(params, task.test))
    sizes = [len(part[0]) for part in (task.train, task.validation, task.test)]
    assert sizes[0] > 2 * sizes[1]
    assert abs(sizes[1] - sizes[2]) <= 1


def test_the_chosen_rate_is_the_best_that_did_not_diverge():
    values = np.array([[0.1, 0.3, 0.9], [0.2, 0.4, np.nan]])
    diverged = np.isnan(values)
    assert statistics.best_rate(values, diverged, higher_is_better=True) == 1
    assert statistics.best_rate(values, diverged, higher_is_better=False) == 0


def test_the_bootstrap_interval_is_near_the_normal_one():
    values = np.random.default_rng(1).normal(size=200)
    low, high = statistics.bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(200)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.02)


def test_runs_that_never_arrive_count_as_the_slowest():
    assert statistics.median_censored(np.array([np.nan, np.nan, 5.0])) is None
    assert statistics.median_censored(np.array([1.0, np.nan, 5.0])) == 5.0


def test_lower_is_reached_from_above():
    steps = statistics.steps_to_target(
        np.array([[3.0, 1.0]]), np.array([10, 20]), 2.0, higher_is_better=False
    )
    np.testing.assert_array_equal(steps, [20.0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 0},
        {"steps": 10, "evaluations": 3},
        {"learning_rates": ()},
        {"learning_rates": (0.1, -1.0)},
        {"tuning_seeds": ()},
        {"reporting_seeds": (1,)},
        {"tuning_seeds": (1,), "reporting_seeds": (1, 2)},
    ],
)
def test_a_protocol_without_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="Protocol: "):
        compare.Protocol(**arguments)


def test_the_command_writes_the_table_the_json_and_the_figures(tmp_path, capsys):
    arguments = ["compare", "--quick", "--steps", "20", "--task", "cancer-logistic"]
    arguments += ["--optimizer", "lecture:adam", "--optimizer", "optax:adam"]
    assert cli.main([*arguments, "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "lecture:adam" in shown
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["format"] == 1
    ours, theirs = results["tasks"][0]["optimizers"]
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-3)
    for name in ("losses.png", "learning_rates.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["learning_rates.png", "losses.png", "results.json"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "mnist"], "there are digits-softmax"),
        (["--steps", "0"], "steps=0"),
        (["--seeds", "1"], "two reporting seeds"),
        (["--optimizer", "optax:adaam"], "did you mean"),
        (["--optimizer", "optax:lbfgs"], "can't train"),
        (["--optimizer", "optax:sgd(learning_rate=0.1)"], "leave it out"),
        (["--output", "/proc/none"], "/proc/none"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--task", "cancer-logistic", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message


def test_an_optimizer_without_a_learning_rate_is_refused(cancer, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import optax\nready = optax.adam(0.1)\n")
    with pytest.raises(ValueError, match="needs a constructor that takes"):
        compare.run([cancer], [specs.parse(f"{path}:ready")], compare.protocol(quick=True))


def test_the_same_comparison_gives_the_same_numbers(cancer):
    protocol = compare.protocol(steps=20, quick=True)
    optimizers = [specs.parse("optax:sgd"), specs.parse("optax:adam")]

    def numbers():
        task = compare.run([cancer], optimizers, protocol)["tasks"][0]
        times = ("compile_seconds", "run_seconds")
        return [{k: v for k, v in c.items() if k not in times} for c in task["optimizers"]]

    jax.tree.map(np.testing.assert_array_equal, numbers(), numbers())
