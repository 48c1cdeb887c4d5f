"""A long run: constant memory, constant time a step, counters and keys at their ends.

`python tests/training/test_training_soak.py` prints what 2e6 steps took.
"""

import itertools
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lecture_opt as lo

SIX = (lo.sgd, lo.momentum, lo.nesterov, lo.adagrad, lo.rmsprop, lo.adam)
DATA = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


def loss_fn(params, batch):
    return jnp.mean((batch @ params - 1) ** 2)


def resident():
    """Bytes of memory that the process holds now, or held at most where Linux's /proc is not."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def soak(steps):
    """The result, and the clock, memory and live arrays at each tenth of the run."""
    looks = []

    def look(step, params, losses):
        if step % (steps // 10) == 0:
            looks.append((step, time.perf_counter(), resident(), len(jax.live_arrays())))

    result = lo.fit(loss_fn, jnp.zeros(4), lo.adam(1e-3), DATA, steps=steps, batch_size=8,
                    key=jax.random.key(0), callback=look)  # fmt: skip
    return result, looks


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps():
    result, looks = soak(200_000)
    assert result.losses.shape == (200_000,)
    assert np.isfinite(result.losses).all()
    assert len({live for *_, live in looks[1:]}) == 1
    losses, slack = result.losses.nbytes, 8 * 2**20  # slack: what the allocator keeps
    chunks = 200_000 // 100 * 200  # a chunk's losses are an array with a header
    assert looks[-1][2] - looks[1][2] < losses + chunks + slack


@pytest.mark.parametrize("make", SIX, ids=lambda make: make.__name__)
def test_a_run_goes_on_beyond_the_last_count(make):
    optimizer = make()
    state = optimizer.init(jnp.zeros(4))._replace(count=jnp.int32(2**31 - 3))
    result = lo.fit(loss_fn, jnp.zeros(4), optimizer, DATA, steps=10, opt_state=state,
                    start_step=2**31 - 3, batch_size=8, key=jax.random.key(0))  # fmt: skip
    assert result.opt_state.count == 2**31 - 1
    assert result.step == 2**31 + 7
    assert np.isfinite(result.losses).all()
    assert np.isfinite(result.params).all()


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**32 - 1])
def test_seeds_at_their_ends(seed):
    run = {"steps": 10, "batch_size": 8, "key": jax.random.key(seed)}
    first = lo.fit(loss_fn, jnp.zeros(4), SGD, DATA, **run)
    np.testing.assert_array_equal(lo.fit(loss_fn, jnp.zeros(4), SGD, DATA, **run).losses,
                                  first.losses)  # fmt: skip
    assert np.isfinite(first.losses).all()


SGD = lo.sgd(0.1)
TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
LAST = float(np.nextafter(np.float32(1), np.float32(0)))


@pytest.mark.parametrize(
    ("optimizer", "moves"),
    [
        (lo.sgd(0.0), False),
        (lo.sgd(TINY), None),  # steps below the smallest normal number may be flushed to 0
        (lo.sgd(1e-30), True),
        (lo.momentum(0.1, 0.0), True),
        (lo.momentum(1e-6, LAST), True),
        (lo.nesterov(1e-6, LAST), True),
        (lo.adagrad(1e-3, eps=0.0), True),
        (lo.adagrad(1e-3, eps=HUGE), True),
        (lo.rmsprop(1e-3, decay=0.0), True),
        (lo.rmsprop(1e-6, decay=LAST), True),
        (lo.adam(1e-3, b1=0.0, b2=0.0), True),
        (lo.adam(1e-6, b1=LAST, b2=LAST), True),
        (lo.adam(1e-3, eps=0.0), True),
        (lo.adam(1e-3, eps=HUGE), None),
        (lo.adam(1e-3, b1_decay=0.0), True),
    ],
)
def test_hyperparameters_at_their_ends(optimizer, moves):
    start = jnp.zeros(4)
    result = lo.fit(loss_fn, start, optimizer, DATA, steps=20)
    assert np.isfinite(result.losses).all()
    assert np.isfinite(result.params).all()
    assert moves is None or bool((result.params != start).any()) == moves


def test_a_learning_rate_that_overflows_is_in_the_losses():
    result = lo.fit(loss_fn, jnp.zeros(4), lo.sgd(HUGE), DATA, steps=20)
    assert not np.isfinite(result.losses[-1])


if __name__ == "__main__":
    result, looks = soak(int(float(sys.argv[1])) if len(sys.argv) > 1 else 2_000_000)
    for (step, then, _, _), (_, now, held, live) in itertools.pairwise(looks):
        part = 1e6 * (now - then) / (looks[1][0] - looks[0][0])
        print(f"{step:>9} {part:6.2f} us a step {held / 2**20:7.1f} MiB {live} arrays")
    print(f"losses: {result.losses.nbytes / 1e6:.1f} MB, last {result.losses[-1]:.4g}")
