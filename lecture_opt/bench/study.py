"""A whole bench: every optimizer on every tree, measured in turn, as plain data."""

import gc
import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt import equals, files, specs
from lecture_opt.bench import measure, statistics, torch_side
from lecture_opt.bench.trees import Tree

FORMAT = 1
KINDS = ("step", "init", "eager", "trace")
LEARNING_RATE = 1e-3


def optimizers(text: str, against: Sequence[str]) -> dict[str, optax.GradientTransformation]:
    """The optimizer that `text` names and those beside it, by name, each tried on a small tree.

    With nothing named beside it, optax's equal, or optax's Adam where there is none.

    Raises:
        ValueError: A name is none of an optimizer's, or it can't take a step.
    """
    others = list(against) or [equals.beside(text)]
    made: dict[str, optax.GradientTransformation] = {}
    for each in (text, *others):
        spec = specs.parse(each)
        free = specs.takes(spec, "learning_rate") and "learning_rate" not in spec.kwargs
        optimizer = specs.build(spec, **({"learning_rate": LEARNING_RATE} if free else {}))
        params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
        try:
            jax.eval_shape(lambda p, o=optimizer: o.update(p, o.init(p), p), params)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else ""
            raise ValueError(f"{each}: can't step: {type(error).__name__}: {reason}") from error
        made[spec.name] = optimizer
    return made


def run(
    optimizers: dict[str, optax.GradientTransformation],
    trees: Sequence[Tree],
    *,
    rounds: int,
    slow_rounds: int = 3,
    bandwidth_bytes: int = 256_000_000,
    torch: bool = True,
    on_done: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures every optimizer on every tree; returns plain data, as `bench.json` holds it.

    In each round every optimizer takes two steps, of which the second is timed, in an order drawn
    anew: a ratio is of neighbours in time, and what one library leaves in caches and threads
    (PyTorch's go on spinning) falls on no other in particular.

    Args:
        optimizers: By name; the first is the one that the others are compared with.
        trees: From `trees.trees`.
        rounds: Of compiled steps.
        slow_rounds: Of initialisations, eager steps and traces.
        bandwidth_bytes: Size of the array whose copy gives the device's bandwidth.
        torch: Whether to add PyTorch's fused optimizer where it is installed and has the like.
        on_done: Called with a description after each part; `parts` of them.

    Raises:
        ValueError: `rounds` or `slow_rounds` is not positive.
    """
    if rounds < 1 or slow_rounds < 1:
        raise ValueError(f"run: rounds={rounds} and slow_rounds={slow_rounds} must be positive")
    bandwidth = measure.copy_bandwidth(bandwidth_bytes)
    on_done("copy bandwidth")
    fused = torch_side.fused_name(next(iter(optimizers))) if torch else None
    measured = []
    for tree in trees:
        params = tree.make()
        subjects = []
        for name, optimizer in optimizers.items():
            subjects.append(measure.prepare(name, optimizer, params))
            on_done(f"{tree.name}: compiled {name}")
        if fused and torch_side.installed():
            subjects.append(torch_side.prepare(fused, params))
        samples = _samples(subjects, rounds, slow_rounds)
        on_done(f"{tree.name}: measured")
        measured.append(
            {
                "tree": tree.name,
                "text": tree.text,
                "leaves": len(jax.tree.leaves(params)),
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
                "optimizers": [
                    {"optimizer": subject.name, **subject.costs, **sample}
                    for subject, sample in zip(subjects, samples, strict=True)
                ],
            }
        )
        del params, subjects
        gc.collect()
    return {
        "format": FORMAT,
        "versions": {
            **{name: importlib.metadata.version(name) for name in ("lecture_opt", "jax", "optax")},
            "python": platform.python_version(),
        },
        "device": str(jax.devices()[0].device_kind),
        "rounds": rounds,
        "bandwidth_bytes_per_second": bandwidth,
        "trees": [summarised(tree, bandwidth) for tree in measured],
    }


def parts(optimizers: Sequence[str] | dict[str, Any], trees: Sequence[Tree]) -> int:
    """How many times `run` calls `on_done`."""
    return 1 + len(trees) * (len(optimizers) + 1)


def _samples(
    subjects: Sequence[measure.Subject], rounds: int, slow_rounds: int
) -> list[dict[str, list[float]]]:
    """Seconds by kind for each subject; in each round all take their turn, in a drawn order."""
    samples: list[dict[str, list[float]]] = [{} for _ in subjects]
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for _ in range(rounds if kind == "step" else slow_rounds):
            for i in rng.permutation(len(subjects)):
                function, sample = getattr(subjects[i], kind), samples[i]
                if function is not None:
                    if kind == "step":
                        function()  # so that the timed step follows one of its own, as in training
                    else:
                        gc.collect()  # the last one's garbage is not to be this one's time
                    began = time.perf_counter()
                    function()
                    took = time.perf_counter() - began
                    sample.setdefault(f"{kind}_seconds", []).append(took)
    return samples


def summarised(tree: dict[str, Any], bandwidth: float) -> dict[str, Any]:
    """The tree's measurements with, for each optimizer, medians, intervals and ratios.

    `..._ratio` is the first optimizer's over this one's: below 1 the first is faster.
    """
    first = tree["optimizers"][0]
    rows = []
    for cell in tree["optimizers"]:
        row = dict(cell)
        for kind in KINDS:
            samples = cell.get(f"{kind}_seconds")
            if samples:
                row[f"{kind}_median"] = statistics.median_interval(samples)
                ratio = statistics.ratio_interval(first[f"{kind}_seconds"], samples)
                row[f"{kind}_ratio"] = ratio
        if cell.get("compile_seconds"):
            row["compile_ratio"] = first["compile_seconds"] / cell["compile_seconds"]
        row["times_limit"] = statistics.times_limit(
            row["step_median"][0], cell["moved_bytes"], bandwidth
        )
        rows.append(row)
    return {**tree, "optimizers": rows}


def write(results: dict[str, Any], path: Path) -> None:
    """Writes the results as strict JSON; whole or not at all."""
    files.write_json(path, results)
