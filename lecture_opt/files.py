"""Files that are written whole or not at all, and folders that take them."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def prepare(folder: Path) -> None:
    """Makes the folder; OSError where it takes no file."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def make_folder(option: str, folder: Path) -> None:
    """Makes the folder that an option names; ValueError where it takes no file."""
    try:
        prepare(folder)
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


def write_json(path: Path, data: Any, *, indent: int = 1) -> None:
    """Writes plain data as strict JSON, whole or not at all."""
    text = json.dumps(data, indent=indent, allow_nan=False) + "\n"
    with whole(path) as file:
        file.write(text.encode())
