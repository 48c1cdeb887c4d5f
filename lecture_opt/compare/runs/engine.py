"""Training many runs at once: a run is a setting of the hyperparameters and a seed.

Three programs do it: `begin` makes the states, `advance` takes steps, `judge` takes the metric
over a piece of a part of the data. A seed fixes the initial state, the minibatches and the keys
whatever the optimizer and the setting, so that runs are paired. The programs take a fixed number
of runs; more are done in several calls, which bounds the memory, and calls are spread over all
devices.

    program = build(entrant, data, runs=4)
    trained = train(program, data, {"learning_rate": [0.01, 0.1]}, seeds=[0, 0])

How `advance` goes is said by the entrant's `driver` (see `drivers`). Runs never mix, so one that
diverges leaves the others alone. It is noticed at the next evaluation, and from then on all that
is said of it is NaN.
"""

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from lecture_opt.compare.runs import pure
from lecture_opt.compare.runs.data import (
    Data,
    Piece,
    Rows,
    feeds,
    mean_over,
    picked,
    taken,
)  # fmt: skip
from lecture_opt.compare.runs.drivers import Driver
from lecture_opt.compare.runs.entrants import Entrant, is_small
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.compare.runs.machine import many
from lecture_opt.environment import fast_jit
from lecture_opt.problems import bound
from lecture_opt.problems.bound import Arrays
from lecture_opt.problems.loop import Loop, evaluated_steps, metric_key
from lecture_opt.problems.parts import PARTS


class Trained(NamedTuple):
    """Runs along the first axis.

    Attributes:
        losses: (runs, evaluations) mean training loss since the previous evaluation; NaN once
            diverged.
        validation: (runs, evaluations) validation metric, likewise; NaN where it wasn't asked for.
        test: (runs,) metric on the test part; NaN where it wasn't asked for.
        untrained: (runs, 2) metric of the initial state on both parts, likewise.
        diverged: (runs,) whether a loss, the metric or a number of the state stopped being finite.
    """

    losses: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    untrained: np.ndarray
    diverged: np.ndarray


Keep: TypeAlias = Callable[[object, Callable[[], Trained]], Trained]
"""What was given to a call, and the call -> what it gives, now or before."""


class Program(NamedTuple):
    """The compiled training of `runs` runs.

    Attributes:
        begin: (scalars, setting, seed) -> arrays, of each run.
        advance: Number of steps -> (scalars, setting, seed, arrays, feed, first step, train) ->
            arrays, mean loss.
        finite: Arrays -> which of them are.
        judges: Shape of a piece -> (scalars, setting, seed, arrays, rows, piece, key) -> value,
            weight.
        runs: How many runs a call takes.
        trace_seconds, compile_seconds: What making it took.
        memory_bytes: What its steps take; 0 where XLA doesn't say.
    """

    begin: Callable[..., Arrays]
    advance: Mapping[int, Callable[..., tuple[Arrays, jax.Array]]]
    finite: Callable[[Arrays], jax.Array]
    judges: Mapping[Any, Callable[..., Any]]
    runs: int
    trace_seconds: float
    compile_seconds: float
    memory_bytes: int


def build(entrant: Entrant, data: Data, *, runs: int) -> Program:
    """Compiles the training of `runs` runs; run i has setting i modulo the entrant's settings."""
    began = time.perf_counter()
    loop, driver = entrant.loop, entrant.driver
    small = is_small(entrant)
    jit = functools.partial(fast_jit, level=1) if small else jax.jit
    numbers = np.zeros(runs, np.int32)
    scalars = {name: np.zeros(runs, np.float32) for name in entrant.names}
    arguments = scalars, numbers % max(len(entrant.settings), 1), numbers
    with users_code():
        once = fast_jit if small else jax.jit
        begin = once(many(pure.begin_of(entrant), "rrr", driver)).lower(*arguments)
        arrays = begin.out_info
        advance = jit(many(pure.advance_of(entrant), "rrrrrww", driver), donate_argnums=3)
        advances = {}
        for stride in {n for gap in _gaps(loop) for n in _strides(driver, gap)}:
            feed = jax.tree.map(
                lambda a, n=stride: jax.ShapeDtypeStruct((runs, n, *a.shape), a.dtype), data.fed
            )
            given = arrays, feed, np.int32(0), data.train
            advances[stride] = advance.lower(*arguments, *given)
        judge = jit(many(pure.judge_of(entrant), "rrrrrww", driver))
        key = metric_key("test")
        cut = () if loop.host_metric else (*data.validation, *data.test)
        pairs = zip(cut, picked(loop, cut, numbers.tolist()), strict=True)
        judges = {p.shape: judge.lower(*arguments, arrays, r, p.batch, key) for p, r in pairs}
    traced = time.perf_counter()
    advanced = {stride: one.compile() for stride, one in advances.items()}
    compiled = begin.compile(), advanced, _finite(driver)
    judged = {shape: one.compile() for shape, one in judges.items()}
    seconds = time.perf_counter() - traced
    memory = max(_bytes_of(one) for one in advanced.values())
    return Program(*compiled, judged, runs, traced - began, seconds, memory)


@functools.cache
def _finite(driver: Driver) -> Callable[[Arrays], jax.Array]:
    """Arrays -> which of them are, of each run; one for all optimizers, most have equal states."""
    jitted: Callable[[Arrays], jax.Array] = fast_jit(many(pure.finite, "r", driver), level=1)
    return jitted


def _bytes_of(compiled: Any) -> int:
    stats = compiled.memory_analysis()
    names = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(stats, name, 0) for name in names)


