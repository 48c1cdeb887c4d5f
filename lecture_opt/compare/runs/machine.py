"""The machine that runs are spread over: its devices and its memory."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from lecture_opt.compare.runs import workers
from lecture_opt.compare.runs.drivers import Driver
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.numerics import tree_bytes

_CPU_BYTES = 2**28


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


def runs_at_once(entrant: Entrant, wanted: int, *, bytes_at_most: int | None = None) -> int:
    """How many runs a program takes, so that `wanted` need few calls of nearly one size.

    On a CPU ten: few enough for the caches, enough to drown the cost of calls, and no more than are
    reported at once by default; fewer where their states are large, since these gain nothing.
    Elsewhere all. Both as far as the memory goes; a run is taken to need four times its state. One,
    where the driver goes run by run.
    """
    if not entrant.driver.vmap:
        return 1
    size = 4 * tree_bytes(entrant.layout)
    room, limit = room_bytes() if bytes_at_most is None else bytes_at_most, wanted
    if jax.default_backend() == "cpu":
        room, limit = min(room, _CPU_BYTES), 10
    limit = max(1, min(limit, room // max(size, 1)))
    runs = -(-wanted // -(-wanted // limit))
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
