"""The race as a page where the reader drags the start and changes the rates."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lecture_opt import optimizers as library
from lecture_opt import specs
from lecture_opt.pages.render import render
from lecture_opt.pages.styles import styles
from lecture_opt.race.surfaces import Surface
from lecture_opt.race.trajectories import Lane, noise

RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
"""The optimizers that `page/rules.js` has an update rule of."""


def write(
    lanes: Sequence[Lane],
    optimizers: Sequence[specs.OptimizerSpec],
    surfaces: Sequence[Surface],
    folder: Path,
) -> list[Path]:
    """Writes race.html: one file, which asks the network for nothing. Same race, same bytes."""
    data = page_data(lanes, optimizers, surfaces)
    text = render(
        "lecture_opt.race",
        "race.html",
        scripts=["rules.js", "race.js"],
        styles=["race.css"],
        data=data,
        title="Race of the optimizers",
        surfaces=surfaces,
        fixed=[optimizer["name"] for optimizer in data["optimizers"] if not optimizer["rule"]],
    )
    path = folder / "race.html"
    path.write_text(text, encoding="utf-8")
    return [path]


def page_data(
    lanes: Sequence[Lane], optimizers: Sequence[specs.OptimizerSpec], surfaces: Sequence[Surface]
) -> dict[str, Any]:
    """What the page's scripts read."""
    steps = len(lanes[0].paths[surfaces[0].name].points) - 1
    look = styles(lane.name for lane in lanes)
    entries = []
    for lane, spec in sorted(zip(lanes, optimizers, strict=True), key=lambda pair: pair[0].name):
        rule, hyperparameters = rule_of(spec)
        entry: dict[str, Any] = {
            "name": lane.name,
            "style": look[lane.name]._asdict(),
            "rule": rule,
            "hyperparameters": hyperparameters,
            "rates": {name: path.learning_rate for name, path in lane.paths.items()},
        }
        if rule is None:
            entry["paths"] = {
                name: {"points": path.walked.tolist(), "diverged": path.diverged}
                for name, path in lane.paths.items()
            }
        entries.append(entry)
    momenta = [e["hyperparameters"].get("momentum") for e in entries]
    return {
        "steps": steps,
        "noise": noise(steps).tolist(),
        "momentum": next((value for value in momenta if value is not None), 0.9),
        "optimizers": entries,
        "surfaces": [
            {name: getattr(s, name) for name in ("name", "x", "y", "minima", "floor", "noise")}
            | {"start": lanes[0].paths[s.name].points[0].tolist()}
            for s in surfaces
        ],
    }


def rule_of(spec: specs.OptimizerSpec) -> tuple[str | None, dict[str, float]]:
    """The rule of `page/rules.js` that is this optimizer, and its hyperparameters.

    >>> rule_of(specs.parse("lecture:momentum(momentum=0.5)"))
    ('momentum', {'learning_rate': 0.01, 'momentum': 0.5})
    >>> rule_of(specs.parse("optax:adam"))
    (None, {})
    """
    for name in RULES:
        constructor = getattr(library, name)
        if spec.constructor is constructor:
            parameters = inspect.signature(spec.constructor).parameters.values()
            return name, {p.name: p.default for p in parameters} | dict(spec.kwargs)
    return None, {}
