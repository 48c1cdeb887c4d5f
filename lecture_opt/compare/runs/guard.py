"""Where code of the user's runs: one thread at a time, under JAX's own rules of promotion."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lecture_opt.environment import lenient

_LOCK = threading.RLock()


@contextmanager
def users_code() -> Iterator[None]:
    """Tunings go side by side in threads; a loop may keep state of its own outside of its state."""
    with _LOCK, lenient():
        yield
