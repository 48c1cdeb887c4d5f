"""Loops that can't be traced run as they are: steps from the host, one run after the other."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import specs
from lecture_opt.compare.runs.data import Data, Piece, Rows, mean_over, of_run, picked, taken
from lecture_opt.compare.runs.engine import Keep, Trained
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.problems import bound
from lecture_opt.problems import loop as loops
from lecture_opt.problems.loop import State, metric_key, start_key, step_key
from lecture_opt.problems.parts import PARTS
from lecture_opt.problems.task import Task


def train(
    entrant: Entrant,
    data: Data,
    scalars: Mapping[str, np.ndarray],
    seeds: Sequence[int],
    *,
    test_at: str | None = None,
    curve: bool = True,
    keep: Keep = lambda _, compute: compute(),
    between: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Trains one run for each entry of the arrays, as `engine.train` does."""
    found = []
    for i, seed in enumerate(seeds):
        setting = {name: values[i].item() for name, values in scalars.items()}
        run = functools.partial(_run, entrant, data, setting, seed, test_at, curve, between)
        with users_code():
            found.append(keep((setting, seed), run))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _run(
    entrant: Entrant,
    data: Data,
    setting: Mapping[str, float],
    seed: int,
    test_at: str | None,
    curve: bool,
    between: Callable[[float], None],
) -> Trained:
    loop, key = entrant.loop, start_key(seed)
    state, batches = entrant.start(setting)(key), loops.batches(loop, seed)
    metric_of = functools.partial(_metric, entrant, data, seed)

    def tested() -> float:
        return metric_of(state, "test") if test_at else np.nan

    untrained = [metric_of(state, "validation") if curve else np.nan, tested()]
    losses, validation, test, alive = [], [], [], True
    first, watched = 0, _finite(state)
    for last in loops.evaluated_steps(loop).tolist():
        between(first / loop.steps)
        since = []
        for step in range(first, last):
            state, loss = bound.advance(loop, state, next(batches), step_key(key, step))
            since.append(float(loss))
        first = last
        held = all(now or not was for now, was in zip(_finite(state), watched, strict=False))
        alive = alive and held and bool(np.isfinite(np.mean(since)))
        metric = np.nan
        if curve or last == loop.steps:
            metric = metric_of(state, "validation")
            alive = alive and bool(np.isfinite(metric))
        losses.append(np.mean(since) if alive else np.nan)
        validation.append(metric if alive else np.nan)
        if test_at == "best" or last == loop.steps:
            test.append(np.array([tested()], np.float32))
    seen = np.array(validation, np.float32)
    return Trained(
        np.array(losses, np.float32),
        seen,
        taken(loop, test, seen[None])[0],
        np.array(untrained, np.float32),
        np.array(not alive),
    )


def _finite(state: State) -> list[bool]:
    """Which leaves of the state are."""

    def is_inexact(leaf: Any) -> bool:
        dtype = getattr(leaf, "dtype", bool)
        return isinstance(leaf, float) or bool(jnp.issubdtype(dtype, jnp.inexact))

    leaves = bound.flatten(state)[0]
    return [not is_inexact(leaf) or bool(jnp.isfinite(leaf).all()) for leaf in leaves]


def _metric(entrant: Entrant, data: Data, seed: int, state: State, part: str) -> float:
    loop, key = entrant.loop, metric_key(part)
    leaves, merge = bound.flatten(state)
    state = merge(leaves)  # a metric may put modules into their mode for evaluation
    if loop.host_metric:
        whole = loop.parts(seed)[PARTS.index(part)]
        return float(bound.measure(loop, state, whole, key)[0])
    cut = data.validation if part == "validation" else data.test

    def metric(piece: Piece, rows: Rows | None) -> tuple[Any, Any]:
        own = None if rows is None else rows[0]
        return bound.measure(loop, state, of_run(piece.batch, own), key)

    return float(mean_over(cut, picked(loop, cut, [seed]), metric))


def source(entrant: Entrant, spec: specs.OptimizerSpec) -> list[str]:
    """What decides the runs of a loop that can't be traced, as far as text says it.

    The optimizer as it was named, and the files that hold its constructor and the loop's functions.
    """
    loop, found = entrant.loop, [spec.text]
    for function in (spec.constructor, loop.own, loop.start, loop.step, loop.metric):
        found += text_of(function)
    return found


def text_of(function: Any) -> list[str]:
    """The name and the file of a function, and of the functions and tasks that it closes over."""
    found = []
    for one in _with_inner(function, []):
        try:
            text = Path(str(inspect.getsourcefile(one))).read_text(encoding="utf-8")
            found += [getattr(one, "__qualname__", ""), text]
        except (TypeError, OSError):
            found.append(repr(one))
    return found


def _with_inner(function: Any, seen: list[Any]) -> list[Any]:
    """The function and those within it, in the order in which they are met."""
    function = inspect.unwrap(getattr(function, "func", function))  # of a partial
    if any(function is one for one in seen):
        return seen
    seen.append(function)
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty cell
            held = cell.cell_contents
            for one in (held.init, held.loss, held.metric) if isinstance(held, Task) else (held,):
                if inspect.isfunction(inspect.unwrap(getattr(one, "func", one))):
                    _with_inner(one, seen)
    return seen
