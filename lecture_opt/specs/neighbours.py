"""Imports as `python file.py` sees them: the modules of the file's own folder come first."""

import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}
_LOADED: dict[Path, dict[str, ModuleType]] = {}
"""The modules of each folder that gave way to modules of the same names."""


@contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Let imports find the modules in `folder`, also where others of their names are loaded."""
    others = {name: module for name, module in sys.modules.items() if _of_another(name, folder)}
    for name in others:
        del sys.modules[name]
    sys.modules.update(_LOADED.get(folder, {}))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        if others:
            tops = {name.partition(".")[0] for name in others}
            own = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in tops}
            _LOADED[folder] = own
            for name in own:
                del sys.modules[name]
            sys.modules.update(others)


def imports_of(folder: Path) -> Callable[..., ModuleType]:
    """The `__import__` of a file in `folder`: its functions may import when they are called."""

    def import_(*args: Any, **kwargs: Any) -> ModuleType:
        with importable_from(folder):
            return builtins.__import__(*args, **kwargs)

    return import_


def is_of_folder(file: str | None, folder: Path) -> bool:
    """Whether a module's file lies in `folder` and is not an installed package's."""
    path = Path(file or "/").resolve()
    return path.is_relative_to(folder) and not _INSTALLED & set(path.parts)


def _of_another(name: str, folder: Path) -> bool:
    """Whether a loaded module hides one of `folder`: a user's, with the name of one there."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "lecture_opt":
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    if not file or _INSTALLED & set(Path(file).parts) or is_of_folder(file, folder):
        return False
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
