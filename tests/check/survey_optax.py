"""Run the battery over lecture_opt's optimizers and every public one of optax and optax.contrib.

    python tests/check/survey_optax.py results.jsonl            all of them
    python tests/check/survey_optax.py results.jsonl adam dog   some

A line of results is written after each optimizer, and those already in the file are not run
again, so a survey that was stopped goes on where it was. At the end the table is printed that
stands in lecture_opt/check/README.md, then the message of each failure.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import optax
import optax.contrib

from lecture_opt import check, optimizers

DEFAULTS = {
    "optax.adadelta(learning_rate=1)": lambda learning_rate=1.0: optax.adadelta(learning_rate),
    "optax.lbfgs(linesearch=None)": lambda learning_rate: optax.lbfgs(
        learning_rate, linesearch=None
    ),
    "optax.contrib.schedule_free(sgd)": lambda learning_rate: optax.contrib.schedule_free(
        optax.sgd(learning_rate), learning_rate
    ),
}
NEEDED = {
    "dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 0.1, "seed": 0},
    "noisy_sgd": {"seed": 0},
    "mechanize": {"base_optimizer": optax.sgd(0.1)},
}
OTHERS = ("mechanize",)
STATUSES = ("pass", "fail", "trait", "skip")


def subjects() -> dict[str, Callable]:
    """The public constructors that take a learning rate, and the wrappers that make optimizers."""
    modules = {"lecture": optimizers, "optax": optax, "optax.contrib": optax.contrib}
    found = {
        f"{prefix}.{name}": value
        for prefix, module in modules.items()
        for name, value in sorted(vars(module).items())
        if inspect.isfunction(value) and is_subject(name, value)
    }
    return found | DEFAULTS


def is_subject(name: str, function: Callable) -> bool:
    """Whether a public function makes an optimizer that the survey can judge."""
    if name.startswith(("_", "scale_by", "inject")) or name == "schedule_free":
        return False
    rates = {"learning_rate", "max_learning_rate"} & set(inspect.signature(function).parameters)
    return bool(rates) or name in OTHERS


def short(name: str) -> str:
    """A name without its module and arguments."""
    return name.partition("(")[0].rpartition(".")[2]


def survey(name: str, constructor: Callable) -> dict[str, Any]:
    """What the battery says of one optimizer, as a line of the results."""
    subject = check.from_constructor(constructor, name=name, **NEEDED.get(short(name), {}))
    report = check.run(subject)
    return {
        "name": name,
        "counts": report.counts(),
        "seconds": round(report.seconds),
        "failures": {result.name: result.message for result in report.failures},
        "skips": {r.name: r.message for r in report.results if r.status == "skip"},
        "identity": report["identity.what_it_is"].message,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table, then the messages."""
    print("| optimizer | pass | fail | trait | skip | seconds | fails |")
    print("|" + " --- |" * 7)
    for row in rows:
        counts = " | ".join(str(row["counts"][status]) for status in STATUSES)
        fails = ", ".join(f"`{name}`" for name in row["failures"])
        print(f"| `{row['name']}` | {counts} | {row['seconds']} | {fails} |")
    for row in rows:
        print(f"\n{row['name']}: {row['identity']}")
        for name, message in row["failures"].items():
            print(f"  {name}: {message}")


def main(file: str, *chosen: str) -> None:
    path = Path(file)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {row["name"] for row in rows}
    for name, constructor in subjects().items():
        if name in known or (chosen and short(name) not in chosen):
            continue
        rows.append(survey(name, constructor))
        with path.open("a") as out:
            out.write(json.dumps(rows[-1]) + "\n")
    show(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
