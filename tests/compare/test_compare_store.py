"""What is kept is found again by what was computed, whatever it is called."""

import dataclasses
import threading

import numpy as np
import optax
import pytest

from lecture_opt import compare, specs
from lecture_opt.compare.runs import cell, costs, engine

PROTOCOL = compare.Protocol(
    steps=4, evaluations=2, draws=2, seeds=2, tuning_seed_count=1, baseline="mine:mine"
)


def task(factor=1.0, shift=0.0, name="t"):
    """A task whose loss has a constant and whose data are shifted."""
    x = np.linspace(-1, 1, 64, dtype=np.float32) + np.float32(shift)

    def loss(w, part):
        return factor * ((w - part) ** 2).mean()

    return compare.Task(name, lambda key: np.float32(2.0), loss, loss, (x, x, x))


def decaying(power):
    def mine(learning_rate):
        return optax.sgd(lambda count: learning_rate / (count + 1.0) ** power)

    return specs.OptimizerSpec("mine:mine", "mine:mine", constructor=mine)


@pytest.fixture
def stages(tmp_path):
    """Runs a comparison with one store; which files it wrote."""
    store = compare.Store(tmp_path / "unfinished")

    def run(problem, spec=decaying(0.5), protocol=PROTOCOL):  # noqa: B008
        before = set(store.folder.glob("*")) if store.folder.exists() else set()
        compare.run([problem], [spec], protocol, store=store)
        return set(store.folder.glob("*")) - before

    return run


def test_the_same_computation_is_found_whatever_its_name(stages):
    assert len(stages(task())) == 3  # tuned, reported, timed
    assert not stages(task())
    assert not stages(task(name="renamed"))


@pytest.mark.parametrize(
    "other",
    [
        {"problem": task(factor=2.0)},
        {"problem": task(shift=0.1)},
        {"problem": task(), "spec": decaying(0.25)},
        {"problem": task(), "protocol": dataclasses.replace(PROTOCOL, steps=8)},
        {"problem": task(), "protocol": dataclasses.replace(PROTOCOL, batch_size=16)},
        {
            "problem": task(),
            "protocol": dataclasses.replace(PROTOCOL, rates=specs.Range("log", 1e-3, 1.0)),
        },
    ],
    ids=["loss", "data", "optimizer", "steps", "batch_size", "rates"],
)
def test_another_computation_of_the_same_name_is_computed(stages, other):
    stages(task())
    assert len(stages(**other)) == 3


def trained(monkeypatch):
    """The seeds of all runs that are trained from now on."""
    seen, real = [], engine.train

    def train(program, entrant, data, scalars, seeds, **options):
        seen.extend(seeds)
        return real(program, entrant, data, scalars, seeds, **options)

    monkeypatch.setattr(engine, "train", train)
    return seen


def test_more_seeds_train_the_new_ones_alone_and_give_what_one_study_gives(tmp_path, monkeypatch):
    seen, store = trained(monkeypatch), compare.Store(tmp_path / "runs")
    few = dataclasses.replace(PROTOCOL, draws=6, tuning_seed_count=6, baseline="optax:sgd")
    many = dataclasses.replace(few, seeds=5, tuning_seed_count=8)
    pair = [specs.parse("optax:sgd"), specs.parse("optax:adam")]
    compare.run([task()], pair, few, store=store)
    seen.clear()
    study = compare.run([task()], pair, many, store=store)
    low = compare.protocol.FIRST_REPORTING_SEED
    chosen_anew = {c.hyperparameters["learning_rate"] for c in study.tasks[0].cells}
    assert len(chosen_anew) <= 2
    assert {seed for seed in seen if seed < cell.TWIN} == {6, 7}
    assert {low + 2, low + 3, low + 4} <= set(seen)
    whole = compare.run([task()], pair, many)
    for mine, theirs in zip(study.tasks[0].cells, whole.tasks[0].cells, strict=True):
        np.testing.assert_allclose(mine.test.values, theirs.test.values, rtol=1e-6)
        np.testing.assert_allclose(
            mine.tuning.validation.runs, theirs.tuning.validation.runs, rtol=1e-6
        )
    seen.clear()
    compare.run([task()], pair, few, store=compare.Store(tmp_path / "runs"))
    assert not [seed for seed in seen if seed < low]  # fewer seeds are there already


def test_a_damaged_file_is_computed_again_and_said(stages, tmp_path):
    kept = stages(task())
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="is damaged and computed again"):
        stages(task())
    for path in kept:
        with np.load(path) as file:
            assert file.files


def test_steps_are_timed_once_and_while_nothing_trains(tmp_path, monkeypatch):
    trains, training, timed = engine.train, threading.Semaphore(9), []

    def train(*args, **options):
        with training:
            return trains(*args, **options)

    def step_seconds(program, entrant, data, setting, seed):
        timed.append(training._value)
        return measure(program, entrant, data, setting, seed)

    measure = costs.step_seconds
    monkeypatch.setattr(engine, "train", train)
    monkeypatch.setattr(costs, "step_seconds", step_seconds)
    pair = [specs.parse("optax:sgd"), specs.parse("optax:adam")]
    protocol = dataclasses.replace(PROTOCOL, baseline="optax:sgd")
    store = compare.Store(tmp_path / "runs")
    first, again = (compare.run([task()], pair, protocol, store=store) for _ in range(2))
    assert timed == [9, 9]
    for one, other in zip(first.tasks[0].cells, again.tasks[0].cells, strict=True):
        assert 0 < one.cost.step_seconds == other.cost.step_seconds
