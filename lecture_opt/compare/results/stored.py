"""A study as JSON and back. This is the only place that knows what the file looks like."""

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lecture_opt import files
from lecture_opt.compare.results.types import Study

FORMAT = 4


def write(study: Study, path: Path) -> None:
    """Writes the study as strict JSON, whole or not at all."""
    files.write_json(path, plain(study))


def read(path: Path) -> Study:
    """The study that `write` wrote.

    Raises:
        ValueError: The file is not JSON, or of another format.
    """
    try:
        return study(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def study(data: Any) -> Study:
    """The study of which `plain` made the data; ValueError where they are of another format."""
    found = data.get("format") if isinstance(data, Mapping) else None
    if found != FORMAT:
        raise ValueError(f"the results have format {found!r}; wanted {FORMAT}")
    return typing.cast(Study, _built(Study, data))


def plain(study: Study) -> dict[str, Any]:
    """What the file holds; the seeds of its protocol are derived, and readers want them."""
    how = study.protocol
    seeds = {"tuning_seeds": how.tuning_seeds, "reporting_seeds": how.reporting_seeds}
    whole = {"format": FORMAT, **vars(study), "protocol": vars(how) | seeds}
    return typing.cast(dict[str, Any], files.plain(whole))


def _built(kind: Any, data: Any) -> Any:
    """The value of a type hint that `plain` made the data of."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if data is None else _built(inside[0], data)
    if origin is Mapping:
        return {key: _built(inside[1], item) for key, item in data.items()}
    if origin in (Sequence, tuple):
        return tuple(_built(inside[0], item) for item in data)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{name: _built(hints[name], data[name]) for name in hints})
    if kind is np.ndarray:
        array = np.asarray(data)
        return array.astype(float) if array.dtype == object else array  # None becomes NaN
    return math.nan if kind is float and data is None else data
