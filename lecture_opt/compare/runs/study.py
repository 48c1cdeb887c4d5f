"""A whole comparison: every optimizer tuned and reported on every task, and the results.

A task's optimizers are compiled, tuned and reported side by side on all cores. Then their steps
are timed one by one, so that nothing else goes on meanwhile. Under `jax.distributed` the processes
share out the optimizers, each on its own devices, and all end with the same results.
"""

import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import numpy as np

from lecture_opt import specs
from lecture_opt.compare import results, space
from lecture_opt.compare.ledger import Ledger
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.runs import averages, data, entrants, processes, workers
from lecture_opt.compare.runs.cell import Run, facts
from lecture_opt.compare.runs.errors import from_host, reason
from lecture_opt.compare.runs.plan import Plan, check, computed, judged, standings
from lecture_opt.compare.runs.store import Store
from lecture_opt.environment import versions
from lecture_opt.problems import Loop, Task
from lecture_opt.problems.parts import PARTS

OnStage = Callable[[str, str, str], None]
OnShare = Callable[[str, str, str, float], None]


class Outcome(NamedTuple):
    """What the runs of an optimizer gave, and untrained ones; the digest of the data they saw."""

    measured: results.Measured
    untrained: Mapping[str, float]
    twin: results.Measured | None
    fingerprint: str


Tried: TypeAlias = Run | Outcome | results.Failure | None
"""What became of an optimizer on a task so far; `None` where another process has it."""


def run(
    tasks: Sequence[Loop | Task],
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    *,
    store: Store | None = None,
    ledger: Ledger | None = None,
    on_stage: OnStage = lambda *_: None,
    on_share: OnShare = lambda *_: None,
) -> results.Study:
    """Compares the optimizers on the tasks. One that raises fails there, and the others go on.

    Args:
        tasks: What to train.
        optimizers: From `specs.parse`; each must take a `learning_rate`.
        protocol: What is the same for all.
        store: Keeps what is finished, so that a later call with it goes on from there.
        ledger: Knows who was judged before, so that all verdicts together keep the error rate.
        on_stage: Called with ("checked", "", "") when nothing was found wrong, then with ("tuned"
            or "reported", task, optimizer) when it is, or ("failed: " and why, task, optimizer).
        on_share: Called within such a stage, with the share of it that is done as well.

    Raises:
        ValueError: Before any training, where something is missing, given twice or can't be
            trained by any of the optimizers.
    """
    with processes.together():
        kept = store or Store(None), ledger
        return _compared(tasks, optimizers, protocol, *kept, on_stage, on_share)


def _compared(
    tasks: Sequence[Loop | Task],
    optimizers: Sequence[specs.OptimizerSpec],
    protocol: Protocol,
    store: Store,
    ledger: Ledger | None,
    on_stage: OnStage,
    on_share: OnShare,
) -> results.Study:
    optimizers = specs.distinct(optimizers)
    plans = check(tasks, optimizers, protocol)
    for plan in plans:
        for i, one in enumerate(plan.entrants):
            if isinstance(one, results.Failure) and processes.is_ours(i):
                on_stage(f"failed: {one.why}", plan.loop.name, one.optimizer)
    on_stage("checked", "", "")
    found, measured, twins, stopped = [], [], [], threading.Event()
    baseline = [spec.name for spec in optimizers].index(protocol.baseline)
    try:
        for plan in plans:

            def between(stage: str, name: str, share: float, task: str = plan.loop.name) -> None:
                if stopped.is_set():
                    raise KeyboardInterrupt
                on_share(stage, task, name, share)

            runs = _runs(plan, protocol, store, between)
            outcomes = _measure(plan.loop.name, runs, baseline, on_stage)
            found.append(_facts(plan, protocol, outcomes))
            measured.append([o.measured if isinstance(o, Outcome) else o for o in outcomes])
            twins.append(getattr(outcomes[baseline], "twin", None))
    except BaseException:
        stopped.set()
        workers.leave()
        raise
    asked = zip(plans, found, measured, strict=True)
    first = jax.process_index() == 0  # which has the ledger, and all are to judge alike
    stands = [standings(*one, protocol, ledger) for one in asked] if first else None
    stands = processes.shared(stands, 0)
    return results.assemble(protocol, optimizers, found, measured, about(), twins, standings=stands)


@functools.cache
def about() -> results.About:
    """What the numbers depend on beside the protocol."""
    device = jax.devices()[0]
    return results.About(
        versions("lecture_opt", "jax", "jaxlib", "optax", "numpy", "scipy"),
        results.Device(
            device.platform, device.device_kind, jax.device_count(), jax.process_count()
        ),
    )


