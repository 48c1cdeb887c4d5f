"""Is this optimizer correct? A battery of properties that any `(init, update)` pair should hold.

>>> import optax
>>> from lecture_opt import check
>>> report = check.run(optax.sgd, only=["interface"])
>>> report.ok
True
"""

from lecture_opt.check.battery import (
    against,
    assert_ok,
    evaluate,
    run,
)
from lecture_opt.check.outcome import Outcome
from lecture_opt.check.properties import FAMILIES, PROPERTIES
from lecture_opt.check.pytest_door import as_test
from lecture_opt.check.report import Report, Result, name_of
from lecture_opt.check.subject import Subject, from_constructor, make

__all__ = [
    "FAMILIES", "PROPERTIES", "Outcome", "Report", "Result", "Subject", "against", "as_test",
    "assert_ok", "evaluate", "from_constructor", "make", "name_of", "run",
]  # fmt: skip
