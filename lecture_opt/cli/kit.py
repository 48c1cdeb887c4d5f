"""What the subcommands share: exit statuses, extras, options, progress, the console."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OK, FAILED, REFUSED, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
"""Exit statuses; the last two are what a shell reports for SIGINT and SIGPIPE."""

EXTRAS = {
    **dict.fromkeys(
        ("jinja2", "markupsafe", "matplotlib", "PIL", "rich", "scipy", "sklearn"), "judge"
    ),
    "shtab": "completion",
    "jax-cuda13-plugin": "gpu-price",
    "libtpu": "tpu-price",
}
"""The extra that brings each optional package."""

OPTIMIZER = """\
An optimizer is lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME. NAME is an
(init, update) pair or a function that returns one; keyword arguments for the function go in
brackets and are read as literals. Naming a file or a module runs it."""


def add_repeatable(
    parser: argparse.ArgumentParser, option: str, text: str, **given: object
) -> None:
    """Adds an option that takes one value and may be repeated; without it the list is empty."""
    add: Callable[..., argparse.Action] = parser.add_argument
    add(option, action="append", default=[], help=f"{text}; may be repeated", **given)


def add_folder(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds `--output`, the folder that a command writes to."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(default),
        metavar="FOLDER",
        help="where to write (default: %(default)s)",
    )


def add_file(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds `--output`, the file that a command writes where it is asked to."""
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"also write {what} here")


def at_least(option: str, value: float, least: float) -> None:
    """Raises ValueError where the value of an option is less than `least`."""
    if not value >= least:
        raise ValueError(f"{option} {value:g}: wanted at least {least:g}")


def print_whole(table: "Table") -> None:
    """Prints a table as wide as its texts, in a narrower terminal too, where lines then wrap."""
    from rich.console import Console
    from rich.measure import Measurement

    out = Console()
    needed = Measurement.get(out, out.options.update(max_width=1000), table).maximum
    out.width = max(out.width, needed)
    out.print(table)


def console(width: int = 0) -> "Console":
    """The terminal, at least so wide: narrower, a table would break its numbers."""
    from rich.console import Console

    out = Console()
    out.width = max(out.width, width)
    return out


@contextmanager
def progress() -> Iterator[Callable[[str, float, int], None]]:
    """A bar on stderr, with the time that is left; yields `show(text, done, total)`.

    It appears with the first call: an error found before that stands alone.
    """
    from rich import progress as rich
    from rich.console import Console

    bar = rich.Progress(
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None)

    def show(text: str, done: float, total: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, description=text, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def say_written(paths: Iterable[Path]) -> None:
    """Prints where the results are."""
    print(f"Written: {', '.join(map(str, paths))}")
