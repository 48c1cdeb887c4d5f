"""Tell whether an object is an optimizer, and which arguments its constructor takes."""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import optax


def as_transformation(value: Any) -> optax.GradientTransformation | None:
    """`value` as an optax transformation if it is a pair of functions `(init, update)`, or None.

    Its method or field `eval_params(opt_state, params)` becomes an attribute of `update`, which
    stays where the pair is carried in a state.
    """
    found = _pair(value)
    if found is None or not callable(getattr(value, "eval_params", None)):
        return found
    extended = optax.with_extra_args_support(found)

    def update(*args: Any, **extra_args: Any) -> Any:
        return extended.update(*args, **extra_args)

    vars(update)["eval_params"] = value.eval_params
    return optax.GradientTransformationExtraArgs(extended.init, update)


def _pair(value: Any) -> optax.GradientTransformation | None:
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


def origin(value: Any) -> tuple[str, Mapping[str, Any]]:
    """The module where a function or class is written, and the names in it; both may be empty."""
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        elif isinstance(value, MethodType):
            value = value.__func__
        elif isinstance(value, FunctionType):
            return str(value.__globals__.get("__name__")), value.__globals__
        elif isinstance(value, type):
            return value.__module__, vars(sys.modules.get(value.__module__, types))
        elif isinstance(value, BuiltinFunctionType):
            return value.__module__ or "builtins", {}
        else:
            value = type(value)


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
