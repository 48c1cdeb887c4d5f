"""Run the battery over every public optimizer of optax and optax.contrib; print a Markdown table.

    python tests/check/survey_optax.py            all of them
    python tests/check/survey_optax.py adam dog   some

The table in lecture_opt/check/README.md was made by this script.
"""

import os
import sys
from collections.abc import Callable

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import inspect

import optax
import optax.contrib

from lecture_opt import check

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


def optimizers() -> dict[str, Callable]:
    """The public constructors that take a learning rate, and the wrappers that make optimizers."""
    found = {}
    for module in (optax, optax.contrib):
        for name, value in sorted(vars(module).items()):
            if name.startswith(("_", "scale_by", "inject")) or not inspect.isfunction(value):
                continue
            parameters = inspect.signature(value).parameters
            rates = {"learning_rate", "max_learning_rate"} & set(parameters)
            if (rates or name in OTHERS) and name != "schedule_free":
                found[f"{module.__name__}.{name}"] = value
    found |= DEFAULTS
    return found


def main(chosen: list[str]) -> None:
    print("| optimizer | pass | fail | trait | skip | seconds | fails |")
    print("|" + " --- |" * 7)
    details = []
    for name, constructor in optimizers().items():
        short = name.partition("(")[0].rpartition(".")[2]
        if chosen and short not in chosen:
            continue
        needed = NEEDED.get(short, {})
        try:
            report = check.run(check.from_constructor(constructor, name=name, **needed))
        except Exception as error:
            print(f"| {name} | cannot be built: {error!r:.100}", flush=True)
            continue
        counts = report.counts()
        row = " | ".join(str(counts[status]) for status in ("pass", "fail", "trait", "skip"))
        fails = ", ".join(f"`{result.name}`" for result in report.failures)
        print(f"| `{name}` | {row} | {report.seconds:.0f} | {fails} |", flush=True)
        details += [f"{name} {result.name}: {result.message}" for result in report.failures]
        details.append(f"{name} identity: {report['identity.what_it_is'].message}")
    print("\n" + "\n".join(details))


if __name__ == "__main__":
    main(sys.argv[1:])
