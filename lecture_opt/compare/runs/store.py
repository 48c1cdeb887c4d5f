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
Compute = Callable[[Sequence[int], Sequence[int]], Sequence[Arrays]]
Kept = Callable[[Sequence[str], Sequence[int], Compute], list[Arrays]]


class Store:
    """Arrays on disk, one file for what a cell computes under a name, written whole or not at all.

    The first axis of each array is seeds; further seeds are added to what is there. A file is found
    again only by a cell that computes the same: the same traced program and data under the same
    versions on the same device. Names of optimizers and tasks are of no matter.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when the first arrays are kept; `None` keeps in memory alone."""
        self.folder = folder

    def cell(self, identity: Sequence[object]) -> Kept:
        """A function (names, seeds, compute) -> arrays of each name, which computes what it lacks.

        `identity` is all that decides what is computed, beside the name, as plain data. `compute`
        is given the places of the names that lack the same seeds, and these seeds.
        """
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
        memory: dict[str, Arrays] = {}

        def kept(names: Sequence[str], seeds: Sequence[int], compute: Compute) -> list[Arrays]:
            paths = [self.folder and self.folder / f"{digest}.{name}.npz" for name in names]
            for name, path in zip(names, paths, strict=True):
                if name not in memory:
                    memory[name] = _load(path) or {"seeds": np.array([], np.int64)}
            lacking = [
                tuple(seed for seed in seeds if seed not in memory[name]["seeds"]) for name in names
            ]
            for fresh in filter(None, dict.fromkeys(lacking)):
                which = [i for i, one in enumerate(lacking) if one == fresh]
                for i, arrays in zip(which, compute(which, fresh), strict=True):
                    added = {"seeds": np.array(fresh), **arrays}
                    memory[names[i]] = _keep(paths[i], _joined(memory[names[i]], added))
            return [_taken(memory[name], seeds) for name in names]

        return kept

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


def _joined(known: Arrays, added: Arrays) -> Arrays:
    if not len(known["seeds"]):
        return added
    return {name: np.concatenate([known[name], values]) for name, values in added.items()}


def _taken(arrays: Arrays, seeds: Sequence[int]) -> Arrays:
    """Those of the seeds, in their order."""
    places = {seed: i for i, seed in enumerate(arrays["seeds"].tolist())}
    rows = [places[seed] for seed in seeds]
    return {name: values[rows] for name, values in arrays.items() if name != "seeds"}
