"""The processes under `jax.distributed`: each has some of the optimizers, and all get all.

One that fails says why to the others, which else would wait for it, and all end.
"""

import atexit
import contextlib
import inspect
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from lecture_opt.compare.runs.errors import reason

T = TypeVar("T")

_FAILED = "lecture_opt/failed"
_POLL_MS, _HEARTBEAT_SECONDS, _GRACE_SECONDS = 1000, 10, 3


def start(address: str) -> None:
    """Joins the processes: as a launcher says, or by "HOST:PORT,PROCESSES,PROCESS".

    Raises:
        ValueError: The address is of another form, or there is none and no launcher.
    """
    given: dict[str, Any] = {}
    if address:
        try:
            coordinator, count, index = address.split(",")
            given = {"num_processes": int(count), "process_id": int(index)}
            given["coordinator_address"] = coordinator
        except ValueError:
            given = {"process_id": -1, "num_processes": 0}
        if ":" not in address or not 0 <= given["process_id"] < given["num_processes"]:
            raise ValueError(f"--distributed {address}: wanted HOST:PORT,PROCESSES,PROCESS")
    if "heartbeat_timeout_seconds" in inspect.signature(jax.distributed.initialize).parameters:
        given["heartbeat_timeout_seconds"] = _HEARTBEAT_SECONDS
    try:
        jax.distributed.initialize(**given)
    except ValueError as error:
        raise ValueError(
            "--distributed: no launcher (SLURM, Open MPI, GKE) started this process. By hand, type "
            "the same command in each of N places, with --distributed HOST:PORT,N,0 up to "
            "--distributed HOST:PORT,N,N-1; HOST:PORT is a free port where 0 runs"
        ) from error


@contextlib.contextmanager
def together() -> Iterator[None]:
    """While it goes on, a process that fails ends the others with its reason, within seconds."""
    if jax.process_count() == 1:
        yield
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(done,), daemon=True).start()
    try:
        yield
    except BaseException as error:
        _tell(f"process {jax.process_index()} failed: {reason(error)}")
        raise
    finally:
        done.set()


def _client() -> Any:
    from jax._src import distributed  # what processes tell each other has no public name

    return distributed.global_state.client


def _tell(why: str) -> None:
    with contextlib.suppress(Exception):  # another one was first
        _client().key_value_set(_FAILED, why)

    def end() -> None:  # JAX would wait for the others
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_GRACE_SECONDS)  # process 0 holds what the others still read
        os._exit(1)

    atexit.register(end)


def _watch(done: threading.Event) -> None:
    while not done.is_set():
        try:
            why = _client().blocking_key_value_get(_FAILED, _POLL_MS)
        except Exception as error:
            if "DEADLINE_EXCEEDED" in str(error) or done.is_set():
                continue
            why = "process 0 is gone"
        if not why.startswith(f"process {jax.process_index()} "):
            print(why, file=sys.stderr, flush=True)
            os._exit(1)
        return


def is_ours(index: int) -> bool:
    """Whether the optimizer of this number is this process's."""
    return index % jax.process_count() == jax.process_index()


def shared(one: T | None, index: int) -> T:
    """What the process that has it measured, given to all."""
    if jax.process_count() == 1:
        assert one is not None
        return one
    from jax.experimental import multihost_utils

    def given(value: np.ndarray) -> np.ndarray:
        return np.asarray(multihost_utils.broadcast_one_to_all(value, is_source=is_ours(index)))

    packed = np.frombuffer(pickle.dumps(one), np.uint8)
    size = int(given(np.array(len(packed))))
    whole = given(np.resize(packed, size))
    found: T = pickle.loads(whole.astype(np.uint8).tobytes())
    return found
