"""One shape of the learning rate for all, whose peak is tuned."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from lecture_opt import compare, specs
from lecture_opt.compare import schedules
from lecture_opt.compare.runs import data, engine, entrants, examine, hosted
from lecture_opt.compare.runs.drivers import Driver
from lecture_opt.compare.show import captions, terminal
from lecture_opt.environment import lenient
from lecture_opt.problems import loop as loops

SHAPE = "warmup_cosine(0.25)"
PROTOCOL = compare.Protocol(
    steps=8, evaluations=2, draws=2, seeds=2, tuning_seed_count=1, baseline="mine:sgd",
    schedule=SHAPE,
)  # fmt: skip
X = np.linspace(-1, 1, 64, dtype=np.float32)


def square(w, part):
    return ((w - part) ** 2).mean()


def loop_of(**options):
    task = compare.Task("t", lambda key: np.float32(2.0), square, square, (X, X, X), steps=8)
    return dataclasses.replace(compare.as_loop(task), evaluations=2, **options)


def spec_of(constructor, name="mine:sgd"):
    return specs.OptimizerSpec(name, name, constructor=constructor)


def asking(learning_rate):
    """It takes no tracer, but a schedule."""
    if not callable(learning_rate) and learning_rate > 1e9:
        raise ValueError
    return optax.chain(optax.clip(100.0), optax.sgd(learning_rate))


def constant(learning_rate):
    """Its learning rate takes no schedule."""
    return optax.scale(-1.0 * learning_rate)


def by_hand(rate):
    """The last validation metric of seed 3."""
    with lenient():
        w = np.float32(2.0)
        for count, batch in zip(range(8), loops.batches(loop_of(), 3), strict=False):
            w = w - rate(count) * jax.grad(square)(w, batch)
        return square(w, X)


def train(loop, spec, peaks, driver=None):
    settings = [{"learning_rate": peak} for peak in peaks]
    shape, examined = schedules.parse(SHAPE), examine.examine(loop)
    examined = examined._replace(driver=driver or examined.driver)
    entrant = entrants.look(loop, examined, spec, settings, shape)
    held, seeds = data.prepare(loop), [3] * len(peaks)
    given = {"learning_rate": np.asarray(peaks)}
    if entrant.driver.host:
        return entrant, hosted.train(entrant, held, given, seeds)
    program = engine.build(entrant, held, runs=len(peaks))
    given = {} if entrant.settings else given
    return entrant, engine.train(program, entrant, held, given, seeds, test_at="last")


@pytest.mark.parametrize("steps", [8, 100, 401])
def test_the_shape_is_optaxs(steps):
    mine = schedules.parse("warmup_cosine(0.25)").of(0.3, steps)
    if steps % 4 == 0:
        theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, steps // 4, steps)
        with lenient():
            wanted = jax.vmap(theirs)(np.arange(steps))
        np.testing.assert_allclose(jax.vmap(mine)(np.arange(steps)), wanted, rtol=1e-5, atol=1e-7)
    assert float(mine(steps)) == pytest.approx(0, abs=1e-7)
    linear = schedules.parse("warmup_linear(0)").of(0.3, steps)
    np.testing.assert_allclose([linear(0), linear(steps / 2)], [0.3, 0.15], rtol=1e-6)
    assert float(schedules.parse("warmup_constant").of(0.3, steps)(steps)) == pytest.approx(0.3)


@pytest.mark.parametrize("driver", [None, Driver(False, False, "why")])
@pytest.mark.parametrize("constructor", [optax.sgd, asking])
def test_a_run_has_the_shape_with_its_own_peak(constructor, driver):
    peaks = [0.05, 0.3]
    entrant, found = train(loop_of(), spec_of(constructor), peaks, driver)
    assert entrant.schedule is not None
    for peak, value in zip(peaks, found.validation[:, -1], strict=True):
        want = by_hand(optax.warmup_cosine_decay_schedule(0.0, peak, 2, 8))
        np.testing.assert_allclose(value, want, rtol=1e-5)


@pytest.mark.parametrize("driver", [None, Driver(False, False, "why")])
def test_an_optimizer_that_takes_no_schedule_keeps_its_rate(driver):
    entrant, found = train(loop_of(), spec_of(constant), [0.05, 0.3], driver)
    assert entrant.schedule is None
    want = [by_hand(lambda _, rate=rate: rate) for rate in (0.05, 0.3)]
    np.testing.assert_allclose(found.validation[:, -1], want, rtol=1e-5)


def test_the_study_says_the_shape_and_who_does_without():
    optimizers = [spec_of(optax.sgd), spec_of(constant, "mine:constant")]
    study = compare.run([loop_of()], optimizers, PROTOCOL)
    note = "mine:constant takes no schedule: its learning rate is constant."
    assert study.tasks[0].notes == [note]
    assert note in terminal.sentences(study.tasks[0], study.protocol)
    for text in (terminal.legend(PROTOCOL, True), captions.protocol(study)):
        assert f"Learning rates follow {SHAPE}; a setting is the peak." in text


def test_what_is_kept_of_another_shape_is_not_taken(tmp_path):
    store = compare.Store(tmp_path / "unfinished")
    for shape in (SHAPE, "warmup_linear(0.25)", None):
        before = set(store.folder.glob("*")) if store.folder.exists() else set()
        protocol = dataclasses.replace(PROTOCOL, schedule=shape)
        compare.run([loop_of()], [spec_of(optax.sgd)], protocol, store=store)
        assert len(set(store.folder.glob("*")) - before) == 3


@pytest.mark.parametrize("constructor", [optax.sgd, asking])
def test_a_loops_own_optimizer_gets_the_shape_and_each_of_its_settings(constructor):
    loop = loop_of()
    loop = dataclasses.replace(
        loop, own=lambda key, learning_rate: loop.start(constructor(learning_rate), key)
    )
    plain, own = (
        compare.run([loop], [spec], dataclasses.replace(PROTOCOL, draws=5, baseline=spec.name))
        for spec in (spec_of(constructor), specs.parse("own"))
    )
    mine, theirs = (study.tasks[0].cells[0].tuning.validation for study in (own, plain))
    np.testing.assert_allclose(mine.runs, theirs.runs, rtol=1e-5)
    assert len(np.unique(mine.runs)) > 3


@pytest.mark.parametrize("text", ["cosine", "warmup_cosine(1)", "warmup_cosine(-0.1)", "", "3"])
def test_a_shape_without_sense_is_refused(text):
    with pytest.raises(ValueError, match=r"wanted one of warmup_cosine\(SHARE\)"):
        compare.Protocol(schedule=text)


def test_a_search_over_steps_is_the_users():
    def mine(learning_rate, steps):
        return optax.sgd(learning_rate / steps)

    spec = dataclasses.replace(
        spec_of(mine), search={"steps": specs.Range("choice", values=(1, 2))}
    )
    plain = dataclasses.replace(PROTOCOL, schedule=None)
    study = compare.run([loop_of()], [spec], plain)
    assert set(study.tasks[0].cells[0].tuning.draws["steps"]) <= {1, 2}
