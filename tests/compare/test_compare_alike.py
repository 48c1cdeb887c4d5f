"""One optimizer under many names: nothing is to be told apart."""

import dataclasses

import numpy as np
import optax
import pytest
from alike import DEFAULT, QUICK, Table, told_apart

from lecture_opt import problems, specs
from lecture_opt.compare.runs import data, engine, entrants, machine
from lecture_opt.compare.runs.examine import examine

RATES = 10 ** np.arange(-4, 1.01, 0.05)


def made_up(kind, seed=0):
    """Runs of an optimizer with a best rate near 0.01: a parabola over log rate, moved by seed."""
    rng = np.random.default_rng(seed)
    logs, seeds = np.log10(RATES)[:, None], 60
    moved = 0.3 * rng.normal(size=seeds) - 2
    own = (logs - moved) ** 2 + 0.5 * rng.normal(size=seeds)
    validation, test = (own + 0.3 * rng.normal(size=own.shape) for _ in range(2))
    diverged = np.zeros(own.shape, bool)
    higher = kind in ("accuracy", "ceiling")
    if kind == "skewed":
        validation, test = np.exp(validation), np.exp(test)
    if kind == "accuracy":  # of 36 examples, so that many runs tie
        validation, test = (
            np.round(36 / (1 + np.exp(0.5 * x - 2))) / 36 for x in (validation, test)
        )
    if kind == "ceiling":
        validation, test = (np.round(36 / (1 + np.exp(x - 6))) / 36 for x in (validation, test))
    if kind == "diverging":  # the more often the higher the rate; it counts as untrained
        diverged = rng.random(own.shape) < np.clip(logs + 2.5, 0, 1)
        test = np.where(diverged, 5.0, test)
    if kind == "identical":
        validation, test = (np.broadcast_to((logs + 2) ** 2, own.shape) for _ in range(2))
    return Table(RATES, validation, test, diverged, higher)


KINDS = ("normal", "skewed", "accuracy", "ceiling", "diverging", "identical")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [DEFAULT, QUICK], ids=["default", "quick"])
def test_an_optimizer_in_other_units_of_rate_is_not_told_from_itself(kind, protocol):
    """The 95 % interval of the share of studies that err ends below 7 %."""
    share = told_apart([made_up(kind)], protocol, candidates=1, studies=200)
    assert share <= 6 / 200  # the interval of Clopper and Pearson then ends at 6.4 %


@pytest.mark.parametrize("kind", ["normal", "accuracy"])
def test_one_of_eleven_is_told_at_most_at_the_stated_rate(kind):
    assert told_apart([made_up(kind)], QUICK, candidates=11, studies=40) <= 1 / 40


def noisy(learning_rate):
    """Adam with 30 % of noise on each update."""
    import jax

    def update(updates, key, params=None):
        key, now = jax.random.split(key)
        leaves, tree = jax.tree.flatten(updates)
        keys = jax.random.split(now, len(leaves))
        pairs = zip(leaves, keys, strict=True)
        scaled = [x * (1 + 0.3 * jax.random.normal(k, x.shape)) for x, k in pairs]
        return jax.tree.unflatten(tree, scaled), key

    noise = optax.GradientTransformation(lambda params: jax.random.PRNGKey(0), update)
    return optax.chain(optax.adam(learning_rate), noise)


def trained(name, constructor, steps, *, gap=0.07, seeds=60):
    """The table of an optimizer's runs on a task."""
    loop = dataclasses.replace(problems.as_loop(problems.load(name)), steps=steps)
    spec = specs.OptimizerSpec("mine:mine", "mine:mine", constructor=constructor)
    entrant = entrants.look(loop, examine(loop), spec, [{"learning_rate": 0.1}])
    held, rates = data.prepare(loop), 10 ** np.arange(-3.6, 0.31, gap)
    program = engine.build(entrant, held, runs=machine.runs_at_once(entrant, [10]))
    settings = {"learning_rate": np.repeat(rates, seeds)}
    runs = np.tile(np.arange(seeds), len(rates)).tolist()
    found = engine.train(program, entrant, held, settings, runs, test_at="last", curve=False)
    test = np.where(found.diverged, found.untrained[:, 1], found.test)
    arrays = (found.validation[:, -1], test, found.diverged)
    shaped = [array.reshape(len(rates), seeds) for array in arrays]
    return Table(rates, *shaped, loop.higher_is_better)


@pytest.mark.slow
@pytest.mark.parametrize("name", problems.DEFAULT)
def test_adam_on_the_default_tasks_is_not_told_from_itself(name):
    """In other units of rate and with noise on its updates, with 1 and with 11 candidates."""
    tables = [trained(name, optax.adam, 200)]
    if name in ("diabetes-mlp", "cancer-logistic"):
        tables.append(trained(name, noisy, 200))
    for protocol in (DEFAULT, QUICK):
        for candidates, studies in ((1, 200), (11, 60)):
            share = told_apart(tables, protocol, candidates=candidates, studies=studies)
            # The interval ends below 7 %: 6 of 200 give 6.4 %, 1 of 60 gives 8.9 %, 0 gives 6.0 %.
            assert share <= (6 / 200 if studies == 200 else 1 / 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", problems.MODERN)
def test_adam_on_the_shipped_loops_is_not_told_from_itself(name):
    """Short runs, at half of the rates and two thirds of the seeds."""
    steps = 20 if name in ("bytes-transformer", "bytes-gru") else 60
    table = trained(name, optax.adam, steps, gap=0.14, seeds=40)
    for protocol in (DEFAULT, QUICK):
        assert told_apart([table], protocol, candidates=1, studies=200) <= 6 / 200
        assert told_apart([table], protocol, candidates=11, studies=60) <= 1 / 60
