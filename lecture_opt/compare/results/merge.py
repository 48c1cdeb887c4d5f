"""Studies of one protocol joined: other optimizers, or other tasks, in one set of verdicts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from lecture_opt import specs
from lecture_opt.compare.results.assemble import assemble
from lecture_opt.compare.results.measured import Facts, Failure, Measured, Reported, Tuned
from lecture_opt.compare.results.types import About, Cell, Study, Task

ROUNDING = 1e-4


def merge(studies: Sequence[Study]) -> Study:
    """The studies as one; the correction for comparisons is over all of them.

    Raises:
        ValueError: They don't fit, and why: another protocol, other seeds or other data, an
            optimizer that gave other numbers, or one that is missing on a task.
    """
    first = studies[0]
    for other in studies[1:]:
        _check_protocol(first, other)
    optimizers = {one.name: one for study in studies for one in study.optimizers}
    tasks: dict[str, Task] = {}
    cells: dict[str, dict[str, Cell]] = {}
    failed: dict[str, dict[str, Failure]] = defaultdict(dict)
    for study in studies:
        for task in study.tasks:
            known = tasks.setdefault(task.name, task)
            if known.fingerprint != task.fingerprint:
                raise ValueError(f"merge: {task.name} has other data in one of the studies")
            lengths = [(one.batch_size, *one.steps) for one in (known, task)]
            if lengths[0] != lengths[1]:
                raise ValueError(f"merge: {task.name} has other steps or batches in a study")
            found = cells.setdefault(task.name, {})
            for cell in task.cells:
                _check_same(found.setdefault(cell.optimizer, cell), cell, task.name)
            failed[task.name].update({one.optimizer: one for one in task.failures})
    for name, found in cells.items():
        if missing := optimizers.keys() - found.keys() - failed[name].keys():
            raise ValueError(f"merge: {', '.join(sorted(missing))} did not train {name}")
    rows = [
        [
            _measured(cells[task][name]) if name in cells[task] else failed[task][name]
            for name in optimizers
        ]
        for task in tasks
    ]
    joined = assemble(
        first.protocol,
        [
            specs.OptimizerSpec(one.text, one.name, search=one.search_space)
            for one in optimizers.values()
        ],
        [_facts(task) for task in tasks.values()],
        rows,
        About(first.versions, first.device),
        floors=[task.noise_floor for task in tasks.values()],
    )
    return replace(joined, tasks=[_with_budgets(task, cells[task.name]) for task in joined.tasks])


def _check_protocol(first: Study, other: Study) -> None:
    for field in fields(first.protocol):
        mine, theirs = (getattr(study.protocol, field.name) for study in (first, other))
        if mine != theirs and field.name != "family":
            raise ValueError(
                f"merge: the studies have other protocols: {field.name} is {mine} in one and "
                f"{theirs} in another"
            )


def _check_same(known: Cell, cell: Cell, task: str) -> None:
    """An optimizer that several studies trained must have given the same."""
    if not np.allclose(known.test.values, cell.test.values, rtol=ROUNDING, equal_nan=True):
        raise ValueError(
            f"merge: {cell.optimizer} gave other numbers on {task} in one of the studies; another "
            "device, other versions or another optimizer of this name"
        )


def _facts(task: Task) -> Facts:
    return Facts(**{field.name: getattr(task, field.name) for field in fields(Facts)})


def _measured(cell: Cell) -> Measured:
    """What the runs gave, as far as the results hold it."""
    draws, runs = cell.tuning.draws, cell.tuning.validation.runs
    tuned = Tuned(draws, np.nan_to_num(runs), np.isnan(runs))
    places = [
        np.flatnonzero(np.all([draws[k] == v for k, v in one.hyperparameters.items()], axis=0))[0]
        for one in cell.candidates
    ]
    reported = Reported(
        np.array(places),
        cell.loss.runs[None],
        cell.validation.runs[None],
        np.stack([one.test.values for one in cell.candidates]),
        np.isnan(cell.loss_area.values)[None],
    )
    return Measured(tuned, reported, cell.cost)


def _with_budgets(task: Task, cells: dict[str, Cell]) -> Task:
    """The results do not hold the order in which settings were tried: the curves stay."""
    return replace(
        task, cells=[replace(one, budget=cells[one.optimizer].budget) for one in task.cells]
    )
