"""Tell whether an object is an optimizer, and which arguments its constructor takes."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import optax


def as_transformation(value: Any) -> optax.GradientTransformation | None:
    """`value` as an optax transformation if it is a pair of functions `(init, update)`, or None."""
    if isinstance(value, optax.GradientTransformation):
        return value
    if isinstance(value, type | ModuleType):
        return None
    if isinstance(value, tuple) and len(value) == 2:
        init, update = value
    else:
        init, update = getattr(value, "init", None), getattr(value, "update", None)
    if callable(init) and callable(update):
        return optax.GradientTransformation(init, update)
    return None


def accepted_by(constructor: Callable[..., Any]) -> list[str] | None:
    """The keyword arguments that the constructor names, or None where it takes any."""
    parameters = _parameters(constructor)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def required_by(constructor: Callable[..., Any]) -> list[str]:
    """The keyword arguments without a default."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = _parameters(constructor) or []
    return [p.name for p in parameters if p.kind in by_name and p.default is p.empty]


def _parameters(constructor: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(constructor).parameters.values())
    except (TypeError, ValueError):
        return None
