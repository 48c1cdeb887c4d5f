"""What an exercise is, and the ways to look at an answer: numbers, words, functions.

A checker takes the answer and returns `None` if it is right, else a sentence that says what is
wrong. Known slips have sentences of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

Checker = Callable[[Any], str | None]


class Exercise(NamedTuple):
    """One exercise of the guides, whose text stands there under the same number.

    Attributes:
        number: Section and place in it, as "4.2".
        wanted: What the answer must be, in one line.
        check: Says what is wrong with an answer; `None` for a right one.
        solution: Python that defines a right `answer`.
    """

    number: str
    wanted: str
    check: Checker
    solution: str


def number(expected: Any, slips: Mapping[float, str] | None = None) -> Checker:
    """Check a number, or an array of them, to three digits.

    >>> number(2.0, {-2.0: "Look at the sign."})(-2.0)
    'Look at the sign.'
    """

    def check(answer: Any) -> str | None:
        try:
            given = np.asarray(answer, np.float64)
        except (TypeError, ValueError):
            return f"answer is a {type(answer).__name__}; wanted numbers."
        if given.shape != np.shape(expected):
            return f"answer has shape {given.shape}; wanted {np.shape(expected)}."
        if _close(given, expected, 5e-3):
            return None
        for slip, sentence in (slips or {}).items():
            if _close(given, np.full(given.shape, slip), 5e-3):
                return sentence
        return f"{answer} is not the number."

    return check


def word(expected: str, slips: Mapping[str, str]) -> Checker:
    """Check one word out of the expected one and the slips."""

    def check(answer: Any) -> str | None:
        if answer == expected:
            return None
        known = ", ".join(sorted([expected, *slips]))
        general = f"answer is {answer!r}; wanted one of {known}."
        return slips.get(answer, general) if isinstance(answer, str) else general

    return check


def function(
    reference: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    slips: Sequence[tuple[Callable[..., Any], str]] = (),
) -> Checker:
    """Check that a function returns what the reference returns, for each of the calls' arguments.

    A slip is a wrong function and the sentence for whoever wrote it.
    """

    def check(answer: Any) -> str | None:
        if not callable(answer):
            return f"answer is a {type(answer).__name__}; wanted a function."
        for arguments in calls:
            try:
                given = answer(*arguments)
            except Exception as error:
                return f"answer raises {type(error).__name__}: {error}"
            wanted = reference(*arguments)
            wrong = _difference(given, wanted)
            if wrong is not None:
                same = (s for slip, s in slips if _difference(given, slip(*arguments)) is None)
                return next(same, wrong)
        return None

    return check


def _difference(given: Any, wanted: Any) -> str | None:
    """What differs, part by part if a tuple is wanted."""
    if isinstance(wanted, tuple):
        if not isinstance(given, tuple) or len(given) != len(wanted):
            return f"answer returns {given!r}; wanted a tuple of {len(wanted)}."
        parts = (_difference(g, w) for g, w in zip(given, wanted, strict=True))
        found = [(place, wrong) for place, wrong in enumerate(parts, start=1) if wrong]
        return f"Part {found[0][0]} of the tuple: {found[0][1]}" if found else None
    if np.shape(given) != np.shape(wanted):
        return f"answer returns shape {np.shape(given)}; wanted {np.shape(wanted)}."
    if _close(np.asarray(given, np.float64), wanted, 1e-4):
        return None
    return f"answer returns {_shown(given)} for the test's arguments; wanted {_shown(wanted)}."


def _close(given: np.ndarray, wanted: Any, rtol: float) -> bool:
    """Whether the numbers agree; NaN agrees with NaN, so that a slip may give it."""
    return bool(np.allclose(given, np.asarray(wanted), rtol=rtol, atol=1e-7, equal_nan=True))


def _shown(value: Any) -> str:
    return np.array2string(np.asarray(jnp.asarray(value)), precision=4, threshold=8)
