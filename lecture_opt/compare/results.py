"""From raw numbers of runs to the results file: every number behind every table and plot.

The format is described in README.md beside this file. Nothing here trains.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lecture_opt import files, specs
from lecture_opt.compare import space, verdicts
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.statistics import across, estimates, paired

FORMAT = 2
MARGIN = 0.05
COSTS = (
    "step_seconds",
    "run_seconds",
    "trace_seconds",
    "compile_seconds",
    "state_bytes",
    "parameter_bytes",
)


class Measured(NamedTuple):
    """What the runs of one optimizer on one task gave.

    Attributes:
        tuning_validation: (tuning seeds, draws) last validation metric.
        tuning_diverged: (tuning seeds, draws).
        losses: (reporting seeds, evaluations) of the chosen draw, NaN once diverged.
        validation: (reporting seeds, evaluations), likewise.
        test: (reporting seeds,) a diverged run counts as untrained.
        diverged: (reporting seeds,).
        cost: What clocks and sizes said, in the order of `COSTS`.
    """

    tuning_validation: np.ndarray
    tuning_diverged: np.ndarray
    losses: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    diverged: np.ndarray
    cost: np.ndarray

    @classmethod
    def empty(cls, protocol: Protocol) -> "Measured":
        """Zeros in the shapes that the protocol gives."""
        tuning = len(protocol.tuning_seeds), protocol.draws
        seeds, evaluations = protocol.seeds, protocol.evaluations
        return cls(
            np.zeros(tuning, np.float32),
            np.zeros(tuning, bool),
            np.zeros((seeds, evaluations), np.float32),
            np.zeros((seeds, evaluations), np.float32),
            np.zeros(seeds, np.float32),
            np.zeros(seeds, bool),
            np.zeros(len(COSTS)),
        )


class Facts(NamedTuple):
    """What the results say about a task apart from its runs."""

    name: str
    description: str
    metric: str
    higher_is_better: bool
    examples: dict[str, int]
    parameters: int
    untrained: dict[str, float]


def assemble(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Sequence[Facts],
    measured: Sequence[Sequence[Measured]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole results file. `measured[i][j]` is task i and optimizer j."""
    tasks = [
        _task(protocol, optimizers, fact, row) for fact, row in zip(facts, measured, strict=True)
    ]
    overall = _overall(protocol, optimizers, tasks)
    result = {
        "format": FORMAT,
        **about,
        "protocol": protocol.as_dict(),
        "optimizers": [
            {
                "name": spec.name,
                "text": spec.text,
                "is_baseline": protocol.is_baseline(spec),
                "search_space": [_range(n, r) for n, r in protocol.space(spec).items()],
            }
            for spec in optimizers
        ],
        "tasks": tasks,
        "overall": overall,
        "verdicts": verdicts.summary(tasks, overall, protocol),
    }
    return dict(files.plain(result))


def write(results: Any, path: Path) -> None:
    """Writes plain data as strict JSON, whole or not at all."""
    files.write_json(path, results)


def _task(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Facts,
    row: Sequence[Measured],
) -> dict[str, Any]:
    target = _target(protocol, optimizers, facts, row)
    cells = [
        _cell(protocol, spec, facts, one, target["value"])
        for spec, one in zip(optimizers, row, strict=True)
    ]
    _compare(protocol, cells, facts)
    sign = -1 if facts.higher_is_better else 1

    def order(cell: dict[str, Any]) -> tuple[int, float]:
        mean = float(f"{sign * cell['test']['mean']:.5g}")  # what rounding parts is equal
        return cell["diverged"]["reporting"], mean if math.isfinite(mean) else math.inf

    cells.sort(key=order)
    for cell in cells:
        cell["rank"] = 1 + sum(order(other) < order(cell) for other in cells)
    return {
        **facts._asdict(),
        "steps": protocol.evaluated_steps(),
        "target": target,
        "cells": cells,
        "warnings": verdicts.warnings(cells),
    }


