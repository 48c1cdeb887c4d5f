"""Where and when a run is saved: what a caller of `fit` says of it."""

import dataclasses
import os
from collections.abc import Callable, Collection
from typing import Any

from lecture_opt.training import checks, identity


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where and when `fit` saves a run, and which checkpoints it keeps.

    Attributes:
        directory: A new or empty folder, or that of the run to go on with.
        every: Steps between two checkpoints; there is one after the last step, too.
        keep: How many of the latest are kept, beside the best.
        best: The number by which the lowest is best, from an evaluation: `lambda accuracy:
            -accuracy`; only checkpoints at an evaluation compete. By default, the mean training
            loss since the checkpoint before. NaN and infinity are never best.
        accept: What may differ from the run in the folder: "data" (its values), "step" (the loss
            and the optimizer's hyperparameters). By default a difference is an error.
    """

    directory: str | os.PathLike[str]
    every: int = 1000
    keep: int = 3
    best: Callable[[Any], float] | None = None
    accept: Collection[str] = ()


def configured(checkpoint: Any, eval_fn: Any) -> Checkpoint | None:
    """The checkpoint's configuration; a path stands for one with the defaults."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, (str, os.PathLike)):
        checkpoint = Checkpoint(checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"fit: checkpoint is {checkpoint!r}; wanted a folder or a Checkpoint")
    if not isinstance(checkpoint.directory, (str, os.PathLike)) or not str(checkpoint.directory):
        raise TypeError(f"fit: checkpoint.directory is {checkpoint.directory!r}; wanted a path")
    if "\0" in str(checkpoint.directory):
        raise ValueError(f"fit: checkpoint.directory is {checkpoint.directory!r}; wanted a path")
    if "://" in str(checkpoint.directory):
        raise ValueError(
            f"fit: checkpoint.directory is {checkpoint.directory!r}; wanted a folder of a mounted "
            "file system, as gcsfuse makes one of a bucket"
        )
    if checkpoint.best is not None and eval_fn is None:
        raise ValueError("fit: checkpoint.best is given and eval_fn is not")
    if checkpoint.best is not None and not callable(checkpoint.best):
        raise TypeError(
            f"fit: checkpoint.best is {checkpoint.best!r}; wanted a function of an evaluation that "
            "gives a number, the lowest the best"
        )
    accept = checkpoint.accept
    known = isinstance(accept, Collection) and not isinstance(accept, str)
    if not known or not all(name in identity.ACCEPTABLE for name in accept):
        raise ValueError(
            f"fit: checkpoint.accept is {checkpoint.accept!r}; wanted some of "
            f"{list(identity.ACCEPTABLE)}"
        )
    return dataclasses.replace(
        checkpoint,
        every=checks.check_count("checkpoint.every", checkpoint.every, 1),
        keep=checks.check_count("checkpoint.keep", checkpoint.keep, 1),
    )
