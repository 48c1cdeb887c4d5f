"""The machine that runs are spread over: its devices and its memory."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from lecture_opt.compare.runs import workers
from lecture_opt.compare.runs.drivers import Driver
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.numerics import tree_bytes

CPU_RUNS, OVERHEAD = 20, 2.5
"""Measured on two cores: see `examples/benchmarks.md`."""

_CPU_BYTES = 2**25


def many(function: Callable[..., Any], axes: str, driver: Driver) -> Callable[..., Any]:
    """The function over many runs; of its arguments "r" has one for each run, "w" is for all."""
    if not driver.vmap:  # one run, whose arrays have an axis of size one

        def one(*args: Any) -> Any:
            pairs = zip(args, axes, strict=True)
            inner = [jax.tree.map(lambda x: x[0], a) if axis == "r" else a for a, axis in pairs]
            return jax.tree.map(lambda leaf: leaf[None], function(*inner))

        return one
    many = jax.vmap(function, in_axes=tuple(0 if axis == "r" else None for axis in axes))
    mesh = Mesh(np.array(jax.local_devices()), ("runs",))
    return _spread(many, axes, mesh) if mesh.size > 1 else many


def _spread(many: Callable[..., Any], axes: str, mesh: Mesh) -> Callable[..., Any]:
    """The function with its runs spread over the devices; all else is on each of them."""
    split = PartitionSpec("runs")
    places: dict[str, Any] = {
        "in_specs": tuple(split if axis == "r" else PartitionSpec() for axis in axes),
        "out_specs": split,
    }
    if hasattr(jax, "shard_map"):
        return jax.shard_map(many, mesh=mesh, check_vma=False, **places)
    from jax.experimental.shard_map import shard_map  # its place up to jax 0.6.0

    return shard_map(many, mesh=mesh, check_rep=False, **places)


def runs_at_once(
    entrant: Entrant, calls: Sequence[int], *, bytes_at_most: int | None = None
) -> int:
    """How many runs a program takes, of which so many are wanted at a time.

    The size whose calls cost least: one of r runs takes as long as `r + OVERHEAD` of them in a
    large call, and a short last call as long as a full one. On a CPU the states of a call stay
    small enough for the caches. Elsewhere as many go at once as are wanted, as far as the memory
    goes; a run is taken to need four times its state. One, where the driver goes run by run.
    """
    if not entrant.driver.vmap:
        return 1
    most, overhead = max(calls), 1e6
    room = room_bytes() if bytes_at_most is None else bytes_at_most
    if jax.default_backend() == "cpu":
        room, most, overhead = min(room, _CPU_BYTES), min(most, CPU_RUNS), OVERHEAD
    limit = max(1, min(most, room // max(4 * tree_bytes(entrant.layout), 1)))

    def cost(runs: int) -> float:
        return sum(-(-wanted // runs) for wanted in calls) * (runs + overhead)

    runs = min(range(1, limit + 1), key=cost)
    devices = jax.local_device_count()
    return -(-runs // devices) * devices


def room_bytes() -> int:
    """What a program may take of the free memory, where tunings go side by side."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        free = int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    else:
        free = _free_bytes()
    return free // (2 * workers.side_by_side())


def _free_bytes() -> int:
    """Free bytes of the machine, or of the control group (version 2) that the process is in."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
        free = [1024 * int(available.split()[1])]
    with contextlib.suppress(OSError, ValueError):  # it says "max" where there is no limit
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii"))
            for name in ("max", "current")
        )
        free.append(limit - used)
    return max(0, min(free))
