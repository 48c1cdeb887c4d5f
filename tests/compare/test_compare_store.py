"""What is kept is found again by what was computed, whatever it is called."""

import dataclasses

import numpy as np
import optax
import pytest

from lecture_opt import compare, specs

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
    assert len(stages(task())) == 2
    assert not stages(task())
    assert not stages(task(name="renamed"))


@pytest.mark.parametrize(
    "other",
    [
        {"problem": task(factor=2.0)},
        {"problem": task(shift=0.1)},
        {"problem": task(), "spec": decaying(0.25)},
        {"problem": task(), "protocol": dataclasses.replace(PROTOCOL, seeds=3)},
        {"problem": task(), "protocol": dataclasses.replace(PROTOCOL, steps=8)},
        {"problem": task(), "protocol": dataclasses.replace(PROTOCOL, batch_size=16)},
        {
            "problem": task(),
            "protocol": dataclasses.replace(PROTOCOL, rates=specs.Range("log", 1e-3, 1.0)),
        },
    ],
    ids=["loss", "data", "optimizer", "seeds", "steps", "batch_size", "rates"],
)
def test_another_computation_of_the_same_name_is_computed(stages, other):
    stages(task())
    assert len(stages(**other)) == 2


def test_a_damaged_file_is_computed_again_and_said(stages, tmp_path):
    kept = stages(task())
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="is damaged and computed again"):
        stages(task())
    for path in kept:
        with np.load(path) as file:
            assert file.files
