"""The battery inside a pytest suite: one test case per property, in one line."""

from collections.abc import Callable, Mapping
from typing import Any

from lecture_opt.check.battery import against, evaluate
from lecture_opt.check.diagnosis.reference import step_by_step
from lecture_opt.check.properties import PROPERTIES
from lecture_opt.check.report import Result, name_of
from lecture_opt.check.subject import make
from lecture_opt.environment import environment


def as_test(
    optimizer: Any,
    *,
    reference: Any = None,
    skip: Mapping[str, str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[[str], None]:
    """A pytest test with one case per property, to assign to a name that begins with `test_`.

    Args:
        optimizer: An `(init, update)` pair or a constructor.
        reference: Another optimizer it should equal step by step.
        skip: Properties or families to leave out, each with its reason.
        expected_failures: Properties known to fail, each with its reason; one that passes after
            all is an error, so that the list stays true.

    In a test file, `test_my_optimizer = check.as_test(my_optimizer)` is all.
    """
    import pytest

    reasons, known = dict(skip or {}), dict(expected_failures or {})
    subject = None
    properties = {name_of(prop): prop for prop in PROPERTIES}
    names = [*properties, *(["reference.step_by_step"] if reference is not None else [])]
    families = {name.partition(".")[0] for name in names}
    unknown = sorted((set(reasons) | set(known)) - set(names) - families)
    if unknown:
        raise ValueError(f"as_test: no property or family {unknown[0]!r}")

    def case(name: str) -> Any:
        marks = [pytest.mark.xfail(reason=known[name], strict=True)] if name in known else []
        return pytest.param(name, marks=marks)

    @pytest.mark.parametrize("name", [case(name) for name in names])
    def test(name: str) -> None:
        nonlocal subject
        reason = reasons.get(name, reasons.get(name.partition(".")[0]))
        if reason is not None:
            pytest.skip(reason)
        if subject is None:
            with environment():
                subject = make(optimizer)
        prop = properties.get(name)
        outcome = evaluate(prop, subject) if prop else against(subject, reference)
        if outcome.status == "skip":
            pytest.skip(outcome.message)
        if outcome.status == "fail":
            pytest.fail(Result.of(prop or step_by_step, outcome).in_words(), pytrace=False)

    return test