def _runs(
    plan: Plan,
    protocol: Protocol,
    store: Store,
    between: Callable[[str, str, float], None],
) -> list[Tried]:
    """The runs of this process's optimizers; `None` for those of another process."""
    shared = data.prepare(plan.loop)

    def one(
        spec: specs.OptimizerSpec, entrant: entrants.Entrant | results.Failure
    ) -> Run | results.Failure:
        if isinstance(entrant, results.Failure):
            return entrant
        loop, here = plan.loop, about()
        identity = [
            here.versions, here.device.platform, here.device.kind, computed(spec, entrant),
            shared.digest, protocol.choose, protocol.schedule,
            loop.steps, loop.evaluations, loop.batch_size, judged(plan),
        ]  # fmt: skip
        kept = store.cell(identity)
        return Run(
            spec, entrant, plan.examined, shared, protocol, kept,
            lambda stage, share: between(stage, spec.name, share),
        )  # fmt: skip

    pairs = zip(plan.optimizers, plan.entrants, strict=True)
    return [one(*pair) if processes.is_ours(i) else None for i, pair in enumerate(pairs)]


def _measure(
    task: str,
    runs: Sequence[Tried],
    baseline: int,
    on_stage: OnStage,
) -> list[Outcome | results.Failure]:
    """One task: its optimizers trained side by side, then their steps timed one by one."""

    def tried(work: Callable[[Run], Tried], ours: Tried) -> Tried:
        """What the work gives; where it raises, why."""
        if not isinstance(ours, Run):
            return ours
        try:
            return work(ours)
        except Exception as error:
            failure = results.Failure(ours.spec.name, reason(error))
            on_stage(f"failed: {failure.why}", task, ours.spec.name)
            return failure

    def train(ours: Run) -> Run:
        _ = ours.tuned
        on_stage("tuned", task, ours.spec.name)
        _ = ours.reported
        if has_twin(ours):
            _ = ours.twin
        on_stage("reported", task, ours.spec.name)
        return ours

    def clock(ours: Run) -> Outcome:
        measured = results.Measured(ours.tuned, ours.reported.arrays, ours.cost)
        twin = ours.twin if has_twin(ours) else None
        again = twin and results.Measured(twin[0], twin[1].arrays, ours.cost)
        return Outcome(measured, ours.reported.untrained, again, ours.data.digest)

    def has_twin(ours: Run) -> bool:
        return ours is runs[baseline] and len(runs) > 1

    # The baseline has its twin to train, so it comes first.
    order = sorted(range(len(runs)), key=lambda i: i != baseline)
    futures = {i: workers.in_background(functools.partial(tried, train, runs[i])) for i in order}
    trained = [futures[i].result() for i in range(len(runs))]
    outcomes: list[Outcome | results.Failure] = []
    for i, ours in enumerate(trained):
        mine = workers.in_background(functools.partial(tried, clock, ours)).result()
        one = processes.shared(mine, i)
        assert isinstance(one, Outcome | results.Failure)
        outcomes.append(one)
    return outcomes


def _facts(
    plan: Plan, protocol: Protocol, outcomes: Sequence[Outcome | results.Failure]
) -> results.Facts:
    ran = [one for one in outcomes if isinstance(one, Outcome)]
    untrained = ran[0].untrained if ran else dict.fromkeys(PARTS[1:], math.nan)
    digest = ran[0].fingerprint if ran else ""
    notes = [*_notes(plan, protocol), *_alike(ran, protocol)]
    return facts(plan.loop, plan.examined, untrained, digest, notes)


def _notes(plan: Plan, protocol: Protocol) -> list[str]:
    """What to know of how the runs of a task went."""
    found = [f"{plan.loop.name}: {note}." for note in plan.examined.notes]
    for spec, entrant in zip(plan.optimizers, plan.entrants, strict=True):
        if isinstance(entrant, results.Failure):
            continue
        if (why := entrant.driver.host) and not plan.examined.driver.host:
            found.append(f"{spec.name}: {from_host(why)}.")
        if protocol.schedule and entrant.schedule is None:
            found.append(f"{spec.name} takes no schedule: its learning rate is constant.")
        draws = space.draw(protocol.space(spec), 1)
        setting = {name: values[0].item() for name, values in draws.items()}
        if averages.goes_unread(entrant, plan.examined, setting):
            found.append(
                f"{spec.name} keeps an average of the params, and the metric of {plan.loop.name} "
                "doesn't look at it: let it call compare.eval_params(optimizer, opt_state, params)."
            )
    return found


def _alike(ran: Sequence[Outcome], protocol: Protocol) -> list[str]:
    """Says that seeds gave the same runs, where they did: the loop then ignores its key."""
    for one in ran:
        alive = ~one.measured.reported.diverged[0]
        losses = one.measured.reported.losses[0][alive]
        if len(losses) > (different := len(np.unique(losses, axis=0))):
            return [
                f"{protocol.seeds} seeds gave {different} different runs: `start` and the batches "
                "ignore their key and seed, so intervals over seeds say too little."
            ]
    return []
