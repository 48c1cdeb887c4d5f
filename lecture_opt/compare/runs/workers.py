"""Work in threads that an interrupted program leaves behind: XLA can't be stopped in its middle."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_SLOTS = threading.Semaphore(os.cpu_count() or 1)
_INTERRUPTED = 130  # what a shell reports for SIGINT
_threads: list[threading.Thread] = []


def in_background(work: Callable[[], T]) -> Future[T]:
    """The work in a thread, of which as many go at once as there are CPUs."""
    future: Future[T] = Future()

    def run() -> None:
        with _SLOTS:
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
