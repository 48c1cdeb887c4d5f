"""What is finished is kept, so that a killed comparison goes on where it stopped."""

import hashlib
import json
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lecture_opt import files

Arrays = dict[str, np.ndarray]
Compute = Callable[[Sequence[int], Sequence[int]], Sequence[Arrays]]
LONG = 0.5
"""Seconds."""


class Store:
    """Arrays on disk, one file for what a cell computes under a name, written whole or not at all.

    The first axis of each array is seeds; further seeds are added to what is there. While a stage
    runs, its parts that took long have files too: a killed one goes on in its middle. A file is
    found again only by a cell that computes the same: the same traced program and data under the
    same versions on the same kind of device. Names of optimizers and tasks are of no matter.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when the first arrays are kept; `None` keeps in memory alone."""
        self.folder = folder

    def cell(self, identity: Sequence[object]) -> "Kept":
        """What a cell keeps; `identity` is all that decides what it computes, as plain data."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
        return Kept(self.folder, digest)

    def remove(self) -> None:
        """Forgets everything."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Kept:
    """What a cell computed, and the parts of a stage that took long."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self._folder, self._digest = folder, digest
        self._memory: dict[str, Arrays] = {}

    def seeds(
        self, stage: str, names: Sequence[str], seeds: Sequence[int], compute: Compute
    ) -> list[Arrays]:
        """The arrays of each name for these seeds; what is not kept yet is computed.

        `compute` is given the places of the names that lack the same seeds, and these seeds. When
        all is there, the parts of the stage may go.
        """
        for name in names:
            if name not in self._memory:
                self._memory[name] = _load(self._path(name)) or {"seeds": np.array([], np.int64)}
        lacking = [
            tuple(s for s in seeds if s not in self._memory[name]["seeds"]) for name in names
        ]
        for fresh in filter(None, dict.fromkeys(lacking)):
            which = [i for i, one in enumerate(lacking) if one == fresh]
            for i, arrays in zip(which, compute(which, fresh), strict=True):
                whole = _joined(self._memory[names[i]], {"seeds": np.array(fresh), **arrays})
                self._memory[names[i]] = _keep(self._path(names[i]), whole)
        for part in self._folder.glob(f"{self._digest}.{stage}~*") if self._folder else ():
            part.unlink(missing_ok=True)
        return [_taken(self._memory[name], seeds) for name in names]

    def part(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a part, `stage~part`, kept where computing them takes over `LONG`."""
        path, began = self._path(name), time.monotonic()
        if (found := _load(path)) is not None:
            return found
        arrays = compute()
        return _keep(path if time.monotonic() - began > LONG else None, arrays)

    def _path(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{self._digest}.{name}.npz"


def _load(path: Path | None) -> Arrays | None:
    if path is None or not path.exists():
        return None
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged and computed again: {error}", stacklevel=2)
        return None


def _keep(path: Path | None, arrays: Arrays) -> Arrays:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    return arrays


def _joined(known: Arrays, added: Arrays) -> Arrays:
    if not len(known["seeds"]):
        return added
    return {name: np.concatenate([known[name], values]) for name, values in added.items()}


def _taken(arrays: Arrays, seeds: Sequence[int]) -> Arrays:
    """Those of the seeds, in their order."""
    places = {seed: i for i, seed in enumerate(arrays["seeds"].tolist())}
    rows = [places[seed] for seed in seeds]
    return {name: values[rows] for name, values in arrays.items() if name != "seeds"}
