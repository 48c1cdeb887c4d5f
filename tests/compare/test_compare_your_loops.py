"""The loops of examples/your_loop_*.py: a run inside `compare` is the script's own training."""

import dataclasses
import functools
import runpy
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from flax import nnx

from lecture_opt import compare, specs
from lecture_opt.environment import lenient
from lecture_opt.problems import loop as loops

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = {"steps": 8, "batch_size": 32, "evaluations": 2}
RATE = 0.0625


def sgd(learning_rate):
    """Not Adam, which makes a bias before a batch norm follow its rounding."""
    return optax.sgd(learning_rate, momentum=0.9)


@functools.cache
def script(kind):
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"your_loop_{kind}.py")))


def norm(kind, state):
    """The norm of what the optimizer moves."""
    params = {
        "linen": lambda: state.params,
        "nnx": lambda: nnx.state(state.net, nnx.Param),
        "equinox": lambda: eqx.filter(state[0], eqx.is_inexact_array),
        "stream": lambda: state[0],
    }[kind]()
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(params)) ** 0.5


@functools.cache
def outside(kind, seed):
    """The norm at the end of the script's own training with the keys and batches of a seed."""
    own = script(kind)
    loop = dataclasses.replace(own.loop, **SIZES)
    key, batches = loops.start_key(seed), loops.batches(loop, seed)
    batches = [batch for batch, _ in zip(batches, range(loop.steps), strict=False)]
    with lenient():
        if kind in ("linen", "nnx"):
            return norm(kind, own.train(loop.start(sgd(RATE), key), batches))
        return norm(kind, (own.train(sgd(RATE), key, batches),))


def inside(loop, constructor=sgd, text="mine:sgd"):
    """The last validation metric of each reporting seed, and these seeds."""
    spec = specs.OptimizerSpec(text, text, constructor=constructor)
    protocol = compare.Protocol(
        draws=1, seeds=2, tuning_seed_count=1, baseline=text,
        rates=specs.Range("log", RATE / 2, RATE * 2), **SIZES,
    )  # fmt: skip
    cell = compare.run([loop], [spec], protocol).tasks[0].cells[0]
    assert cell.hyperparameters["learning_rate"] == pytest.approx(RATE, rel=1e-15)
    return np.array(cell.validation.runs)[:, -1], protocol.reporting_seeds


KINDS = ["linen", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("nnx", "equinox"))]


@pytest.mark.parametrize("kind", [*KINDS, "stream"])
def test_a_run_inside_compare_is_the_scripts_own_training(kind):
    own = script(kind)

    def size(state, part):
        return {own.loop.metric_name: norm(kind, state)}

    loop = dataclasses.replace(own.loop, metric=size, host_metric=False, **SIZES)
    found, seeds = inside(loop)
    want = [outside(kind, seed) for seed in seeds]
    assert want[0] != want[1]
    # 8 steps of a few hundred float32 roundings each.
    np.testing.assert_allclose(found, want, rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_program_is_the_same_so_are_the_bits(kind):
    """A loop that reads its loss between steps can't be traced, and runs as it is."""
    own = script(kind)

    def step(state, batch):
        result = own.loop.step(state, batch)
        loss = result if kind == "nnx" else result[1]
        float(loss["loss"] if kind == "linen" else loss)
        return result

    def size(state, part):
        return {own.loop.metric_name: norm(kind, state)}

    loop = dataclasses.replace(own.loop, step=step, metric=size, **SIZES)
    found, seeds = inside(loop)
    want = [outside(kind, seed) for seed in seeds]
    np.testing.assert_array_equal(found, np.asarray(want, np.float64))


def test_the_loops_own_optimizer_is_an_entrant_like_others():
    loop = script("stream").loop
    own = dataclasses.replace(
        loop, own=lambda key, learning_rate: loop.start(sgd(learning_rate), key)
    )
    found, _ = inside(own, specs.parse("own").constructor, "own")
    np.testing.assert_array_equal(found, inside(loop)[0])


def test_a_loop_without_an_optimizer_of_its_own_says_so():
    with pytest.raises(ValueError, match=r"own: digits-linen has no optimizer of its own"):
        inside(script("linen").loop, specs.parse("own").constructor, "own")


def test_own_is_what_compare_alone_can_train():
    assert specs.is_own(specs.parse("own(weight_decay=log(1e-4, 1))"))
    with pytest.raises(specs.SpecError, match="which only compare trains"):
        specs.build(specs.parse("own"), learning_rate=0.1)
