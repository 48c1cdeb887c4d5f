"""A whole comparison: the protocol, the runs, and the results as plain data."""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import lecture_opt
from lecture_opt import specs
from lecture_opt.compare import engine, statistics
from lecture_opt.compare.tasks import TASKS, Task

FORMAT = 1
BASELINES = (
    ("lecture:sgd", "optax:sgd"),
    ("lecture:momentum", "optax:sgd(momentum=0.9)"),
    ("lecture:nesterov", "optax:sgd(momentum=0.9, nesterov=True)"),
    ("lecture:adagrad", "optax:adagrad"),
    ("lecture:rmsprop", "optax:rmsprop"),
    ("lecture:adam", "optax:adam"),
)
DEFAULT_OPTIMIZERS = tuple(text for pair in BASELINES for text in pair)


@dataclass(frozen=True)
class Protocol:
    """What is fixed before any run, the same for every optimizer; saved with the results.

    Attributes:
      steps: optimizer steps of a run.
      batch_size: examples of a minibatch.
      evaluations: how many times the validation metric is taken; divides `steps`.
      learning_rates: the grid.
      tuning_seeds: choose the learning rate, by the last validation metric.
      reporting_seeds: give every number reported at that rate; disjoint from the others.
    """

    steps: int = 400
    batch_size: int = 32
    evaluations: int = 40
    learning_rates: tuple[float, ...] = tuple(float(10 ** (k / 2)) for k in range(-8, 2))
    tuning_seeds: tuple[int, ...] = (0, 1, 2)
    reporting_seeds: tuple[int, ...] = (1000, 1001, 1002, 1003, 1004)

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, where the protocol makes no sense."""
        if self.steps < 1 or self.evaluations < 1 or self.steps % self.evaluations:
            raise ValueError(
                f"Protocol: steps={self.steps} must be a positive multiple of "
                f"evaluations={self.evaluations}"
            )
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError("Protocol: learning_rates must be positive, and one at least")
        if not self.tuning_seeds or len(self.reporting_seeds) < 2:
            raise ValueError("Protocol: one tuning seed and two reporting seeds at least")
        if set(self.tuning_seeds) & set(self.reporting_seeds):
            raise ValueError("Protocol: tuning_seeds and reporting_seeds must be disjoint")


class Program(NamedTuple):
    """A compiled sweep and how long its compile took, beside the others."""

    compiled: jax.stages.Compiled
    seconds: float


def protocol(*, steps: int | None = None, seeds: int = 5, quick: bool = False) -> Protocol:
    """The protocol of the command's options; `quick` takes fewer steps, rates and seeds."""
    steps = steps if steps is not None else 200 if quick else 400
    evaluations = max(d for d in range(1, min(steps, 40) + 1) if steps % d == 0) if steps > 0 else 1
    rates = Protocol.learning_rates[1::2] if quick else Protocol.learning_rates
    tuning = (0,) if quick else (0, 1, 2)
    reporting = tuple(range(1000, 1000 + seeds))
    return Protocol(steps, 32, evaluations, rates, tuning, reporting)


