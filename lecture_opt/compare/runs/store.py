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
LONG = 0.5
"""Seconds."""


class Store:
    """Arrays on disk, one file for each stage of each cell, written whole or not at all.

    While a stage runs, its parts that took long have files too: a killed one goes on in its middle.
    A file is found again only by a cell that computes the same: the same traced program, data,
    settings and seeds under the same versions on the same device. Names are of no matter.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when the first stage is kept; `None` keeps in memory alone."""
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
    """The stages of a cell, and the parts of a stage that took long."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self._folder, self._digest = folder, digest
        self._memory: dict[str, Arrays] = {}

    def stage(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a stage, computed where they are not kept yet; then its parts may go."""
        if name not in self._memory:
            path = self._path(name)
            self._memory[name] = _load(path) or _keep(path, compute())
            for part in [] if path is None else path.parent.glob(f"{self._digest}.{name}~*"):
                part.unlink(missing_ok=True)
        return self._memory[name]

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
