"""Which optimizer a text names: `lecture:adam`, `optax:sgd(momentum=0.9)`, `my_file.py:my_opt`.

    lecture:adam                       this package's optimizers
    optax:adam, optax:contrib.muon     optax's, dotted names included
    path/to/file.py:name               any file of yours
    package.module:name                any module that imports

Keyword arguments go in brackets, `optax:adam(b1=0.8, eps=1e-6)`. They are read as Python
literals and never evaluated. The name may be a constructor (a function that returns an
`(init, update)` pair) or a ready pair.

In place of a number an argument may be a range to search, for `compare`:
`log(low, high)`, `log1m(low, high)` (1 - value is log-uniform, as for decays near 1),
`uniform(low, high)` or `choice(a, b, ...)`.

>>> spec = parse("optax:adam(b1=0.8)")
>>> spec.name, spec.kwargs
('optax:adam(b1=0.8)', {'b1': 0.8})
>>> optimizer = build(spec, learning_rate=0.1)
>>> parse("optax:adam(b1=log1m(0.8, 0.99))").search
{'b1': Range(kind='log1m', low=0.8, high=0.99, values=())}
"""

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import optax

from lecture_opt.specs.lookup import FORMS, SpecError, lookup

__all__ = [
    "OptimizerSpec", "Range", "SpecError", "as_transformation", "build", "find", "parse", "takes",
]  # fmt: skip

RANGES = ("log", "log1m", "uniform", "choice")

_TEXT = re.compile(r"(?P<source>.+?):(?P<name>[^\W\d][\w.]*)\s*(?P<brackets>\(.*)?", re.DOTALL)


class Range(NamedTuple):
    """Where to search an argument: `low` to `high`, or among `values` where `kind` is "choice"."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        numbers = self.values or (self.low, self.high)
        return f"{self.kind}({', '.join(f'{number:g}' for number in numbers)})"


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer as the user named it: exactly one of `constructor` and `instance` is set.

    `kwargs` are the arguments given, `search` those to be searched and over which range.
    """

    text: str
    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    constructor: Callable[..., Any] | None = None
    instance: optax.GradientTransformation | None = None
    search: Mapping[str, Range] = field(default_factory=dict)


def parse(text: str) -> OptimizerSpec:
    """Find the optimizer that `text` names.

    Raises:
        SpecError: The text is malformed, names nothing, or names something that is no optimizer; or
            a keyword argument is not one the constructor accepts.

    >>> parse("optax:lino")
    Traceback (most recent call last):
        ...
    lecture_opt.specs.lookup.SpecError: optax:lino: optax has no 'lino'; did you mean 'lion'?
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise SpecError(_malformed(text))
    source, name, brackets = match["source"].strip(), match["name"], match["brackets"] or "()"
    arguments = _keywords(text, brackets)
    found = lookup(text, source, name)
    shown = Path(source).name if source.endswith(".py") else source
    inside = ", ".join(f"{key}={_shown(value)}" for key, value in arguments.items())
    display = f"{shown}:{name}({inside})" if arguments else f"{shown}:{name}"
    search = {key: value for key, value in arguments.items() if isinstance(value, Range)}
    kwargs = {key: value for key, value in arguments.items() if key not in search}

    instance = as_transformation(found)
    if instance is not None:
        if arguments:
            raise SpecError(f"{text}: {name} is a ready optimizer and takes no arguments")
        return OptimizerSpec(text, display, instance=instance)
    if not callable(found):
        raise SpecError(
            f"{text}: {name} is neither an optimizer (a pair of init and update) nor a function "
            f"that makes one, but a {type(found).__name__}"
        )
    spec = OptimizerSpec(text, display, kwargs, constructor=found, search=search)
    _check_accepted(spec, arguments)
    return spec


def find(text: str) -> Any:
    """Whatever object `path/to/file.py:NAME` or `package.module:NAME` names.

    >>> find("math:pi")
    3.141592653589793
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or match["brackets"]:
        raise SpecError(f"{text}: wanted path/to/file.py:NAME or package.module:NAME")
    return lookup(text, match["source"].strip(), match["name"])


