"""`lecture-opt bench rows`: parses, calls, prints."""

import argparse

from lecture_opt import files
from lecture_opt.bench import rows
from lecture_opt.bench.rows import table
from lecture_opt.cli import kit

SIZES = tuple(10**n for n in range(3, 8))
TOUCHED = (1024,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `bench rows`."""
    parser.description = rows.__doc__
    add = parser.add_argument
    shown = f"{SIZES[0]:,} to {SIZES[-1]:,}"
    kit.add_repeatable(
        parser, "--rows", f"rows of the table (default: {shown})", type=int, metavar="N"
    )
    kit.add_repeatable(
        parser, "--touched", f"rows per batch (default: {TOUCHED[0]})", type=int, metavar="N"
    )
    kit.add_repeatable(
        parser, "--optimizer", f"{', '.join(rows.SLOTS)} (default: all)",
        metavar="NAME", choices=list(rows.SLOTS),
    )  # fmt: skip
    add("--width", type=int, default=64, help="numbers in a row (default: %(default)s)")
    add("--steps", type=int, default=30, help="timed steps (default: %(default)s)")
    add(
        "--memory",
        type=float,
        default=8.0,
        metavar="GB",
        help="what tables and state may take (default: %(default)s)",
    )
    kit.add_file(parser, "the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    sizes, touched = args.rows or SIZES, args.touched or TOUCHED
    names = args.optimizer or list(rows.SLOTS)
    for option, values in (("--rows", sizes), ("--touched", touched)):
        kit.at_least(option, min(values), 1)
    kit.at_least("--width", args.width, 1)
    kit.at_least("--steps", args.steps, 1)
    if not args.memory > 0:
        raise ValueError(f"--memory {args.memory:g}: wanted more than 0")
    if args.output:
        files.make_room("--output", args.output)
    cells, total = [], len(sizes) * len(touched) * len(names)
    with kit.progress() as show:
        show("compiling the first", 0, total)
        for cell in rows.measure(
            names,
            sizes,
            touched,
            width=args.width,
            steps=args.steps,
            memory_limit=args.memory * 1e9,
        ):
            cells.append(cell)
            show(f"measured {cell.optimizer}, {cell.table_rows:,} rows", len(cells), total)
    kit.print_whole(table.of(cells))
    if args.output:
        files.write_json(args.output, {"cells": [cell._asdict() for cell in cells]})
    return kit.OK
