"""The comparison as long tables: one row for each run, and one for each evaluation of a run."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

RUNS = (
    *("task", "optimizer", "phase", "seed", "draw", "hyperparameters", "validation", "test"),
    *("loss_area", "steps_to_target", "diverged"),
)
CURVES = ("task", "optimizer", "seed", "step", "loss", "validation")


def write(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes runs.csv and curves.csv; a number that does not exist is empty."""
    runs, curves = folder / "runs.csv", folder / "curves.csv"
    _write(runs, RUNS, _runs(results))
    _write(curves, CURVES, _curves(results))
    return [runs, curves]


def _runs(results: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    protocol = results["protocol"]
    for task in results["tasks"]:
        for cell in task["cells"]:
            start = (task["name"], cell["optimizer"])
            draws = cell["tuning"]["draws"]
            for seed, values in zip(
                protocol["tuning_seeds"], cell["tuning"]["validation"]["runs"], strict=True
            ):
                for draw, value in enumerate(values):
                    drawn = {name: column[draw] for name, column in draws.items()}
                    yield (
                        *start, "tuning", seed, draw, _text(drawn),
                        value, None, None, None, value is None,
                    )  # fmt: skip
            chosen = _text(cell["hyperparameters"])
            for seed, curve, test, area, steps in zip(
                protocol["reporting_seeds"],
                cell["validation"]["runs"],
                cell["test"]["values"],
                cell["loss_area"]["values"],
                cell["steps_to_target"]["values"],
                strict=True,
            ):
                yield (
                    *start, "reporting", seed, None, chosen, curve[-1], test, area, steps,
                    area is None,
                )  # fmt: skip


def _curves(results: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    seeds = results["protocol"]["reporting_seeds"]
    for task in results["tasks"]:
        for cell in task["cells"]:
            runs = zip(seeds, cell["loss"]["runs"], cell["validation"]["runs"], strict=True)
            for seed, losses, values in runs:
                for step, loss, value in zip(task["steps"], losses, values, strict=True):
                    yield task["name"], cell["optimizer"], seed, step, loss, value


def _text(hyperparameters: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value!r}" for name, value in hyperparameters.items())


def _write(path: Path, header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
