"""What a property needs of an optimizer before it can be asked, declared as `@needs(JITS)`."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

from lecture_opt.check.outcome import Outcome, skipped
from lecture_opt.check.subject import Subject

Property = Callable[[Subject], Outcome]


class Need(NamedTuple):
    """A precondition, and the reason to skip where it is not met."""

    met: Callable[[Subject], bool]
    otherwise: str


RUNS = Need(
    lambda subject: subject.problem is None,
    "update does not run at all (see interface.update_runs)",
)
JITS = Need(
    lambda subject: subject.jit_problem is None,
    "needs an update that jits (see transforms.jit_equals_eager)",
)
NO_LOSS = Need(lambda subject: not subject.needs_loss, "update asks for the loss as well")
DETERMINISTIC = Need(
    lambda subject: not subject.random, "the state holds a PRNG key: updates are drawn at random"
)
RATE = Need(
    lambda subject: subject.constructor is not None and subject.learning_rate is not None,
    "needs a constructor that takes a learning rate",
)
NUMBERS = Need(lambda subject: bool(subject.floats), "needs a constructor with numeric arguments")


def installed(module: str, extra: str) -> Need:
    """The need of a module that can be imported; `extra` is what to install."""
    return Need(lambda _: find_spec(module) is not None, f"needs {module}: pip install {extra}")


def needs(*needed: Need) -> Callable[[Property], Property]:
    """Skip a property, with the reason, where one of its preconditions is not met."""

    def declare(prop: Property) -> Property:
        @functools.wraps(prop)
        def asked(subject: Subject) -> Outcome:
            missing = next((need for need in needed if not need.met(subject)), None)
            return prop(subject) if missing is None else skipped(missing.otherwise)

        return asked

    return declare
