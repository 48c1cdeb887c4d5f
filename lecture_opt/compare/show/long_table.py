"""The comparison as long tables: one row for each run, and one for each evaluation of a run."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lecture_opt import files
from lecture_opt.compare.results.types import Study

RUNS = (
    *("task", "optimizer", "phase", "seed", "draw", "hyperparameters", "validation", "test"),
    *("loss_area", "steps_to_target", "diverged", "error"),
)
CURVES = ("task", "optimizer", "seed", "step", "loss", "validation")

Line = tuple[Any, ...]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(study: Study, folder: Path) -> list[Path]:
    """Writes runs.csv and curves.csv; a number that does not exist is empty."""
    runs, curves = folder / "runs.csv", folder / "curves.csv"
    _write(runs, RUNS, _runs(study))
    _write(curves, CURVES, _curves(study))
    return [runs, curves]


def _runs(study: Study) -> Iterator[Line]:
    protocol = study.protocol
    for task in study.tasks:
        for cell in task.cells:
            draws = cell.tuning.draws
            validation = cell.tuning.validation.runs
            for (row, draw), value in np.ndenumerate(validation):
                drawn = {name: column[draw].item() for name, column in draws.items()}
                yield (
                    *(task.name, cell.optimizer, "tuning", protocol.tuning_seeds[row], draw),
                    *(_text(drawn), value, None, None, None, bool(np.isnan(value)), None),
                )
            for row, seed in enumerate(protocol.reporting_seeds):
                area = cell.loss_area.values[row]
                yield (
                    *(task.name, cell.optimizer, "reporting", seed, None),
                    *(_text(cell.hyperparameters), cell.validation.runs[row][-1]),
                    *(cell.test.values[row], area, cell.steps_to_target.values[row]),
                    *(bool(np.isnan(area)), None),
                )
        for one in task.failures:
            yield task.name, one.optimizer, "failed", *[None] * (len(RUNS) - 4), one.why


def _curves(study: Study) -> Iterator[Line]:
    for task in study.tasks:
        for cell in task.cells:
            runs = zip(cell.loss.runs, cell.validation.runs, strict=True)
            for seed, (losses, values) in zip(study.protocol.reporting_seeds, runs, strict=True):
                for step, loss, value in zip(task.steps, losses, values, strict=True):
                    yield task.name, cell.optimizer, seed, step, loss, value


def _text(hyperparameters: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in hyperparameters.items())


def _write(path: Path, header: Iterable[str], lines: Iterable[Line]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_field(value) for value in line] for line in lines)


def _field(value: Any) -> Any:
    """Numbers in nine digits at most; no text that a spreadsheet would take for a formula.

    >>> _field("=1+1"), _field(0.1 + 0.2), _field(float("nan"))
    ("'=1+1", 0.3, None)
    """
    value = files.plain(value)
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value
