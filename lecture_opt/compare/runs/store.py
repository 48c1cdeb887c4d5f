"""What is finished is kept, so that a killed comparison goes on where it stopped."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lecture_opt import files, specs
from lecture_opt.compare.protocol import Protocol

Arrays = dict[str, np.ndarray]
Stage = Callable[[str, Callable[[], Arrays]], Arrays]


class Store:
    """Arrays on disk, one file for each stage of each cell, written whole or not at all.

    A file is found again only by a cell of the same protocol, versions, device, task, optimizer
    and, where these come from a file of the user's, of the same text of that file.
    """

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when the first stage is kept; None keeps in memory alone."""
        self.folder = folder

    def cell(
        self, about: Mapping[str, Any], protocol: Protocol, task: str, spec: specs.OptimizerSpec
    ) -> Stage:
        """A function (stage, compute) -> arrays that computes what is not kept yet."""
        identity = [about, repr(protocol), task, spec.text, _file(spec)]
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


def _file(spec: specs.OptimizerSpec) -> str | None:
    source = spec.text.rpartition(".py:")[0]
    return Path(f"{source}.py").expanduser().read_text() if source else None


def _load(path: Path | None) -> Arrays | None:
    if path is None or not path.exists():
        return None
    with np.load(path) as file:
        return dict(file)


def _keep(path: Path | None, arrays: Arrays) -> Arrays:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    return arrays
