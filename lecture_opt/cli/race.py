"""`lecture-opt race`: parses, calls, prints."""

import argparse
import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

from lecture_opt import equals, files, race, specs
from lecture_opt.cli import cache, kit
from lecture_opt.race import pictures, trajectories, webpage

EPILOG = f"""\
examples:
  lecture-opt race                                    the lecture's six over six surfaces
  lecture-opt race --surface rosenbrock --start -1 2 --steps 400
  lecture-opt race --surface beale --optimizer lecture:adam --optimizer my_file.py:my_opt

{kit.OPTIMIZER}
An optimizer without a learning rate runs, on each surface, at the lowest of 37 rates from 1e-4 to
3.2 whose mean height over the path is within 1.5 times the least."""
MOST_STEPS = 5000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `race`."""
    parser.epilog = EPILOG
    cache.add_option(parser)
    add = parser.add_argument
    kit.add_repeatable(parser, "--optimizer", "default: the lecture's six", metavar="OPTIMIZER")
    kit.add_repeatable(parser, "--surface", "default: all six", metavar="NAME")
    add("--steps", type=int, default=250, help="steps of every optimizer (default: %(default)s)")
    add("--learning-rate", type=float, metavar="RATE", help="one for all (default: each its best)")
    add(
        "--start",
        type=float,
        nargs=2,
        metavar=("X", "Y"),
        help="where every path starts (default: each surface's own start)",
    )
    kit.add_folder(parser, "race")


def run(args: argparse.Namespace) -> int:
    """Races and writes; returns the exit status."""
    surfaces = _surfaces(args.surface)
    _check(args, surfaces)
    texts = args.optimizer or [pair.lecture for pair in equals.PAIRS]
    optimizers = specs.distinct([specs.parse(text) for text in dict.fromkeys(texts)])
    files.make_folder("--output", args.output)
    lanes = race.run(
        optimizers,
        surfaces,
        steps=args.steps,
        learning_rate=args.learning_rate,
        start=tuple(args.start) if args.start else None,
    )
    written = [
        *webpage.write(lanes, optimizers, surfaces, args.output),
        *pictures.still(lanes, surfaces, args.output),
        *pictures.animation(lanes, surfaces, args.output),
    ]
    for surface in surfaces:
        kit.print_whole(_table(lanes, surface))
    kit.say_written(written)
    return kit.OK


def _surfaces(names: Sequence[str]) -> list[race.Surface]:
    unknown = [name for name in names if name not in race.SURFACES]
    if unknown:
        known = ", ".join(race.SURFACES)
        raise ValueError(f"--surface {unknown[0]}: unknown; the surfaces are {known}")
    return [race.SURFACES[name] for name in dict.fromkeys(names or race.SURFACES)]


def _check(args: argparse.Namespace, surfaces: Sequence[race.Surface]) -> None:
    """Raises ValueError where an option makes no sense."""
    if not 1 <= args.steps <= MOST_STEPS:
        raise ValueError(f"--steps {args.steps}: wanted from 1 to {MOST_STEPS}")
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


def _table(lanes: Sequence[race.Lane], surface: race.Surface) -> Table:
    """What everyone ran with on a surface, and how far they came."""
    table = Table(title=surface.title, box=box.SIMPLE_HEAD)
    table.add_column("optimizer", no_wrap=True)
    for name in ("rate", "height at the end", "diverged"):
        table.add_column(name, justify="right")
    for lane in lanes:
        path = lane.paths[surface.name]
        table.add_row(
            lane.name,
            "its own" if path.learning_rate is None else f"{path.learning_rate:.3g}",
            f"{trajectories.heights(surface, path.walked[-1]):.3g}",
            "no" if path.diverged is None else f"at step {path.diverged}",
        )
    return table
