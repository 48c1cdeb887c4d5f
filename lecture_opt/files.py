"""Files that are written whole or not at all, and folders that take them."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def make_folder(option: str, folder: Path) -> None:
    """Makes the folder that an option names; ValueError where it takes no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: {folder} can't be written to: {error.strerror}") from None


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A new file, open beside `path`, that takes its place where the block ends well.

    Where it doesn't, `path` is as it was and nothing is left beside it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
