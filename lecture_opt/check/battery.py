"""The battery: every property in one list, and the ways to put an optimizer through it."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from lecture_opt.check.diagnosis import foreign
from lecture_opt.check.diagnosis.problem import trains_the_loop, updates_mirror_the_params
from lecture_opt.check.diagnosis.reference import step_by_step
from lecture_opt.check.needs import RUNS, Property
from lecture_opt.check.outcome import Outcome, in_words, raised, skipped
from lecture_opt.check.properties import PROPERTIES, interface
from lecture_opt.check.report import Report, Result, family_of, name_of
from lecture_opt.check.subject import Subject, make
from lecture_opt.environment import check_device, environment
from lecture_opt.problems import Loop, Task, as_loop, bound

MEASURED = ("traits", "identity")  # families that report without judging
WORKERS = 2
ON_PROBLEM = (updates_mirror_the_params, trains_the_loop)
Asked = Callable[..., Outcome]
ASKED: tuple[Asked, ...] = (*PROPERTIES, *ON_PROBLEM, step_by_step)
"""All that can be asked: of an optimizer alone, on a problem, beside a reference."""
Skips = Collection[str] | Mapping[str, str]


def selected(names: Iterable[str]) -> list[Asked]:
    """The properties of `ASKED` named by family (`trees`) or in full (`trees.none_leaves`).

    Raises:
        ValueError: For a name that is neither; the message lists the families.
    """
    known = {name_of(prop): prop for prop in ASKED}
    families = dict.fromkeys(name.partition(".")[0] for name in known)
    wanted = list(names)
    unknown = sorted(set(wanted) - known.keys() - families.keys())
    if unknown:
        raise ValueError(
            f"check: no property or family {unknown[0]!r}; families are {', '.join(families)}"
        )
    return [
        prop for name, prop in known.items() if name in wanted or name.partition(".")[0] in wanted
    ]


def evaluate(prop: Property, optimizer: Any) -> Outcome:
    """The outcome of one property for one optimizer; what the optimizer raises is a failure."""
    with environment():
        subject = make(optimizer)
        if subject.wants_more:
            return skipped(f"update needs more than (grads, state, params): {subject.problem}")
        if not RUNS.met(subject) and prop not in interface.FIRST:
            return skipped(RUNS.otherwise)
        try:
            return prop(subject)
        except Exception as error:  # an optimizer that raises breaks the property
            if family_of(prop) in MEASURED:
                return skipped(f"cannot be measured: {in_words(error)}")
            return raised("It raised", error)


def run(
    optimizer: Any,
    *,
    reference: Any = None,
    problem: Loop | Task | None = None,
    skip: Skips = (),
    only: Iterable[str] = (),
    name: str = "",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Put an optimizer through the battery.

    Args:
        optimizer: An `(init, update)` pair, or a constructor that takes a learning rate; with a
            constructor more can be checked.
        reference: Another optimizer that it should equal step by step, or the text of one of
            another library, such as "torch:AdamW(lr=1e-3)".
        problem: A loop or task on whose params it is judged as well, and in whose steps.
        skip: Properties or families to leave out; a mapping gives the reason for each.
        only: Properties or families to run instead of all; "reference" for the comparison alone,
            "problem" for what is asked on the problem.
        name: What the report calls the optimizer.
        progress: Called with (property, index, total) before each property.

    Raises:
        TypeError: `optimizer` is neither a pair nor callable.
        ValueError: `skip` or `only` names an unknown property, or a reference that is not given.
    """
    only = list(only)
    if isinstance(reference, str):
        reference = foreign.reference(reference)
    given = {"reference": reference, "problem": problem}
    absent = {what for what, one in given.items() if one is None}
    for what in absent & {name.partition(".")[0] for name in only}:
        raise ValueError(f"check: only {what!r} was asked for, and no {what} is given")
    asked = selected(only) if only else ASKED
    chosen = [prop for prop in asked if family_of(prop) not in absent]
    reasons = dict(skip) if isinstance(skip, Mapping) else dict.fromkeys(skip, "asked to skip")
    left_out = {prop: reason for key, reason in reasons.items() for prop in selected([key])}
    check_device("check")
    loop = None if problem is None else as_loop(problem)
    if loop is not None:
        bound.params_of(loop)  # a fault of its own is told before any work
    started = time.perf_counter()
    with environment():
        subject = make(optimizer, name=name)

        def judge(prop: Asked) -> Result:
            if prop in left_out:
                return Result.of(prop, skipped(left_out[prop]))
            if prop is step_by_step:
                return Result.of(prop, against(subject, reference))
            if prop in ON_PROBLEM:
                return Result.of(prop, tried(subject, lambda: prop(subject, loop)))
            return Result.of(prop, evaluate(prop, subject))

        alone = [prop for prop in chosen if prop in PROPERTIES]
        others = [prop for prop in chosen if prop not in PROPERTIES]
        results: list[Result] = []
        for result in chain(in_order(judge, alone), map(judge, others)):
            progress(result.name, len(results), len(chosen))
            results.append(result)
    return Report(subject.name, tuple(results), time.perf_counter() - started)


def in_order(judge: Callable[[Asked], Result], properties: list[Asked]) -> Iterator[Result]:
    """The results in the order of the properties.

    Up to purity one after the other, and after it by several threads (most of the time is XLA's
    compiler's), if purity was asked for and holds: what keeps hidden state must not run twice at
    once.
    """
    families = [family_of(prop) for prop in properties]
    alone = families.index("transforms") if "transforms" in families else len(properties)
    first = []
    for prop in properties[:alone]:
        first.append(judge(prop))
        yield first[-1]
    pure = [result.status for result in first if result.name.startswith("purity.")]
    if "pass" not in pure or "fail" in pure:
        yield from map(judge, properties[alone:])
        return
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(judge, properties[alone:])


def against(subject: Subject, reference: Any) -> Outcome:
    """The outcome of the comparison with a reference."""
    with environment():
        return tried(subject, lambda: step_by_step(subject, named(reference)))


def tried(subject: Subject, ask: Callable[[], Outcome]) -> Outcome:
    """What is asked of an optimizer that runs; what it, or what it is asked beside, raises."""
    if not RUNS.met(subject):
        return skipped(RUNS.otherwise)
    try:
        return ask()
    except Exception as error:
        return raised("It raised", error)


def named(reference: Any) -> Subject:
    """A reference as a subject; a text names an optimizer of another library."""
    if isinstance(reference, str):
        return foreign.reference(reference)
    return make(reference, name=getattr(reference, "__name__", "") or "the reference")


def assert_ok(
    optimizer: Any, *, skip: Skips = (), reference: Any = None, only: Iterable[str] = ()
) -> None:
    """Raise an AssertionError that reads as the report's paragraphs if any property fails."""
    report = run(optimizer, skip=skip, reference=reference, only=only)
    if not report.ok:
        raise AssertionError(report.failures_in_words())
