"""The exercises of the guides: whoever has an answer asks whether it is right.

The texts stand in `examples/GUIA.md` and `examples/GUIDE.md`. From the shell, with a file that
defines `answer`:

    python -m lecture_opt.exercises 5.1 my_answer.py

In a notebook:

>>> from lecture_opt import exercises
>>> exercises.check("5.1", 0.5)
5.1: not yet. This is the probability; the cost is minus its logarithm.
>>> exercises.check("5.1", 0.693)
5.1: right.
"""

from typing import Any

from lecture_opt.exercises.checkers import Exercise
from lecture_opt.exercises.costs import COSTS
from lecture_opt.exercises.gradients import GRADIENTS
from lecture_opt.exercises.steps import STEPS

EXERCISES: dict[str, Exercise] = {
    exercise.number: exercise for exercise in (*COSTS, *GRADIENTS, *STEPS)
}
"""All exercises by their number, in the order of the guides."""

__all__ = ["EXERCISES", "Exercise", "check", "find", "said"]


def find(number: str) -> Exercise:
    """The exercise of this number.

    Raises:
        ValueError: There is no exercise of this number.
    """
    if number not in EXERCISES:
        raise ValueError(f"exercises: {number!r} does not exist; there are {', '.join(EXERCISES)}")
    return EXERCISES[number]


def said(number: str, answer: Any) -> tuple[bool, str]:
    """Whether the answer is right, and the sentence that says so or says what is wrong."""
    wrong = find(number).check(answer)
    return wrong is None, f"{number}: right." if wrong is None else f"{number}: not yet. {wrong}"


def check(number: str, answer: Any) -> None:
    """Print whether the answer is right, or what is wrong with it."""
    print(said(number, answer)[1])
