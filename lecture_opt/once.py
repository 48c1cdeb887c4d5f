"""Values that an object computes when they are first asked for, in any number of threads."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - used as a decorator, as functools.cached_property is
    """`functools.cached_property` without the lock that Python 3.11 holds meanwhile.

    That lock is one for all objects of the class, so threads that each compute for an object of
    their own would wait for one another. Without it, two threads that ask the same object at once
    may both compute.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        kept = vars(instance)
        if self.name not in kept:
            kept[self.name] = self.compute(instance)
        found: T = kept[self.name]
        return found
