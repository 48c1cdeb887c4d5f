"""`lecture-opt merge`: parses, calls, prints."""

import argparse
from pathlib import Path

from lecture_opt import compare, files
from lecture_opt.cli import kit
from lecture_opt.compare.show import report, terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `merge`."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="+",
        help="what `lecture-opt compare` wrote: of one protocol, with other optimizers or tasks, "
        "or with other seeds (--first-seed) of the same",
    )
    kit.add_folder(parser, "merged")


def run(args: argparse.Namespace) -> int:
    """Joins, prints and writes; returns the exit status."""
    study = compare.merge([compare.read(folder / "results.json") for folder in args.folder])
    files.make_folder("--output", args.output)
    compare.write(study, args.output / "results.json")
    terminal.show(study, kit.console(80))
    report.write(study, args.output)
    kit.say_written([args.output / "report.html", args.output / "results.json"])
    return kit.FAILED if any(task.failures for task in study.tasks) else kit.OK