def _target(
    protocol: Protocol,
    optimizers: Sequence[specs.OptimizerSpec],
    facts: Facts,
    row: Sequence[Measured],
) -> dict[str, Any]:
    """What the best baseline reaches in half of its tuning runs, unless one is given."""
    if protocol.target is not None:
        return {"value": protocol.target, "source": "given"}
    sign = -1 if facts.higher_is_better else 1
    candidates = [
        (sign * _tuned_median(one, facts), spec.name)
        for spec, one in zip(optimizers, row, strict=True)
        if protocol.is_baseline(spec) or not any(map(protocol.is_baseline, optimizers))
    ]
    value, source = min(candidates)
    return {"value": sign * value, "source": source}


def _tuned_median(one: Measured, facts: Facts) -> float:
    chosen = _chosen(one, facts)
    values = np.where(one.tuning_diverged, facts.untrained["validation"], one.tuning_validation)
    return float(np.median(values[:, chosen]))


def choose(*, tuning_validation: np.ndarray, tuning_diverged: np.ndarray, facts: Facts) -> int:
    """Index of the draw that the tuning runs choose."""
    return estimates.best_draw(
        tuning_validation, tuning_diverged, higher_is_better=facts.higher_is_better
    )


def _chosen(one: Measured, facts: Facts) -> int:
    tuning = {"tuning_validation": one.tuning_validation, "tuning_diverged": one.tuning_diverged}
    return choose(**tuning, facts=facts)


def _cell(
    protocol: Protocol, spec: specs.OptimizerSpec, facts: Facts, one: Measured, target: float
) -> dict[str, Any]:
    ranges = protocol.space(spec)
    draws = space.draw(ranges, protocol.draws)
    chosen = _chosen(one, facts)
    times = estimates.first_reached(
        one.validation,
        protocol.evaluated_steps(),
        target,
        higher_is_better=facts.higher_is_better,
    )
    area = np.where(one.diverged, np.nan, one.losses.mean(axis=1, dtype=np.float64))
    return {
        "optimizer": spec.name,
        "rank": 0,
        "hyperparameters": {name: values[chosen] for name, values in draws.items()},
        "on_edge": space.on_edge(ranges, draws, chosen),
        "test": {**_mean(one.test, protocol.level), "values": one.test},
        "steps_to_target": _steps(times, protocol),
        "loss_area": {**_mean(area[~one.diverged], protocol.level), "values": area},
        "working_range": _working_range(one, draws, facts),
        "diverged": {
            "tuning": np.mean(one.tuning_diverged),
            "reporting": int(np.sum(one.diverged)),
        },
        "gain": None,
        "loss": _curve(one.losses),
        "validation": _curve(one.validation),
        "tuning": _tuning(one, draws),
        "budget": _budget(one, facts),
        "cost": _costs(one.cost),
    }


def _costs(cost: np.ndarray) -> dict[str, float | int]:
    return {
        name: int(value) if name.endswith("bytes") else float(value)
        for name, value in zip(COSTS, cost, strict=True)
    }


def _steps(times: np.ndarray, protocol: Protocol) -> dict[str, Any]:
    median, low, high = estimates.median_interval(times, level=protocol.level)
    return {
        "median": median,
        "low": low,
        "high": high,
        "reached": int(np.isfinite(times).sum()),
        "restricted_mean": np.mean(np.minimum(times, protocol.steps)),
        "values": times,
    }


def _working_range(
    one: Measured, draws: Mapping[str, np.ndarray], facts: Facts
) -> dict[str, float]:
    scores = estimates.draw_scores(one.tuning_validation, one.tuning_diverged)
    scores[np.any(one.tuning_diverged, axis=0)] = np.nan
    direction = facts.higher_is_better
    near = estimates.is_near_best(scores, higher_is_better=direction, margin=MARGIN)
    width = estimates.Range(math.nan, math.nan, math.nan)
    if len(draws) == 1:
        width = estimates.working_range(
            draws["learning_rate"], scores, higher_is_better=direction, margin=MARGIN
        )
    return {**width._asdict(), "share": float(np.mean(near))}


