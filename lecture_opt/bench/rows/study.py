"""The measurement: every optimizer on every table, the libraries in turn."""

import gc
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lecture_opt.bench.rows import steps as libraries
from lecture_opt.bench.rows.steps import Step
from lecture_opt.environment import check_device

TURN = 10


class Cell(NamedTuple):
    """One line of the results; times in milliseconds, None where nothing was measured."""

    optimizer: str
    table_rows: int
    width: int
    touched: int
    rows_ms: float
    optax_ms: float | None
    torch_ms: float | None


def measure(
    optimizers: Sequence[str],
    sizes: Sequence[int],
    touched: Sequence[int],
    *,
    width: int = 64,
    steps: int = 30,
    memory_limit: float = 8e9,
) -> Iterator[Cell]:
    """The cells one by one, without the libraries whose arrays would pass the limit in bytes."""
    check_device("bench rows")
    for size, count, name in itertools.product(sizes, touched, optimizers):
        ids = _batches(size, count, steps)
        times = _in_turns(libraries.make(name, size, width, ids[0], memory_limit), ids)
        gc.collect()
        if "rows" in times:
            both = [times[name] for name in ("torch", "torch, one thread") if name in times]
            torch = min(both, default=None)
            yield Cell(name, size, width, count, times["rows"], times.get("optax"), torch)


def _batches(size: int, count: int, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, size, count, dtype=np.int32) for _ in range(steps)]


def _in_turns(steps: dict[str, Step], ids: list[np.ndarray]) -> dict[str, float]:
    """Milliseconds per step of each library, the median."""
    for step in steps.values():
        step(ids[0])
    times: dict[str, list[float]] = {library: [] for library in steps}
    for start in range(0, len(ids), TURN):
        for library, step in steps.items():
            for batch in ids[start : start + TURN]:
                begin = time.perf_counter()
                step(batch)
                times[library].append(1e3 * (time.perf_counter() - begin))
    return {library: statistics.median(values) for library, values in times.items()}
