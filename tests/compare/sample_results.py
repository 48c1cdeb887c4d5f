"""A small study, made up: two tasks, hostile names, missing numbers."""

import numpy as np

from lecture_opt.compare import results

HOSTILE = "mine.py:<script>alert(1)</script>"
NAMES = ("optax:adam", "lecture:adam", "optax:sgd(momentum=0.9)", HOSTILE)
LONG = (
    "optax:adamw(b1=0.95, weight_decay=0.0001)",
    *(f"mine.py:an_optimizer_with_a_very_long_name_of_kind_{k}" for k in range(3)),
    *(f"optax:sgd(momentum=0.{k}, nesterov=True)" for k in range(10, 21)),
    "optax:lion",
)
STEPS = [10, 20, 30, 40]
SEEDS = [1_000_000, 1_000_001, 1_000_002]
RATES = [0.001, 0.01, 0.1]


def make(names=NAMES):
    """The study, of these optimizers; the first is the baseline."""
    return results.study(plain(names))


def _cell(name, rank, rng, higher, baseline):
    best = 0.9 - 0.1 * rank if higher else 0.1 + 0.1 * rank
    test = (best + 0.01 * rng.normal(size=3)).tolist()
    loss = np.exp(-np.arange(4) / 2)[None] * rng.uniform(0.9, 1.1, (3, 4))
    cell = {
        "optimizer": name,
        "rank": rank,
        "hyperparameters": {"learning_rate": 0.01},
        "on_edge": [],
        "candidates": [
            {"hyperparameters": {"learning_rate": 0.01}, "share": 1.0}
            | {"test": {"mean": 0.5, "low": 0.4, "high": 0.6, "values": [0.4, 0.5, 0.6]}}
        ],
        "test": {"mean": float(np.mean(test)), "low": best - 0.02, "high": best + 0.02}
        | {"values": test},
        "steps_to_target": {"median": 20.0, "low": 10.0, "high": None, "reached": 2}
        | {"restricted_mean": 25.0, "values": [20.0, 10.0, None]},
        "loss_area": {"mean": 0.5, "low": 0.4, "high": 0.6, "values": [0.4, 0.5, 0.6]},
        "working_range": {"decades": 1.5, "low": 0.001, "high": 0.03, "share": 0.5},
        "wrong_rate": {
            "tenth": {"mean": 0.1, "low": 0.05, "high": 0.15},
            "tenfold": {"mean": None, "low": None, "high": None},
        },
        "diverged": {"tuning": 0.25, "reporting": 0},
        "gain": None
        if name == baseline
        else {"mean": 0.01 * rank, "low": -0.01, "high": 0.05, "values": [0.0, 0.01, 0.02]}
        | {"error": 0.01, "choice_error": 0.005, "wins": 2, "ties": 1, "losses": 0}
        | {"p": 0.25, "p_holm": 0.5, "verdict": "undecided"}
        | {"set_number": 1, "set_size": 3, "planned": 3, "error_rate": 0.045}
        | {"seeds_needed": {"seeds": 34, "low": 20, "high": None}, "sentence": "s"},
        "loss": _band(loss),
        "validation": _band(best + 0.1 * loss),
        "tuning": {
            "draws": {"learning_rate": RATES},
            "validation": {"mean": [0.5, best, None], "low": [0.4, best - 0.1, None]}
            | {"high": [0.6, best + 0.1, None], "runs": [[0.5, best, None], [0.5, best, None]]},
            "diverged": [0, 0, 2],
        },
        "budget": {
            "draws": [1, 2, 3],
            "validation": {"mean": [0.6, 0.7, best], "low": [0.5, 0.6, best]}
            | {"high": [0.7, 0.8, best]},
        },
        "cost": {"step_seconds": 5e-6, "run_seconds": 0.1, "trace_seconds": 0.2}
        | {"compile_seconds": 1.5, "state_bytes": 496, "parameter_bytes": 248}
        | {"seconds_to_target": {"median": 1e-4, "low": 5e-5, "high": None}},
    }
    if name == HOSTILE:  # it tunes two numbers, and one of its runs diverged
        cell["hyperparameters"]["b1"] = 0.9
        cell["tuning"]["draws"]["b1"] = [0.8, 0.9, 0.95]
        cell["on_edge"] = ["learning_rate"]
        cell["working_range"] = dict.fromkeys(cell["working_range"])
        for key in ("loss", "validation"):
            cell[key]["runs"][2][2:] = [None, None]
            cell[key]["median"][3] = cell[key]["low"][3] = cell[key]["high"][3] = None
        cell["loss_area"]["values"][2] = None
        cell["steps_to_target"] = {"median": None, "low": None, "high": None, "reached": 0}
        cell["cost"]["seconds_to_target"] = {"median": None, "low": None, "high": None}
        cell["steps_to_target"] |= {"restricted_mean": 40.0, "values": [None] * 3}
    return cell


