"""`lecture-opt inspect`: what an optimizer does to each parameter, from the command line."""

import argparse
from pathlib import Path
from typing import Any

from lecture_opt import files, inspect, specs
from lecture_opt.cli import cache, kit
from lecture_opt.environment import check_device
from lecture_opt.inspect import table, webpage
from lecture_opt.inspect.made import optimizer_and_params

DESCRIPTION = """\
Measure what an optimizer does to each leaf of a model: the rule that moves it, its learning rate
over the schedule, weight decay, clipping, accumulation, dtypes and state; then say what of it is
probably not meant.

  lecture-opt inspect train.py:make
  lecture-opt inspect train.py:make --steps 10000 --output inspection.json
  lecture-opt inspect train.py:make --html inspection.html
  lecture-opt inspect train.py:make --against other.py:make

make() returns (optimizer, params), (optimizer, model), a Flax TrainState, an nnx.Optimizer, a Loop
with an optimizer of its own, or (optimizer, Loop). Shapes are enough for params, as from
jax.eval_shape; leaves are probed at a small size that keeps what rules and masks look at.
Exit status: 0 nothing was found, 1 there are findings, 2 the request could not be understood."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `inspect`."""
    parser.description = DESCRIPTION
    cache.add_option(parser)
    parser.add_argument("make", nargs="?", help="path/to/file.py:NAME or package.module:NAME")
    parser.add_argument(
        "--steps", type=int, help="length of the run in gradients; default: the Loop's, else 1000"
    )
    parser.add_argument("--full", action="store_true", help="probe leaves of their real sizes")
    parser.add_argument(
        "--against", metavar="MAKE", help="another one: print how it treats each leaf differently"
    )
    kit.add_file(parser, "the inspection as JSON")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page: schedules, and the tree to unfold"
    )


def run(args: argparse.Namespace) -> int:
    """Inspects and prints; returns the exit status."""
    if args.make is None:
        raise ValueError("what to inspect? for example: lecture-opt inspect train.py:make")
    if args.steps is not None:
        kit.at_least("--steps", args.steps, 1)
    check_device("inspect")
    if args.output:
        files.make_room("--output", args.output)
    if args.html:
        files.make_room("--html", args.html)
    inspection = _inspection(args.make, args.steps, args.full)
    if args.against:
        for line in inspection.differences(_inspection(args.against, args.steps, args.full)):
            print(line)
    if args.output:
        inspection.write_json(args.output)
    if args.html:
        webpage.write(inspection, args.html, args.make)
    table.show(inspection, kit.console(100))
    return kit.OK if inspection.ok else kit.FAILED


def _inspection(text: str, steps: int | None, full: bool) -> inspect.Inspection:
    """The inspection of what a text names."""
    found: Any = specs.find(text)
    try:
        made = optimizer_and_params(found() if callable(found) else found)
        steps = steps or made.steps or 1000
        return inspect.run(made.optimizer, made.params, steps=steps, full=full, state=made.state)
    except Exception as error:  # the user's own code, or an optimizer that does not run
        raise ValueError(f"inspect: {text}: {type(error).__name__}: {error}") from error