def build(spec: OptimizerSpec, **overrides: Any) -> optax.GradientTransformation:
    """Make the optimizer, with `overrides` added to the keyword arguments of the text.

    Raises:
        SpecError: An argument is missing or unknown, the constructor raises, or what it returns is
            no optimizer; or `overrides` are given for a ready optimizer.

    >>> build(parse("optax:ema"))
    Traceback (most recent call last):
        ...
    lecture_opt.specs.lookup.SpecError: optax:ema: needs decay, as in optax:ema(decay=...)
    """
    if spec.instance is not None:
        if overrides:
            raise SpecError(f"{spec.name}: a ready optimizer takes no {', '.join(overrides)}")
        return spec.instance
    assert spec.constructor is not None
    kwargs = {**spec.kwargs, **overrides}
    ranges = [name for name in spec.search if name not in overrides]
    if ranges:
        raise SpecError(f"{spec.name}: {ranges[0]} is a range to search; wanted one value here")
    _check_accepted(spec, kwargs)
    missing = [name for name in _required(spec.constructor) if name not in kwargs]
    if missing:
        example = ", ".join(f"{name}=..." for name in missing)
        base = spec.name.partition("(")[0]
        raise SpecError(f"{spec.name}: needs {', '.join(missing)}, as in {base}({example})")
    try:
        made = spec.constructor(**kwargs)
    except Exception as error:
        raise SpecError(f"{spec.name}: raised {type(error).__name__}: {error}") from error
    optimizer = as_transformation(made)
    if optimizer is None:
        raise SpecError(
            f"{spec.name}: returned a {type(made).__name__}, which is no pair of init and update"
        )
    return optimizer


def takes(spec: OptimizerSpec, argument: str) -> bool:
    """Whether the optimizer is a constructor that accepts this keyword argument.

    >>> takes(parse("optax:adam"), "learning_rate")
    True
    """
    if spec.constructor is None:
        return False
    accepted = _accepted(spec.constructor)
    return accepted is None or argument in accepted


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


def _malformed(text: str) -> str:
    bare = re.fullmatch(r"\s*([^\W\d]\w*)\s*(\(.*)?", text, re.DOTALL)
    if bare is not None:
        return f"{text}: says no source; did you mean lecture:{bare[1]} or optax:{bare[1]}?"
    return f"{text!r}: not the name of an optimizer; write {FORMS}"


def _keywords(text: str, brackets: str) -> dict[str, Any]:
    """The arguments in `brackets` as literals. Nothing is evaluated."""
    wanted = "write literal keyword arguments, as in optax:adam(b1=0.8, eps=1e-6)"
    try:
        call = ast.parse(f"f{brackets}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(f"{text}: malformed brackets; {wanted}") from error
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise SpecError(f"{text}: malformed brackets; {wanted}")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise SpecError(f"{text}: an argument has no name; {wanted}")
    kwargs: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg in kwargs:
            raise SpecError(f"{text}: {keyword.arg} is given twice")
        try:
            kwargs[str(keyword.arg)] = _value(text, keyword)
        except SpecError:
            raise
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            shown = ast.get_source_segment(f"f{brackets}", keyword.value)
            raise SpecError(f"{text}: {keyword.arg}={shown} is not a literal; {wanted}") from error
    return kwargs


def _value(text: str, keyword: ast.keyword) -> Any:
    """A literal, or a `Range` where the value is written as a call of one of its kinds."""
    call = keyword.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return ast.literal_eval(call)
    kind, given = call.func.id, [ast.literal_eval(argument) for argument in call.args]
    wanted = f"write {keyword.arg}=" + (
        "choice(a, b, ...) with numbers" if kind == "choice" else f"{kind}(low, high)"
    )
    if kind not in RANGES:
        raise SpecError(f"{text}: {kind} is no range to search; write one of {', '.join(RANGES)}")
    if call.keywords or any(isinstance(n, bool) or not isinstance(n, int | float) for n in given):
        raise SpecError(f"{text}: {kind} takes numbers alone; {wanted}")
    numbers = [float(number) for number in given]
    if len(numbers) < 2 or (kind != "choice" and len(numbers) > 2):
        raise SpecError(f"{text}: {kind} got {len(numbers)} numbers; {wanted}")
    if kind == "choice":
        return Range(kind, min(numbers), max(numbers), tuple(numbers))
    low, high = numbers
    if not low < high or (kind == "log" and low <= 0) or (kind == "log1m" and high >= 1):
        limits = {"log": "0 < low < high", "log1m": "low < high < 1"}.get(kind, "low < high")
        raise SpecError(f"{text}: {kind}({low:g}, {high:g}) is empty; wanted {limits}")
    return Range(kind, low, high)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Range) else repr(value)


def _accepted(constructor: Callable[..., Any]) -> list[str] | None:
    """Keyword arguments the constructor names, or None when it takes any."""
    parameters = _parameters(constructor)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _required(constructor: Callable[..., Any]) -> list[str]:
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = _parameters(constructor) or []
    return [p.name for p in parameters if p.kind in by_name and p.default is p.empty]


def _parameters(constructor: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(constructor).parameters.values())
    except (TypeError, ValueError):
        return None


def _check_accepted(spec: OptimizerSpec, kwargs: Mapping[str, Any]) -> None:
    assert spec.constructor is not None
    accepted = _accepted(spec.constructor)
    unknown = [name for name in kwargs if accepted is not None and name not in accepted]
    if accepted is not None and unknown:
        raise SpecError(
            f"{spec.text}: takes no {unknown[0]!r}; "
            f"it takes {', '.join(accepted) or 'no arguments'}"
        )
