"""From a text to its optimizer: `parse` finds what the text names, `build` makes it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optax

from lecture_opt.specs.arguments import Range, keywords
from lecture_opt.specs.constructors import accepted_by, as_transformation, required_by
from lecture_opt.specs.lookup import FORMS, SpecError, lookup

OWN = "own"
_TEXT = re.compile(r"(?P<source>.+?):(?P<name>[^\W\d][\w.]*)\s*(?P<brackets>\(.*)?", re.DOTALL)


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer as the user named it: exactly one of `constructor` and `instance` is set.

    Attributes:
        text: As the user wrote it.
        name: How tables and pictures call it.
        kwargs: The arguments that the text gives a value.
        constructor: The function that makes the optimizer.
        instance: The optimizer, where the text names a ready one.
        search: The arguments that the text gives a range.
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
        SpecError: The text is malformed, nothing has its name, what has it is not an optimizer, or
            the constructor does not take one of the arguments.

    >>> parse("optax:lino")
    Traceback (most recent call last):
        ...
    lecture_opt.specs.lookup.SpecError: optax:lino: optax has no 'lino'; did you mean 'lion'?
    """
    bare, bracket, rest = text.strip().partition("(")
    if bare.strip() == OWN:
        return _with_arguments(text, OWN, keywords(text, f"({rest}" if bracket else "()"), _own)
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise SpecError(_malformed(text))
    source, name, brackets = match["source"].strip(), match["name"], match["brackets"] or "()"
    arguments = keywords(text, brackets)
    found = lookup(text, source, name)
    shown = f"{Path(source).name if source.endswith('.py') else source}:{name}"
    instance = as_transformation(found)
    if instance is not None:
        if arguments:
            raise SpecError(f"{text}: {name} is a ready optimizer and takes no arguments")
        return OptimizerSpec(text, shown, instance=instance)
    if not callable(found):
        raise SpecError(
            f"{text}: {name} is neither an optimizer (a pair of init and update) nor a function "
            f"that makes one, but a {type(found).__name__}"
        )
    return _with_arguments(text, shown, arguments, found)


def _with_arguments(
    text: str, name: str, arguments: Mapping[str, Any], constructor: Callable[..., Any]
) -> OptimizerSpec:
    """The constructor with the arguments that the text gives a value or a range."""
    inside = ", ".join(
        f"{key}={value if isinstance(value, Range) else repr(value)}"
        for key, value in arguments.items()
    )
    search = {key: value for key, value in arguments.items() if isinstance(value, Range)}
    kwargs = {key: value for key, value in arguments.items() if key not in search}
    display = f"{name}({inside})" if arguments else name
    spec = OptimizerSpec(text, display, kwargs, constructor=constructor, search=search)
    _check_accepted(spec, arguments)
    return spec


def _own(**hyperparameters: Any) -> optax.GradientTransformation:
    """What the text `own` names until a `Loop` is known, whose `own` makes its state."""
    del hyperparameters
    raise SpecError("is the optimizer that a Loop has of its own, which only compare trains")


def is_own(spec: OptimizerSpec) -> bool:
    """Whether it is what a `Loop` trains with by itself, the entrant `own`.

    >>> is_own(parse("own(weight_decay=0.1)")), is_own(parse("optax:adam"))
    (True, False)
    """
    return spec.constructor is _own


def distinct(optimizers: Sequence[OptimizerSpec]) -> list[OptimizerSpec]:
    """The optimizers, with folders in the names of files that have one name in two folders.

    What is named twice keeps its name twice.
    """
    names = [spec.name for spec in optimizers]
    return [
        replace(spec, name=_with_folders(spec, optimizers)) if names.count(spec.name) > 1 else spec
        for spec in optimizers
    ]


def _with_folders(spec: OptimizerSpec, optimizers: Sequence[OptimizerSpec]) -> str:
    """The name with as many folders before the file as tell it from its namesakes."""
    own = _parts(spec)
    others = {_parts(one) for one in optimizers if one.name == spec.name} - {own}
    depth = 1
    while any(other[-depth:] == own[-depth:] for other in others) and depth < len(own):
        depth += 1
    return "/".join((*own[-depth:-1], spec.name)) if own else spec.name


def _parts(spec: OptimizerSpec) -> tuple[str, ...]:
    """The path of the optimizer's file; empty where it comes from a module."""
    match = _TEXT.fullmatch(spec.text.strip())
    source = match["source"].strip() if match else ""
    return Path(source).expanduser().resolve().parts if source.endswith(".py") else ()


def find(text: str) -> Any:
    """Return the object that `path/to/file.py:NAME` or `package.module:NAME` names.

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
        SpecError: An argument is missing or unknown, the constructor raises or returns something
            else, or a ready optimizer is given `overrides`.

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
    missing = [name for name in required_by(spec.constructor) if name not in kwargs]
    if missing:
        example = ", ".join(f"{name}=..." for name in missing)
        base = spec.name.partition("(")[0]
        raise SpecError(f"{spec.name}: needs {', '.join(missing)}, as in {base}({example})")
    try:
        made = spec.constructor(**kwargs)
    except SpecError as error:
        raise SpecError(f"{spec.name}: {error}") from error
    except Exception as error:
        raise SpecError(f"{spec.name}: raised {type(error).__name__}: {error}") from error
    optimizer = as_transformation(made)
    if optimizer is None:
        raise SpecError(
            f"{spec.name}: returned a {type(made).__name__}, which is not a pair of init and update"
        )
    return optimizer


def takes(spec: OptimizerSpec, argument: str) -> bool:
    """Whether the optimizer is a constructor that accepts this keyword argument.

    >>> takes(parse("optax:adam"), "learning_rate")
    True
    """
    if spec.constructor is None:
        return False
    accepted = accepted_by(spec.constructor)
    return accepted is None or argument in accepted


def arguments_of(spec: OptimizerSpec) -> list[str]:
    """The keyword arguments that the constructor names; empty where it takes any, or is ready made.

    >>> arguments_of(parse("optax:sgd"))[:2]
    ['learning_rate', 'momentum']
    """
    return [] if spec.constructor is None else accepted_by(spec.constructor) or []


def _malformed(text: str) -> str:
    bare = re.fullmatch(r"\s*([^\W\d]\w*)\s*(\(.*)?", text, re.DOTALL)
    if bare is not None:
        return f"{text}: says no source; did you mean lecture:{bare[1]} or optax:{bare[1]}?"
    return f"{text!r}: not the name of an optimizer; write {FORMS}"


def _check_accepted(spec: OptimizerSpec, kwargs: Mapping[str, Any]) -> None:
    assert spec.constructor is not None
    accepted = accepted_by(spec.constructor)
    unknown = [name for name in kwargs if accepted is not None and name not in accepted]
    if accepted is not None and unknown:
        raise SpecError(
            f"{spec.text}: takes no {unknown[0]!r}; "
            f"it takes {', '.join(accepted) or 'no arguments'}"
        )
