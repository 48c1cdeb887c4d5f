"""A whole comparison: every optimizer tuned and reported on every task, and the results.

A task's optimizers are compiled and tuned side by side on all cores, then reported one by one,
so that the times of the reported runs are theirs alone. Under `jax.distributed` the processes
share out the optimizers, each on its own devices, and all end with the same results.
"""

import os
import pickle
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any

import jax
import numpy as np
import optax

from lecture_opt import equals, specs
from lecture_opt.compare import results
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.runs import cell
from lecture_opt.compare.runs.store import Store
from lecture_opt.environment import lenient
from lecture_opt.problems.task import Task, examples

DEFAULT_OPTIMIZERS = tuple(text for pair in equals.PAIRS for text in (pair.lecture, pair.optax))

OnStage = Callable[[str, str, str], None]


def run(
    tasks: Sequence[Task],
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    *,
    store: Store | None = None,
    on_stage: OnStage = lambda *_: None,
) -> results.Study:
    """Compares the optimizers on the tasks.

    Args:
        tasks: What to train.
        optimizers: From `specs.parse`; each must take a `learning_rate`.
        protocol: What is the same for all.
        store: Keeps what is finished, so that a later call with it goes on from there.
        on_stage: Called with ("checked", "", "") when nothing was found wrong, then with ("tuned"
            or "reported", task, optimizer) when it is.

    Raises:
        ValueError: Before any training, where something is missing, given twice or can't be
            trained.
    """
    check(tasks, optimizers, protocol)
    on_stage("checked", "", "")
    store = store or Store(None)
    facts, measured = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for future in [pool.submit(cell.prepare, task, protocol) for task in tasks]:
                prepared = future.result()
                facts.append(cell.facts(prepared, protocol))
                measured.append(
                    _measure(prepared, facts[-1], optimizers, protocol, store, pool, on_stage)
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results.assemble(protocol, optimizers, facts, measured, about())


def about() -> results.About:
    """What the numbers depend on beside the protocol."""
    packages = ("lecture_opt", "jax", "jaxlib", "optax", "numpy", "scipy")
    versions = {name: metadata.version(name) for name in packages}
    device = jax.devices()[0]
    return results.About(
        {**versions, "python": platform.python_version()},
        results.Device(
            device.platform, device.device_kind, jax.device_count(), jax.process_count()
        ),
    )


def check(
    tasks: Sequence[Task], optimizers: Sequence[specs.OptimizerSpec], protocol: Protocol
) -> None:
    """Raises ValueError, before any work, for a comparison that can't be made."""
    names = [spec.name for spec in optimizers]
    if not tasks or not optimizers:
        raise ValueError("run: there must be a task and an optimizer")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"run: {twice} is given twice")
    if protocol.baseline not in names:
        raise ValueError(
            f"run: the baseline {protocol.baseline} is none of the optimizers; "
            f"they are {', '.join(names)}"
        )
    for spec in optimizers:
        _check_tunable(spec)
    for task in tasks:
        if protocol.batch_size > examples(task.train):
            raise ValueError(
                f"run: batch_size={protocol.batch_size} exceeds the {examples(task.train)} "
                f"training examples of {task.name}"
            )
        params = _shapes_of(task)
        for spec in optimizers:
            _check_trains(spec, task, params, protocol)


def _check_tunable(spec: specs.OptimizerSpec) -> None:
    if not specs.takes(spec, "learning_rate"):
        raise ValueError(
            f"{spec.text}: compare tunes the learning rate, so it needs a constructor that takes "
            "it; write `def my_opt(learning_rate): return ...` and name that"
        )
    if "learning_rate" in spec.kwargs:
        raise ValueError(
            f"{spec.text}: compare tunes learning_rate; leave it out, or give its range, as in "
            "learning_rate=log(1e-4, 1)"
        )


def _shapes_of(task: Task) -> Any:
    """The shapes of the task's params; ValueError where its functions can't be traced."""
    try:
        params = jax.eval_shape(task.init, jax.random.key(0))
        for function in (task.loss, task.metric):
            shape = jax.eval_shape(function, params, task.validation).shape
            if shape != ():
                raise ValueError(f"its {function.__name__} has shape {shape}; wanted a scalar")
    except Exception as error:
        raise ValueError(f"{task.name} can't be trained: {_first_line(error)}") from error
    return params


def _check_trains(spec: specs.OptimizerSpec, task: Task, params: Any, protocol: Protocol) -> None:
    """Raises ValueError where one update, with params for gradients, can't be traced."""

    def update(params: Any, scalars: dict[str, Any]) -> Any:
        optimizer = optax.with_extra_args_support(specs.build(spec, **scalars))
        return optimizer.update(params, optimizer.init(params), params, value=0.0)[0]

    scalars = {name: np.float32(0.5) for name in protocol.space(spec)}
    try:
        with lenient():
            jax.eval_shape(update, params, scalars)
    except Exception as error:
        raise ValueError(f"{spec.text} can't train {task.name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _measure(
    prepared: cell.Prepared,
    facts: results.Facts,
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    store: Store,
    pool: ThreadPoolExecutor,
    on_stage: OnStage,
) -> list[results.Measured]:
    """One task: its optimizers tuned side by side, then reported one by one."""
    cells = [
        cell.Cell(
            prepared,
            facts,
            spec,
            protocol,
            store.cell(results.plain(about()), protocol, facts.name, spec),
        )
        if _is_ours(i)
        else None
        for i, spec in enumerate(optimizers)
    ]

    def tune(ours: cell.Cell) -> None:
        ours.tuned()
        on_stage("tuned", facts.name, ours.spec.name)

    for future in [pool.submit(tune, ours) for ours in cells if ours is not None]:
        future.result()
    measured = []
    for i, ours in enumerate(cells):
        one = None
        if ours is not None:
            one = ours.measured()
            on_stage("reported", facts.name, ours.spec.name)
        measured.append(_shared(one, i))
    return measured


def _is_ours(index: int) -> bool:
    return index % jax.process_count() == jax.process_index()


def _shared(one: results.Measured | None, index: int) -> results.Measured:
    """The measurement of the process that has it, given to all."""
    if jax.process_count() == 1:
        assert one is not None
        return one
    from jax.experimental import multihost_utils

    def given(value: np.ndarray) -> np.ndarray:
        return np.asarray(multihost_utils.broadcast_one_to_all(value, is_source=_is_ours(index)))

    data = np.frombuffer(pickle.dumps(one), np.uint8)
    size = int(given(np.array(len(data))))
    whole = given(np.resize(data, size))
    measured: results.Measured = pickle.loads(whole.astype(np.uint8).tobytes())
    return measured
