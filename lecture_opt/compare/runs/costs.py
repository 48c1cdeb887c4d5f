"""What a step takes, and how much memory: clocks and sizes of an optimizer on a loop."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from lecture_opt.compare.runs.data import Data, feeds
from lecture_opt.compare.runs.engine import Program
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.numerics import tree_bytes
from lecture_opt.problems import bound
from lecture_opt.problems import loop as loops

LEAST = 0.02
"""Seconds."""


def step_seconds(
    program: Program | None,
    entrant: Entrant,
    data: Data,
    setting: Mapping[str, float],
    seed: int,
) -> float:
    """One step of one run, in the batch of all if there is a program: without evaluations."""
    with users_code():
        if program is None:
            return _on_host(entrant, setting, seed)
        return _in_program(program, entrant, data, setting, seed)


def _in_program(
    program: Program, entrant: Entrant, data: Data, setting: Mapping[str, float], seed: int
) -> float:
    runs, (stride, advance) = program.runs, next(iter(program.advance.items()))
    own = {name: np.full(runs, setting[name], np.float32) for name in entrant.names}
    given = jax.device_put((own, np.zeros(runs, np.int32), np.full(runs, seed, np.int32)))
    fed = next(feeds(entrant.loop, [seed] * runs, [stride]))
    arrays = program.begin(*given)

    def steps() -> None:
        nonlocal arrays
        arrays, loss = advance(*given, arrays, fed, np.int32(0), data.train)
        loss.block_until_ready()

    return _least(steps, entrant.loop.steps // stride) / (runs * stride)


def _on_host(entrant: Entrant, setting: Mapping[str, float], seed: int) -> float:
    loop, key = entrant.loop, loops.start_key(seed)
    state, batch = entrant.start(setting)(key), next(loops.batches(loop, seed))

    def step() -> None:
        nonlocal state
        state, loss = bound.advance(loop, state, batch, loops.step_key(key, 0))
        float(loss)

    if loop.steps > 1:
        step()  # it may compile
    return _least(step, loop.steps - 1)


def _least(call: Callable[[], None], most: int) -> float:
    """The least seconds that a call takes, of `most` and of those that fit into `LEAST`."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < most and sum(seconds) < LEAST):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def state_bytes(entrant: Entrant, setting: Mapping[str, float], parameters: int) -> int:
    """The size of the optimizer's state in one run, whose params take `parameters` bytes."""
    if entrant.build is None:
        return max(tree_bytes(entrant.layout) - parameters, 0)
    with users_code():
        _, state = bound.trained_by(entrant.loop, entrant.made(setting))
    return tree_bytes(state)
