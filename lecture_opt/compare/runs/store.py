"""What is finished is kept, so that a killed comparison goes on where it stopped."""

import hashlib
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lecture_opt import files

Arrays = dict[str, np.ndarray]
Stage = Callable[[str, Callable[[], Arrays]], Arrays]


class Store:
    """Arrays on disk, one file for each stage of each cell, written whole or not at all.

    A file is found again only by a cell that computes the same: the same traced program, data,
    settings and seeds under the same versions on the same device. Names are of no matter.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when the first stage is kept; `None` keeps in memory alone."""
        self.folder = folder

    def cell(self, identity: Sequence[object]) -> Stage:
        """A function (stage, compute) -> arrays that computes what is not kept yet.

        `identity` is all that decides what is computed, as plain data.
        """
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
        memory: dict[str, Arrays] = {}

        def stage(name: str, compute: Callable[[], Arrays]) -> Arrays:
            if name not in memory:
                path = None if self.folder is None else self.folder / f"{digest}.{name}.npz"
                memory[name] = _load(path) or _keep(path, compute())
            return memory[name]

        return stage

    def remove(self) -> None:
        """Forgets everything."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


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
