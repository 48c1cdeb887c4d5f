"""Work in threads that an interrupted program leaves behind: XLA can't be stopped in its middle."""

import atexit
import functools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import jax

T = TypeVar("T")

_GPU_SLOTS = 4  # they wait for one another on the device, and each keeps memory there
_INTERRUPTED = 130  # what a shell reports for SIGINT
_threads: list[threading.Thread] = []


@functools.cache
def _slots() -> threading.Semaphore:
    return threading.Semaphore(side_by_side())


def side_by_side() -> int:
    """How many go at once: as many as there are CPUs, and a few on other devices."""
    count = os.cpu_count() or 1
    return count if jax.default_backend() == "cpu" else min(count, _GPU_SLOTS)


def in_background(work: Callable[[], T]) -> Future[T]:
    """The work in a thread, of which `side_by_side` go at once."""
    future: Future[T] = Future()

    def run() -> None:
        with _slots():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    _threads.append(threading.Thread(target=run, daemon=True))
    _threads[-1].start()
    return future


def leave() -> None:
    """Lets the process end without waiting for what still runs."""
    atexit.register(_leave)


def _leave() -> None:
    if any(thread.is_alive() for thread in _threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_INTERRUPTED)
