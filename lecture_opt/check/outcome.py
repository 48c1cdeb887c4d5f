"""What a property says of an optimizer: a status, a paragraph in words, the numbers behind it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Status = Literal["pass", "fail", "trait", "skip"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Outcome(NamedTuple):
    """The verdict of one property.

    Attributes:
        status: "pass" or "fail" judge; "trait" reports without judging; "skip" says why not.
        message: One paragraph in words; empty where there is nothing to say.
        evidence: The numbers: step, leaf, element, values, the smallest example.
    """

    status: Status
    message: str = ""
    evidence: Mapping[str, Any] = NOTHING


def passed(message: str = "", **evidence: Any) -> Outcome:
    """The property holds."""
    return Outcome("pass", message, evidence)


def failed(message: str, **evidence: Any) -> Outcome:
    """The property is broken; the message says where and by how much."""
    return Outcome("fail", message, evidence)


def trait(message: str, **evidence: Any) -> Outcome:
    """Something to know about the optimizer that is neither right nor wrong."""
    return Outcome("trait", message, evidence)


def skipped(reason: str, **evidence: Any) -> Outcome:
    """The property could not be judged, and why."""
    return Outcome("skip", reason, evidence)


def raised(what: str, error: BaseException) -> Outcome:
    """A failure: what raised, and the error in words."""
    return failed(f"{what} {in_words(error)}", raised=in_words(error))


def in_words(error: BaseException) -> str:
    """An exception as one short line: its type and the beginning of what it said."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{' ...' if len(text) > 300 else ''}"
