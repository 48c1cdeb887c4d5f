"""`lecture-opt race`: parses, calls, prints."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lecture_opt.race import Lane, Surface

EPILOG = """\
examples:
  lecture-opt race                                    the lecture's six over six surfaces
  lecture-opt race --surface rosenbrock --start -1 2 --steps 400
  lecture-opt race --surface beale --optimizer lecture:adam --optimizer my_file.py:my_opt

An optimizer is lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME, with keyword
arguments in brackets. One that is given no learning rate runs, on each surface, at the lowest of 37
rates from 1e-4 to 3.2 whose mean height over the path is within 1.5 times the least.
"""
MOST_STEPS = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `race`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--optimizer", action="append", default=[], help="repeatable; default: the lecture's six")
    add("--surface", action="append", default=[], help="repeatable; default: all six")
    add("--steps", type=int, default=250, help="steps of every optimizer (default: 250)")
    add("--learning-rate", type=float, metavar="RATE", help="one for all (default: each its best)")
    add("--start", type=float, nargs=2, metavar=("X", "Y"), help="default: each surface's own")
    add("--output", type=Path, default=Path("race"), help="folder (default: race)")


def run(args: argparse.Namespace) -> int:
    """Races and writes; returns the exit status."""
    try:
        from lecture_opt import equals, files, race, specs
        from lecture_opt.race import page, pictures
    except ImportError as error:
        print(f"race needs {error.name}: pip install 'lecture_opt[judge]'", file=sys.stderr)
        return 2
    try:
        surfaces = _surfaces(args.surface)
        _check(args, surfaces)
        start = None if args.start is None else (args.start[0], args.start[1])
        texts = args.optimizer or [pair.lecture for pair in equals.PAIRS]
        optimizers = [specs.parse(text) for text in dict.fromkeys(texts)]
        files.make_folder("--output", args.output)
        lanes = race.run(
            optimizers, surfaces, steps=args.steps, learning_rate=args.learning_rate, start=start
        )
        written = [
            *page.write(lanes, optimizers, surfaces, args.output),
            *pictures.still(lanes, surfaces, args.output),
            *pictures.animation(lanes, surfaces, args.output),
        ]
    except (ValueError, OSError) as error:
        print(f"lecture-opt race: {error}", file=sys.stderr)
        return 2
    _print(lanes, surfaces)
    print("Written: " + ", ".join(map(str, written)))
    return 0


def _surfaces(names: Sequence[str]) -> "list[Surface]":
    from lecture_opt.race import SURFACES

    unknown = [name for name in names if name not in SURFACES]
    if unknown:
        known = ", ".join(SURFACES)
        raise ValueError(f"--surface {unknown[0]}: no such surface; there are {known}")
    return [SURFACES[name] for name in dict.fromkeys(names or SURFACES)]


def _check(args: argparse.Namespace, surfaces: "Sequence[Surface]") -> None:
    """Raises ValueError where an option makes no sense."""
    if not 1 <= args.steps <= MOST_STEPS:
        raise ValueError(f"--steps {args.steps}: from 1 to {MOST_STEPS}")
    rate = args.learning_rate
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"--learning-rate {rate}: must be positive and finite")
    for surface in surfaces if args.start else []:
        for value, (low, high), axis in zip(args.start, (surface.x, surface.y), "xy", strict=True):
            if not low <= value <= high:
                raise ValueError(
                    f"--start {args.start[0]:g} {args.start[1]:g}: outside the picture of "
                    f"{surface.name}, whose {axis} goes from {low:g} to {high:g}"
                )


def _print(lanes: "Sequence[Lane]", surfaces: "Sequence[Surface]") -> None:
    """A table a surface: what everyone ran with, and how far they came."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from lecture_opt.race.trajectories import heights

    console = Console()
    for surface in surfaces:
        table = Table(title=surface.title, box=box.SIMPLE_HEAD)
        table.add_column("optimizer", no_wrap=True)
        for name in ("rate", "height at the end", "diverged"):
            table.add_column(name, justify="right")
        for lane in lanes:
            path = lane.paths[surface.name]
            table.add_row(
                lane.name,
                "its own" if path.learning_rate is None else f"{path.learning_rate:.3g}",
                f"{heights(surface, path.walked[-1]):.3g}",
                "no" if path.diverged is None else f"at step {path.diverged}",
            )
        console.print(table)