def train(
    program: Program,
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
    """Trains one run for each entry of the arrays.

    `test_at` says when the test metric is taken: "last", or "best" by the validation metric, which
    without `curve` is taken at the last evaluation alone. Each call is computed by `keep`, or found
    by what it was given; `between` is called with the share of it that is done, at each evaluation.
    Where the entrant has settings, run i has setting i modulo their count.
    """
    parts = []
    for first in range(0, len(seeds), program.runs):
        # A short last call repeats its last runs: the program has one size.
        picked = np.arange(first, first + program.runs)
        while picked[-1] >= len(seeds):
            picked[picked >= len(seeds)] -= max(len(entrant.settings), 1)
        given = (
            {name: np.asarray(v, np.float32)[picked] for name, v in scalars.items()},
            np.asarray(picked % max(len(entrant.settings), 1), np.int32),
            np.asarray(seeds, np.int32)[picked],
        )
        kept = min(program.runs, len(seeds) - first)
        call = functools.partial(_call, program, entrant, data, given, test_at, curve, between)
        result = keep((given, entrant.settings), call)
        parts.append(jax.tree.map(lambda leaf, kept=kept: leaf[:kept], result))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _call(
    program: Program,
    entrant: Entrant,
    data: Data,
    given: tuple[Any, ...],
    test_at: str | None,
    curve: bool,
    between: Callable[[float], None],
) -> Trained:
    """One call's runs from start to end."""
    loop, driver = entrant.loop, entrant.driver
    seeds, placed = given[-1].tolist(), jax.device_put(given)  # once, not at each step
    arrays = program.begin(*placed)
    seen = {
        "validation": (data.validation, picked(loop, data.validation, seeds)),
        "test": (data.test, picked(loop, data.test, seeds)),
    }
    keys = {part: metric_key(part) for part in seen}
    judged = functools.partial(_judged, program, entrant, seen, keys, given)
    unknown = np.full(program.runs, np.nan, np.float32)
    asked = {"validation": curve, "test": test_at is not None}
    untrained = [judged(part, arrays) if asked[part] else unknown for part in asked]
    watched = np.asarray(program.finite(arrays))
    alive = np.ones(program.runs, bool)
    losses, validation, test = [], [], []
    every = [_strides(driver, gap) for gap in _gaps(loop)]
    feed, step = feeds(loop, seeds, itertools.chain(*every)), 0
    for strides in every:
        between(step / loop.steps)
        arrays, mean = _advanced(program, placed, arrays, feed, data.train, step, strides)
        step += sum(strides)
        held = (np.asarray(program.finite(arrays)) | ~watched).all(axis=-1)
        alive &= np.isfinite(mean) & held
        metric = unknown
        if curve or step == loop.steps:
            metric = judged("validation", arrays)
            alive &= np.isfinite(metric)
        losses.append(np.where(alive, mean, np.nan))
        validation.append(np.where(alive, metric, np.nan))
        if test_at == "best":
            test.append(judged("test", arrays))
    if test_at != "best":
        test.append(judged("test", arrays) if test_at else unknown)
    curves, both = np.stack(validation, 1), np.stack(untrained, 1)
    return Trained(np.stack(losses, 1), curves, taken(loop, test, curves), both, ~alive)


def _advanced(
    program: Program,
    placed: Any,
    arrays: Arrays,
    feed: Iterator[Any],
    train: Any,
    first: int,
    strides: Sequence[int],
) -> tuple[Arrays, np.ndarray]:
    """The arrays after these strides, and (runs,) mean loss; `first` steps lie before."""
    losses = []
    for stride in strides:
        with users_code():
            fed = next(feed)
        arrays, loss = program.advance[stride](*placed, arrays, fed, np.int32(first), train)
        losses.append(loss)
        first += stride
    each = np.stack([np.asarray(one) for one in losses])
    return arrays, np.asarray(each.mean(axis=0, dtype=np.float32))


def _gaps(loop: Loop) -> list[int]:
    """The steps from each evaluation to the next."""
    gaps: list[int] = np.diff(evaluated_steps(loop), prepend=0).tolist()
    return gaps


def _strides(driver: Driver, gap: int) -> list[int]:
    """How many steps each call of `advance` takes, on the way to the next evaluation."""
    return [gap] if driver.scan else [1] * gap


def _judged(
    program: Program,
    entrant: Entrant,
    seen: Mapping[str, Any],
    keys: Mapping[str, jax.Array],
    given: Any,
    part: str,
    arrays: Arrays,
) -> np.ndarray:
    """(runs,) metric on a part."""
    if entrant.loop.host_metric:
        return _judged_on_host(entrant, given, part, arrays)
    key, (cut, rows) = keys[part], seen[part]

    def metric(piece: Piece, own: Rows | None) -> tuple[Any, Any]:
        value, weight = program.judges[piece.shape](*given, arrays, own, piece.batch, key)
        return value, weight

    return mean_over(cut, rows, metric)


def _judged_on_host(entrant: Entrant, given: Any, part: str, arrays: Arrays) -> np.ndarray:
    """The metric of each run from its concrete state, on the whole part."""
    values = []
    for run, seed in enumerate(given[-1].tolist()):
        whole = entrant.loop.parts(seed)[PARTS.index(part)]
        scalars, number = jax.tree.map(lambda leaf, run=run: leaf[run], given[:2])
        own = tuple(leaf[run] for leaf in arrays)
        with users_code():
            make = entrant.start(scalars, number)
            state = bound.state_of(make, entrant.layout, own)
            values.append(bound.measure(entrant.loop, state, whole, metric_key(part))[0])
    return np.asarray(values, np.float32)
