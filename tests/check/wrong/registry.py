"""Wrong optimizers, each with one bug, and who must catch it."""

from typing import NamedTuple


class Wrong(NamedTuple):
    """`caught_by` is a property of the battery; `cause` words of the reference's verdict."""

    constructor: object
    caught_by: str | None
    reference: object = None
    cause: str = ""


WRONG: dict[str, Wrong] = {}


def caught_by(prop):
    """Register a wrong optimizer that the battery alone must catch with this property."""

    def register(constructor):
        WRONG[constructor.__name__] = Wrong(constructor, prop)
        return constructor

    return register


def named_by(reference, cause):
    """Register an optimizer that breaks no property but is not the reference, and why."""

    def register(constructor):
        WRONG[constructor.__name__] = Wrong(constructor, None, reference, cause)
        return constructor

    return register
