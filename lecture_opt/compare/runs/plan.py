"""The tasks of a comparison, each looked at with its optimizers before anything is trained."""

from collections.abc import Sequence
from typing import NamedTuple

from lecture_opt import files, specs
from lecture_opt.compare import results, schedules, space
from lecture_opt.compare.ledger import Ledger
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.runs import data, entrants, hosted
from lecture_opt.compare.runs.examine import Examined, examine
from lecture_opt.environment import check_device
from lecture_opt.problems import Loop, Task, as_loop


class Plan(NamedTuple):
    """A task that was looked at with its optimizers, or why one of these can't train it."""

    loop: Loop
    optimizers: Sequence[specs.OptimizerSpec]
    examined: Examined
    entrants: Sequence[entrants.Entrant | results.Failure]


def check(
    tasks: Sequence[Loop | Task], optimizers: Sequence[specs.OptimizerSpec], protocol: Protocol
) -> list[Plan]:
    """Looks at all tasks and optimizers; ValueError for a comparison that can't be made."""
    check_device("compare")
    names = [spec.name for spec in optimizers]
    if not tasks or not optimizers:
        raise ValueError("run: there must be a task and an optimizer")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"run: {twice} is given twice")
    if protocol.baseline not in names:
        raise ValueError(
            f"run: the baseline {protocol.baseline} is not among the optimizers; "
            f"they are {', '.join(names)}"
        )
    for spec in optimizers:
        _check_tunable(spec)
    plans = [_plan(protocol.applied(as_loop(task)), optimizers, protocol) for task in tasks]
    found = [one for plan in plans for one in plan.entrants]
    if all(isinstance(one, results.Failure) for one in found):
        raise ValueError(getattr(found[0], "why", ""))
    return plans


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


def _plan(loop: Loop, optimizers: Sequence[specs.OptimizerSpec], protocol: Protocol) -> Plan:
    count = loop.sizes()[0]
    if not data.feeds_batches(loop) and count is not None and loop.batch_size > count:
        raise ValueError(
            f"run: batch_size={loop.batch_size} exceeds the {count} training examples of "
            f"{loop.name}"
        )
    examined = examine(loop)
    loop = examined.loop
    shape = schedules.parse(protocol.schedule) if protocol.schedule else None
    found: list[entrants.Entrant | results.Failure] = []
    for spec in optimizers:
        draws = space.draw(protocol.space(spec), protocol.draws)
        settings = [
            {name: values[i].item() for name, values in draws.items()}
            for i in range(protocol.draws)
        ]
        try:
            found.append(entrants.look(loop, examined, spec, settings, shape))
        except ValueError as error:
            found.append(results.Failure(spec.name, str(error)))
    return Plan(loop, optimizers, examined, found)


def judged(plan: Plan) -> list[object]:
    """What tells a task's metric from others."""
    loop = plan.loop
    return [
        loop.metric_name, loop.higher_is_better, plan.examined.metric or hosted.text_of(loop.metric)
    ]  # fmt: skip


def computed(spec: specs.OptimizerSpec, entrant: entrants.Entrant) -> list[str]:
    """What tells an optimizer's steps from those of others."""
    if entrant.settings or entrant.driver.host:
        return [entrant.identity, *hosted.source(entrant, spec)]
    return [entrant.identity]


def standings(
    plan: Plan,
    fact: results.Facts,
    measured: Sequence[results.Measured | results.Failure],
    protocol: Protocol,
    ledger: Ledger | None,
) -> dict[str, results.Standing]:
    """Where the candidates that were measured stand in the ledger, by what they compute and search.

    None stands anywhere where the baseline failed: nobody was judged.
    """
    found = {
        spec.name: [*computed(spec, one), files.plain(protocol.space(spec))]
        for spec, one, ran in zip(plan.optimizers, plan.entrants, measured, strict=True)
        if isinstance(one, entrants.Entrant) and isinstance(ran, results.Measured)
    }
    if ledger is None or protocol.baseline not in found:
        return {}
    question = [
        found.pop(protocol.baseline),
        fact.fingerprint,
        *judged(plan),
        fact.batch_size,
        *fact.steps.tolist(),
    ]
    return ledger.standings(question, found, protocol)