def _tuning(one: Measured, draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    runs = np.where(one.tuning_diverged, np.nan, one.tuning_validation)
    low, _, high = estimates.quartiles(runs)
    mean = estimates.draw_scores(one.tuning_validation, one.tuning_diverged)
    return {
        "draws": draws,
        "validation": {"mean": mean, "low": low, "high": high, "runs": runs},
        "diverged": np.sum(one.tuning_diverged, axis=0),
    }


def _budget(one: Measured, facts: Facts) -> dict[str, Any]:
    scores = estimates.draw_scores(one.tuning_validation, one.tuning_diverged)
    scores[np.any(one.tuning_diverged, axis=0)] = np.nan
    means, ends = estimates.best_of(scores, higher_is_better=facts.higher_is_better)
    return {
        "draws": np.arange(1, len(scores) + 1),
        "validation": {"mean": means, "low": ends[:, 0], "high": ends[:, 1]},
    }


def _compare(protocol: Protocol, cells: Sequence[dict[str, Any]], facts: Facts) -> None:
    """Fills in each cell's gain over the baseline's."""
    (baseline,) = (c["test"]["values"] for c in cells if c["optimizer"] == protocol.baseline)
    others = [c for c in cells if c["optimizer"] != protocol.baseline]
    gains = [
        paired.gains(c["test"]["values"], baseline, higher_is_better=facts.higher_is_better)
        for c in others
    ]
    raw = np.array([paired.permutation_p(gain) for gain in gains])
    for cell, gain, p, p_holm in zip(others, gains, raw, paired.holm(raw), strict=True):
        word, needed = paired.verdict(
            gain, p_holm, level=1 - protocol.level, comparisons=len(others)
        )
        cell["gain"] = {
            **_mean(gain, protocol.level),
            "values": gain,
            "wins": int(np.sum(gain > 0)),
            "ties": int(np.sum(gain == 0)),
            "losses": int(np.sum(gain < 0)),
            "p": p,
            "p_holm": p_holm,
            "verdict": word,
            "seeds_needed": needed,
        }
        cell["gain"]["sentence"] = verdicts.sentence(cell, facts.name, facts.metric, protocol)


def _overall(
    protocol: Protocol, optimizers: Sequence[specs.OptimizerSpec], tasks: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    names = [spec.name for spec in optimizers]
    if len(names) < 2 or len(tasks) < 2:
        return {"profiles": None, "ranks": None}
    by_name = [{cell["optimizer"]: cell for cell in task["cells"]} for task in tasks]
    times = np.concatenate(
        [np.stack([cells[n]["steps_to_target"]["values"] for n in names], 1) for cells in by_name]
    )
    ratios = across.corners(times)
    shares = across.performance_profile(times, ratios)
    costs = np.array([[cells[name]["rank"] for name in names] for cells in by_name])
    ranks = across.ranks(costs, level=1 - protocol.level)
    return {
        "profiles": {"ratio": ratios, "shares": dict(zip(names, shares, strict=True))},
        "ranks": {
            "mean": dict(zip(names, ranks.mean, strict=True)),
            "critical_difference": ranks.critical_difference,
            "friedman_p": ranks.friedman_p,
            "groups": [[names[i] for i in group] for group in ranks.groups],
            "tasks": len(tasks),
        },
    }


def _mean(values: np.ndarray, level: float) -> dict[str, float]:
    centre, low, high = estimates.mean_interval(values, level=level)
    return {"mean": centre, "low": low, "high": high}


def _curve(runs: np.ndarray) -> dict[str, np.ndarray]:
    low, median, high = estimates.quartiles(runs)
    return {"median": median, "low": low, "high": high, "runs": runs}


def _range(name: str, where: specs.Range) -> dict[str, Any]:
    if where.kind == "choice":
        return {"name": name, "kind": "choice", "values": where.values}
    return {"name": name, "kind": where.kind, "low": where.low, "high": where.high}
