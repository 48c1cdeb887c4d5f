"""The object that a text names: its module is imported, or its file run, and the name looked up."""

import builtins
import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lecture_opt.specs.constructors import as_transformation, origin
from lecture_opt.specs.neighbours import importable_from, imports_of, is_of_folder

BUILT_IN = {"lecture": "lecture_opt.optimizers", "optax": "optax"}
FORMS = "lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME"


class SpecError(ValueError):
    """The text does not name a usable optimizer; the message says what was wanted."""


def lookup(text: str, source: str, dotted: str) -> Any:
    """Return the object `dotted` of the module or file `source`; messages begin with `text`."""
    module = _module(text, source)
    found: Any = module
    for part in dotted.split("."):
        owner = found
        found = getattr(owner, part, None)
        if found is None and isinstance(owner, ModuleType):
            found = _submodule(owner, part)
        if found is None:
            where = getattr(owner, "__file__", None) if owner is module else None
            shown = where if where and "_user_" in owner.__name__ else _name_of(owner)
            hint = _did_you_mean(part, _public(owner))
            raise SpecError(f"{text}: {shown} has no {part!r}{hint}")
    if callable(found) and as_transformation(found) is None:
        _check_callable(text, found, module, Path(source).expanduser())
    return found


def _check_callable(text: str, found: Any, module: ModuleType, source: Path) -> None:
    """Raise, before it is called, for a function that can't be one that makes an optimizer.

    It must be written in Python, in the named file or its folder, or in a module that uses optax
    or JAX: `os:system` is neither.
    """
    home, namespace = origin(found)
    of_the_file = source.suffix == ".py" and (
        namespace is vars(module)
        or is_of_folder(namespace.get("__file__"), source.resolve().parent)
    )
    top = home.partition(".")[0]
    if not of_the_file and (top in {*sys.stdlib_module_names, "jax"} or not _uses_jax(namespace)):
        raise SpecError(
            f"{text}: is not called, as {home or 'its module'} has nothing to do with optimizers; "
            "wanted a function or class of the named file, or of a module that uses optax or JAX"
        )


def _uses_jax(namespace: Mapping[str, Any]) -> bool:
    named = (
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        for value in namespace.values()
    )
    return any(str(name).partition(".")[0] in ("jax", "optax") for name in named)


def _module(text: str, source: str) -> ModuleType:
    if source.endswith(".py"):
        return _module_of_file(text, Path(source).expanduser())
    name = BUILT_IN.get(source, source)
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"{text}: unknown source {source!r}; write {FORMS}")
    try:
        with importable_from(Path.cwd()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise SpecError(f"{text}: importing {name} raised {error}") from error
        hint = _did_you_mean(source, list(BUILT_IN))
        raise SpecError(f"{text}: unknown source {source!r}{hint or f'; write {FORMS}'}") from error
    except (Exception, SystemExit) as error:
        raise SpecError(f"{text}: importing {name} raised {_describe(error)}") from error


def _module_of_file(text: str, path: Path) -> ModuleType:
    if not path.is_file():
        nearby = [str(other) for other in sorted(path.parent.glob("*.py"))]
        raise SpecError(f"{text}: there is no file {path}{_did_you_mean(str(path), nearby)}")
    folder = path.resolve().parent
    name = f"lecture_opt_user_{path.stem}_{hashlib.sha256(bytes(folder)).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickles look their module up here
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": imports_of(folder)}
    try:
        with importable_from(folder):
            found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = _line_in(error, str(path.absolute()))
        raise SpecError(f"{text}: {path}{line} raised {_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _line_in(error: BaseException, path: str) -> str:
    """', line 3 (the code there)': the innermost line of the user's file on the way to `error`."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f", line {error.lineno} ({(error.text or '').strip()})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return f", line {frames[-1].lineno} ({frames[-1].line})" if frames else ""


def _submodule(package: ModuleType, name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"{package.__name__}.{name}")
    except ImportError:
        return None


def _name_of(owner: Any) -> str:
    return str(getattr(owner, "__name__", type(owner).__name__))


def _public(owner: Any) -> list[str]:
    names = [name for name in dir(owner) if not name.startswith("_")]
    return [name for name in names if not isinstance(getattr(owner, name), ModuleType)]


def _did_you_mean(word: str, words: list[str]) -> str:
    close = difflib.get_close_matches(word, words)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
