"""A stage of a cell: its calls are kept one by one, and timed."""

import hashlib
import time
from collections.abc import Callable

import jax
import numpy as np

from lecture_opt.compare.runs import engine
from lecture_opt.compare.runs.store import Kept


class Stage:
    """What is kept and said of a stage while its `runs` runs go on; what its calls took."""

    def __init__(
        self, kept: Kept, between: Callable[[str, float], None], name: str, runs: int
    ) -> None:
        self._kept, self._between = kept, between
        self.name, self._runs, self._done = name, runs, 0
        self.seconds = 0.0

    def keep(self, given: object, compute: Callable[[], engine.Trained]) -> engine.Trained:
        """What a call gives, now or before."""

        def timed() -> dict[str, np.ndarray]:
            began = time.perf_counter()
            trained = compute()
            return {**trained._asdict(), "seconds": np.array(time.perf_counter() - began)}

        text = repr(jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), given))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        arrays = dict(self._kept.part(f"{self.name}~{digest}", timed))
        self.seconds += float(arrays.pop("seconds"))
        trained = engine.Trained(**arrays)
        self._done += trained.diverged.size
        return trained

    def between(self, more: float) -> None:
        """Says how much is done, `more` runs of the call that goes on included."""
        self._between(self.name, min((self._done + more) / self._runs, 1.0))
