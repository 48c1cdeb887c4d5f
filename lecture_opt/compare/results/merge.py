"""Studies of one protocol joined: other optimizers, tasks or seeds, in one set of verdicts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from lecture_opt import specs
from lecture_opt.compare.protocol import FIRST_REPORTING_SEED
from lecture_opt.compare.results.assemble import assemble
from lecture_opt.compare.results.gains import Standing
from lecture_opt.compare.results.measured import Facts, Failure, Measured, Reported, Tuned
from lecture_opt.compare.results.types import About, Cell, NoiseFloor, Optimizer, Study, Task

ROUNDING = 1e-4
SEEDS = ("seeds", "first_seed", "joined", "planned")
"""What the protocols may differ in."""


def merge(studies: Sequence[Study]) -> Study:
    """The studies as one; the correction for comparisons is over all of them.

    Those with the same seeds may have other optimizers or tasks. Those with other seeds must have
    the same, tuned to the same setting; of the sequence of looks theirs is a later one.

    Raises:
        ValueError: They don't fit, and why: another protocol, seeds in common, other data, an
            optimizer that gave other numbers, or one that is missing on a task.
    """
    groups: dict[tuple[int, ...], list[Study]] = defaultdict(list)
    for study in studies:
        _check_protocol(studies[0], study)
        groups[study.protocol.reporting_seeds].append(study)
    return _other_seeds([_same_seeds(groups[seeds]) for seeds in sorted(groups)])


def _same_seeds(studies: Sequence[Study]) -> Study:
    """Other optimizers and tasks joined."""
    first = studies[0]
    if len(studies) == 1:
        return first
    optimizers = {one.name: one for study in studies for one in study.optimizers}
    cells: dict[str, dict[str, Cell]] = defaultdict(dict)
    failed: dict[str, dict[str, Failure]] = defaultdict(dict)
    for study in studies:
        for task in study.tasks:
            _check_facts(_tasks_of(studies, task.name)[0], task)
            found = cells[task.name]
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
        for task in cells
    ]
    tasks = [_tasks_of(studies, name) for name in cells]
    joined = assemble(
        first.protocol,
        [_spec(one) for one in optimizers.values()],
        [_facts(found) for found in tasks],
        rows,
        About(first.versions, first.device),
        floors=[_floor(found) for found in tasks],
        standings=[_standings(found) for found in tasks],
    )
    return replace(joined, tasks=[_with_budgets(task, cells[task.name]) for task in joined.tasks])


def _other_seeds(studies: Sequence[Study]) -> Study:
    """Studies of the same optimizers on the same tasks, one after another along the seeds."""
    first, protocol = studies[0], studies[0].protocol
    if len(studies) == 1:
        return first
    seeds = [seed for study in studies for seed in study.protocol.reporting_seeds]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1) - FIRST_REPORTING_SEED
        raise ValueError(f"merge: seed {twice} is in two of the studies; give another --first-seed")
    for study in studies[1:]:
        _check_alike(first, study)
    weights = np.array([study.protocol.seeds for study in studies]) / len(seeds)
    facts, rows = [], []
    for task in first.tasks:
        parts = _tasks_of(studies, task.name)
        means = {
            part: float(weights @ [one.untrained[part] for one in parts]) for part in task.untrained
        }
        facts.append(replace(_facts(parts), untrained=means))
        rows.append([_along_seeds(parts, one.name) for one in first.optimizers])
    joined = assemble(
        replace(
            protocol,
            seeds=len(seeds),
            planned=protocol.planned or protocol.seeds,
            joined=tuple(pair for study in studies for pair in study.protocol.ranges),
        ),
        [_spec(one) for one in first.optimizers],
        facts,
        rows,
        About(first.versions, first.device),
        floors=[task.noise_floor for task in first.tasks],
        standings=[_standings([task]) for task in first.tasks],
    )
    cells = [{cell.optimizer: cell for cell in task.cells} for task in first.tasks]
    pairs = zip(joined.tasks, cells, strict=True)
    return replace(joined, tasks=[_with_budgets(task, own) for task, own in pairs])


def _tasks_of(studies: Sequence[Study], name: str) -> list[Task]:
    """The task in each study that has it, those in which something ran first."""
    found = [task for study in studies for task in study.tasks if task.name == name]
    return sorted(found, key=lambda task: not task.cells)


def _check_alike(first: Study, other: Study) -> None:
    """Other seeds join only where all else is there in both."""
    for what in ("tasks", "optimizers"):
        mine, theirs = ({one.name for one in getattr(study, what)} for study in (first, other))
        if mine != theirs:
            raise ValueError(
                f"merge: {', '.join(sorted(mine ^ theirs))} did not run with all seeds: studies of "
                f"other seeds must have the same {what}"
            )
    for task in first.tasks:
        (again,) = _tasks_of([other], task.name)
        _check_facts(task, again)
        if failed := [*task.failures, *again.failures]:
            raise ValueError(f"merge: {failed[0].optimizer} failed on {task.name}: {failed[0].why}")


def _along_seeds(tasks: Sequence[Task], optimizer: str) -> Measured:
    """The runs of an optimizer in all studies, which must be tuned to the same setting."""
    cells = [next(c for c in task.cells if c.optimizer == optimizer) for task in tasks]
    first = cells[0]
    settings = [[dict(one.hyperparameters) for one in cell.candidates] for cell in cells]
    for own in settings[1:]:
        if own[0] != settings[0][0]:
            raise ValueError(
                f"merge: {optimizer} is tuned to {own[0]} on {tasks[0].name} in one of the studies "
                f"and to {settings[0][0]} in another; another device, other versions or another "
                "optimizer of this name"
            )
    common = [one for one in settings[0] if all(one in own for own in settings)]
    parts = [
        _measured(replace(cell, candidates=[cell.candidates[own.index(one)] for one in common]))
        for cell, own in zip(cells, settings, strict=True)
    ]
    together = {
        field.name: np.concatenate([getattr(one.reported, field.name) for one in parts], axis=1)
        for field in fields(Reported)
        if field.name != "settings"
    }
    reported = Reported(settings=parts[0].reported.settings, **together)
    return Measured(_measured(first).tuned, reported, first.cost)


def _check_protocol(first: Study, other: Study) -> None:
    for field in fields(first.protocol):
        mine, theirs = (getattr(study.protocol, field.name) for study in (first, other))
        if mine != theirs and field.name not in SEEDS:
            raise ValueError(
                f"merge: the studies have other protocols: {field.name} is {mine} in one and "
                f"{theirs} in another"
            )


def _check_facts(known: Task, task: Task) -> None:
    if task.cells and known.fingerprint != task.fingerprint:
        raise ValueError(f"merge: {task.name} has other data in one of the studies")
    lengths = [(one.batch_size, *one.steps) for one in (known, task)]
    if lengths[0] != lengths[1]:
        raise ValueError(f"merge: {task.name} has other steps or batches in a study")


def _check_same(known: Cell, cell: Cell, task: str) -> None:
    """An optimizer that several studies trained must have given the same."""
    if not np.allclose(known.test.values, cell.test.values, rtol=ROUNDING, equal_nan=True):
        raise ValueError(
            f"merge: {cell.optimizer} gave other numbers on {task} in one of the studies; another "
            "device, other versions or another optimizer of this name"
        )


def _standings(tasks: Sequence[Task]) -> dict[str, Standing]:
    """Where each was first judged; sets of one number in several studies become one."""
    found: dict[str, Standing] = {}
    for cell in (cell for task in tasks for cell in task.cells):
        if (gain := cell.gain) is not None:
            found.setdefault(cell.optimizer, Standing(gain.set_number, gain.set_size, gain.planned))
    return found


def _spec(one: Optimizer) -> specs.OptimizerSpec:
    return specs.OptimizerSpec(one.text, one.name, search=one.search_space)


def _facts(tasks: Sequence[Task]) -> Facts:
    """The facts of the first, with the notes of all."""
    known = {field.name: getattr(tasks[0], field.name) for field in fields(Facts)}
    notes = [note for task in tasks for note in task.notes]
    return Facts(**known | {"notes": list(dict.fromkeys(notes))})


def _floor(tasks: Sequence[Task]) -> NoiseFloor:
    """Of the first in which the baseline ran; without one it has no value."""
    measured = [task for task in tasks if task.margin.source != "none"]
    return (measured or tasks)[0].noise_floor


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