def _band(runs):
    low, median, high = np.quantile(runs, [0.25, 0.5, 0.75], axis=0).tolist()
    return {"median": median, "low": low, "high": high, "runs": runs.tolist()}


def _task(name, metric, higher, names):
    rng = np.random.default_rng(0)
    return {
        "name": name,
        "description": f"The {metric} & more on <b>{name}</b>.",
        "metric": metric,
        "higher_is_better": higher,
        "examples": {"train": 300, "validation": 100, "test": 100},
        "parameters": 62,
        "steps": STEPS,
        "untrained": {"validation": 0.1, "test": 0.1},
        "fingerprint": "f00d",
        "pooled": True,
        "goal": None,
        "batch_size": 32,
        "notes": [],
        "target": {"value": 0.85, "source": "optax:adam"},
        "noise_floor": {"mean": 0.001, "low": -0.01, "high": 0.012, "deviation": 0.012},
        "margin": {"value": 0.012, "source": "noise floor"},
        "cells": [_cell(n, rank, rng, higher, names[0]) for rank, n in enumerate(names, start=1)],
        "failures": [],
        "warnings": [f"{HOSTILE} chose 0.01, on the edge of its range."],
    }


def plain(names):
    """The study as its file holds it."""
    return {
        "format": 4,
        "versions": {"lecture_opt": "0.1.0", "jax": "0.10.2"},
        "device": {"platform": "cpu", "kind": "cpu", "devices": 1, "processes": 1},
        "protocol": {
            "steps": 40,
            "batch_size": 32,
            "evaluations": 4,
            "draws": 3,
            "tuning_seeds": [0, 1],
            "reporting_seeds": SEEDS,
            "level": 0.95,
            "baseline": names[0],
            "target": None,
            "rates": {"kind": "log", "low": 1e-4, "high": 10.0, "values": []},
            "schedule": None,
            "margin": None,
            "relative": False,
            "planned": None,
            "first_seed": 0,
            "choose": "last",
            "joined": [],
            "seeds": 3,
            "tuning_seed_count": 2,
        },
        "optimizers": [
            {
                "name": name,
                "text": name,
                "is_baseline": name.startswith("optax"),
                "search_space": {},
            }
            for name in names
        ],
        "tasks": [
            _task("digits", "accuracy", True, names),
            _task("diabetes", "squared error", False, names),
        ],
        "overall": {
            "profiles": {
                "ratio": [1.0, 2.0, 4.0],
                "shares": {name: [0.1 * k, 0.5, 0.9] for k, name in enumerate(names)},
            },
            "ranks": {
                "mean": {name: float(rank) for rank, name in enumerate(names, start=1)},
                "critical_difference": 2.5,
                "friedman_p": 0.04,
                "groups": [list(names[:3]), list(names[1:])],
                "tasks": 2,
            },
        },
        "verdicts": [f"{HOSTILE} is undecided against optax:adam."],
    }


PLAIN = plain(NAMES)