def run(
    tasks: Sequence[Task],
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    *,
    on_compiled: Callable[[], None] = lambda: None,
    on_cell: Callable[[str, str], None] = lambda *_: None,
) -> dict[str, Any]:
    """Compares the optimizers on the tasks; returns plain data, as `results.json` holds it.

    Every optimizer is traced on every task before any training, and all programs are compiled
    before the first runs, so that the times of the runs are theirs alone.

    Args:
      tasks: what to train.
      optimizers: from `specs.parse`; each must take a `learning_rate`.
      protocol: what is the same for all.
      on_compiled: called after each program is compiled, from another thread.
      on_cell: called with (task, optimizer) names after each cell.

    Raises:
      ValueError: an optimizer takes no learning rate, or can't train a task; a batch is larger
        than a task's training data.
    """
    learning_rates = protocol.learning_rates
    for task in tasks:
        if protocol.batch_size > len(task.train[0]):
            raise ValueError(
                f"run: batch_size={protocol.batch_size} exceeds the data of {task.name}"
            )
    for spec in optimizers:
        _check_tunable(spec)
    starts = [
        engine.prepare(
            task,
            seeds=protocol.tuning_seeds + protocol.reporting_seeds,
            steps=protocol.steps,
            batch_size=protocol.batch_size,
            evaluations=protocol.evaluations,
        )
        for task in tasks
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        programs = [
            [
                pool.submit(_compile, _lower(task, spec, start, learning_rates), on_compiled)
                for spec in optimizers
            ]
            for task, start in zip(tasks, starts, strict=True)
        ]
        wait([future for row in programs for future in row])
        compared = [
            _compare_on(task, optimizers, protocol, start, row, on_cell)
            for task, start, row in zip(tasks, starts, programs, strict=True)
        ]
    finally:
        pool.shutdown(cancel_futures=True)
    return {
        "format": FORMAT,
        "versions": {
            "lecture_opt": _version(),
            "jax": jax.__version__,
            "optax": optax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": str(jax.devices()[0].device_kind),
        "protocol": asdict(protocol),
        "tasks": compared,
    }


def write(results: dict[str, Any], path: Path) -> None:
    """Writes the results as strict JSON, NaN and infinities as null; whole or not at all."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(_plain(results), indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)


def _compare_on(
    task: Task,
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    start: engine.Start,
    programs: Sequence[Future[Program]],
    on_cell: Callable[[str, str], None],
) -> dict[str, Any]:
    evaluate = jax.jit(jax.vmap(task.metric, in_axes=(0, None)))  # one compile a task
    cells = []
    for spec, program in zip(optimizers, programs, strict=True):
        cells.append(_cell(task, spec, protocol, start, program.result(), evaluate))
        on_cell(task.name, spec.name)
    sign = -1 if task.higher_is_better else 1
    baselines = [c for c in cells if c["optimizer"].startswith("optax:")] or cells
    target = min(
        (np.median(c["validation"], axis=0)[-1] for c in baselines), key=lambda v: sign * v
    )
    steps = np.arange(1, protocol.evaluations + 1) * (protocol.steps // protocol.evaluations)
    for cell in cells:
        reached = statistics.steps_to_target(
            np.asarray(cell["validation"]), steps, target, higher_is_better=task.higher_is_better
        )
        cell["steps_to_target"] = statistics.median_censored(reached)
    cells.sort(key=lambda c: (c["diverged_reporting"], sign * c["test_mean"]))
    return {
        "task": task.name,
        "metric": task.metric_name,
        "higher_is_better": task.higher_is_better,
        "target": float(target),
        "steps": steps,
        "optimizers": cells,
    }


def _cell(
    task: Task,
    spec: specs.OptimizerSpec,
    protocol: Protocol,
    start: engine.Start,
    program: Program,
    evaluate: Callable[..., jax.Array],
) -> dict[str, Any]:
    began = time.perf_counter()
    result = engine.sweep(program.compiled, start, protocol.learning_rates)
    seconds = time.perf_counter() - began
    tuning = slice(0, len(protocol.tuning_seeds))
    reporting = slice(len(protocol.tuning_seeds), None)
    chosen = statistics.best_rate(
        result.validation[tuning, :, -1],
        result.diverged[tuning],
        higher_is_better=task.higher_is_better,
    )
    reported = jax.tree.map(lambda leaf: leaf[reporting, chosen], result.params)
    test = np.asarray(evaluate(reported, task.test))
    return {
        "optimizer": spec.name,
        "learning_rate": protocol.learning_rates[chosen],
        "on_edge": chosen in (0, len(protocol.learning_rates) - 1),
        "test": test,
        "test_mean": float(test.mean()),
        "test_interval": statistics.bootstrap_interval(test),
        "diverged_share": float(result.diverged.mean()),
        "diverged_reporting": int(result.diverged[reporting, chosen].sum()),
        "losses": result.losses[reporting, chosen],
        "validation": result.validation[reporting, chosen],
        "validation_by_rate": np.where(
            result.diverged[tuning], np.nan, result.validation[tuning, :, -1]
        ).mean(axis=0),
        "compile_seconds": program.seconds,
        "run_seconds": seconds,
    }


def _lower(
    task: Task, spec: specs.OptimizerSpec, start: engine.Start, learning_rates: tuple[float, ...]
) -> jax.stages.Lowered:
    """Raises ValueError where the optimizer can't be traced on the task."""

    def constructor(learning_rate: jax.Array) -> optax.GradientTransformation:
        return specs.build(spec, learning_rate=learning_rate)

    try:
        return engine.lower(task, constructor, start, learning_rates)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{spec.text} can't train {task.name}: {reason}") from error


def _compile(lowered: jax.stages.Lowered, on_compiled: Callable[[], None]) -> Program:
    began = time.perf_counter()
    compiled = lowered.compile(engine.fast_compile_options())
    on_compiled()
    return Program(compiled, time.perf_counter() - began)


def _check_tunable(spec: specs.OptimizerSpec) -> None:
    """Raises ValueError where there is no learning rate to tune."""
    if not specs.takes(spec, "learning_rate"):
        raise ValueError(
            f"{spec.text}: compare tunes the learning rate, so it needs a constructor that takes "
            "it; write `def my_opt(learning_rate): return ...` and name that"
        )
    if "learning_rate" in spec.kwargs:
        raise ValueError(f"{spec.text}: compare tunes learning_rate; leave it out")


def load_tasks(names: Sequence[str]) -> list[Task]:
    """The tasks of these names, all where none is given; ValueError names the known ones."""
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise ValueError(f"--task {unknown[0]}: no such task; there are {', '.join(TASKS)}")
    return [TASKS[name]() for name in names or TASKS]


def _version() -> str:
    from importlib.metadata import version

    return version(lecture_opt.__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return value if not isinstance(value, float) or np.isfinite(value) else None
