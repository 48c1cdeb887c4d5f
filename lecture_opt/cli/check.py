"""`lecture-opt check`: the battery from the command line."""

import argparse
import contextlib
import functools
import os

import jax

from lecture_opt import check, files, problems, specs
from lecture_opt.check import table
from lecture_opt.check.diagnosis.foreign import is_foreign
from lecture_opt.cli import cache, kit

DESCRIPTION = f"""\
Put an optimizer through a battery of properties that every (init, update) pair should hold, and
say in words which it breaks, at which step, leaf and element.

  lecture-opt check optax:adam
  lecture-opt check my_optimizers.py:my_adam --reference 'optax:adam(learning_rate=1e-3)'
  lecture-opt check my_optimizers.py:my_adam --problem my_train.py:loop
  lecture-opt check 'my_file.py:my_adam(b1=0.8)' --only dtypes --only hostile --output report.json

{kit.OPTIMIZER}
A constructor is called with its own defaults, and with a learning rate of 0.01 where it has no
default for it. More can be checked with a constructor than with a ready pair.
Exit status: 0 nothing failed, 1 a property failed, 2 the request could not be understood."""
DEVICES = 8
"""On a CPU, so that properties of several devices can be checked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `check`."""
    parser.description = DESCRIPTION
    cache.add_option(parser)
    parser.add_argument("optimizer", nargs="?", help="what to check")
    parser.add_argument(
        "--reference",
        metavar="OPTIMIZER",
        help="another optimizer it should equal step by step; also torch:NAME or keras:NAME",
    )
    parser.add_argument(
        "--problem",
        metavar="NAME",
        help="a loop or task, as compare names it: also judge on the params it trains, and in it",
    )
    kit.add_repeatable(parser, "--skip", "property or family to leave out", metavar="NAME")
    kit.add_repeatable(parser, "--only", "property or family to run alone", metavar="NAME")
    kit.add_file(parser, "the report as JSON")
    parser.add_argument("--all", action="store_true", help="also a row for each that passed")
    parser.add_argument("--list", action="store_true", help="list the properties and exit")


def run(args: argparse.Namespace) -> int:
    """Checks and prints; returns the exit status."""
    if args.list:
        for prop in check.PROPERTIES:
            print(f"{check.name_of(prop):40} {(prop.__doc__ or '').splitlines()[0]}")
        return kit.OK
    if args.optimizer is None:
        raise ValueError("which optimizer? for example: lecture-opt check optax:adam")
    asked = jax.config.values["jax_num_cpu_devices"] >= 0
    if not asked and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has chosen its devices already
            jax.config.update("jax_num_cpu_devices", DEVICES)
    if args.output:
        files.make_room("--output", args.output)
    subject = _subject(args.optimizer)
    other = args.reference
    reference = other if other is None or is_foreign(other) else _subject(other)
    problem = None if args.problem is None else problems.load(args.problem)
    with kit.progress() as progress:
        report = check.run(
            subject,
            reference=reference,
            problem=problem,
            skip=args.skip,
            only=args.only,
            progress=progress,
        )
    if args.output:
        report.write_json(args.output)
    table.show(report, kit.console(), everything=args.all)
    return kit.OK if report.ok else kit.FAILED


def _subject(text: str) -> check.Subject:
    """The subject that a text names."""
    spec = specs.parse(text)
    if spec.constructor is None:
        return check.make(spec.instance, name=spec.name)
    build = functools.wraps(spec.constructor)(functools.partial(specs.build, spec))
    return check.from_constructor(build, name=spec.name, **spec.kwargs)
