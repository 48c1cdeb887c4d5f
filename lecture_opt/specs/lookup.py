"""The object that a text names: its module is imported, or its file run, and the name looked up."""

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

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
    return found


def _module(text: str, source: str) -> ModuleType:
    if source.endswith(".py"):
        return _module_of_file(text, Path(source).expanduser())
    name = BUILT_IN.get(source, source)
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"{text}: unknown source {source!r}; write {FORMS}")
    try:
        with _importable_from(Path.cwd()):
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
    name = f"lecture_opt_user_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickles look their module up here
    try:
        with _importable_from(path.resolve().parent):
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


@contextmanager
def _importable_from(folder: Path) -> Iterator[None]:
    """Let imports find the modules in `folder`, as they do for `python file.py` there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


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
