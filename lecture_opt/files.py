"""Files that are written whole or not at all, and the places that take them."""

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def make_folder(option: str, folder: Path) -> None:
    """Makes the folder that an option names; ValueError where it takes no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{option}: {folder} can't be written to: {error.strerror}") from None


def make_room(option: str, path: Path) -> None:
    """Makes the folder of the file that an option names; ValueError where no file can be made."""
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder; wanted the name of a file")
    make_folder(option, path.parent)


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
    """Writes data as strict JSON, whole or not at all; `plain` says what becomes of arrays."""
    text = json.dumps(plain(data), indent=indent, allow_nan=False) + "\n"
    with whole(path) as file:
        file.write(text.encode())


def plain(value: Any) -> Any:
    """The value as strict JSON holds it.

    Arrays and tuples become lists; dataclasses and named tuples become mappings; float32 is
    written in its shortest decimals; NaN and infinities are None; of all else the text remains.

    >>> plain({"a": np.float32([0.1, np.inf]), 1: (True, np.int64(2)), "type": np.dtype("f4")})
    {'a': [0.1, None], '1': [True, 2], 'type': 'float32'}
    """
    if dataclasses.is_dataclass(value):
        value = vars(value)
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.float32):
        value = float(str(value))
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, None | bool | int | float | str) else str(value)
