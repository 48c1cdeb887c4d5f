"""What every optimizer should hold, one file per family, in the order of the report.

A property is a function from a subject to an outcome. Its docstring says what it asserts, then
`Why:` and `Usual cause:`; by the last it is known from the helpers beside it.
"""

from types import ModuleType

from lecture_opt.check.needs import Property
from lecture_opt.check.properties import (
    arguments,
    composition,
    devices,
    direction,
    dtypes,
    hostile,
    identity,
    interface,
    learning,
    leaves,
    long_run,
    persistence,
    purity,
    state,
    traits,
    transforms,
    trees,
)

FAMILIES = (
    interface, state, purity, transforms, trees, leaves, dtypes, hostile, long_run, direction,
    learning, arguments, composition, persistence, devices, traits, identity,
)  # fmt: skip


def properties_of(family: ModuleType) -> tuple[Property, ...]:
    """The properties that a family's file defines, in their order."""
    return tuple(
        value
        for value in vars(family).values()
        if getattr(value, "__module__", "") == family.__name__
        and "Usual cause:" in (value.__doc__ or "")
    )


PROPERTIES = tuple(prop for family in FAMILIES for prop in properties_of(family))
