"""Programs that are kept for as long as the functions they were made of.

A program that held its functions would keep alive what they close over. So it holds weak
references, reads them while it is traced, and is dropped with the first of its functions.
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Program = TypeVar("Program")
Found = Callable[[], Any]
"""Gives a function, `None` once it is gone."""

_kept: dict[tuple[Any, ...], Any] = {}


def kept(build: Callable[..., Program], *functions: Any) -> Program:
    """`build(*found)`, of which each gives one of the functions; the same for the same functions.

    Two functions are the same if they are one object, or one method of one object. An object that
    can't be referred to weakly, as a tuple, has its program built anew at each call.
    """
    owners = [owner for function in functions for owner in _owners(function)]
    key = (build, *map(id, owners))
    if key in _kept:
        return _kept[key]
    try:
        found = [_found(function) for function in functions]
        dropped = [weakref.finalize(owner, _kept.pop, key, None) for owner in owners if owner]
    except TypeError:
        return build(*(lambda function=function: function for function in functions))
    for drop in dropped:
        drop.atexit = False
    _kept[key] = build(*found)
    return _kept[key]


def _owners(function: Any) -> tuple[Any, ...]:
    return (function.__self__, function.__func__) if inspect.ismethod(function) else (function,)


def _found(function: Any) -> Found:
    if function is None:
        return lambda: None
    return weakref.WeakMethod(function) if inspect.ismethod(function) else weakref.ref(function)
