"""`lecture-opt check`: the battery from the command line."""

import argparse
import contextlib
import functools
import os
import sys
from typing import Any

DESCRIPTION = """\
Put an optimizer through a battery of properties that every (init, update) pair should hold, and
say in words which it breaks, at which step, leaf and element.

  lecture-opt check optax:adam
  lecture-opt check my_optimizers.py:my_adam --reference 'optax:adam(learning_rate=1e-3)'
  lecture-opt check 'my_optimizers.py:my_adam(b1=0.8)' --only dtypes hostile --json report.json

A constructor is called with its own defaults, and with a learning rate of 0.01 where it has no
default for one. With a constructor more can be checked than with a ready (init, update) pair.
Exit status: 0 nothing failed, 1 a property failed, 2 the request could not be understood."""
DEVICES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "optimizer",
        nargs="?",
        help="lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME, "
        "with keyword arguments in brackets",
    )
    parser.add_argument(
        "--reference", metavar="OPTIMIZER", help="another optimizer it should equal step by step"
    )
    parser.add_argument(
        "--skip", nargs="+", default=[], metavar="NAME", help="properties or families to leave out"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="properties or families to run"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    parser.add_argument("--list", action="store_true", help="list the properties and exit")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    _ask_for_devices()
    try:
        from rich.console import Console

        from lecture_opt.check import table
    except ImportError:
        print("check: needs rich: pip install 'lecture_opt[judge]'", file=sys.stderr)
        return 2
    from lecture_opt import check
    from lecture_opt.check.report import refuse_unwritable
    from lecture_opt.specs import SpecError

    if args.list:
        for prop in check.PROPERTIES:
            print(f"{check.name_of(prop):40} {(prop.__doc__ or '').splitlines()[0]}")
        return 0
    try:
        if args.optimizer is None:
            raise ValueError("check: which optimizer? for example: lecture-opt check optax:adam")
        if args.json:
            refuse_unwritable(args.json)
        subject = _subject(args.optimizer)
        reference = _subject(args.reference) if args.reference else None
        console, errors = Console(), Console(stderr=True)
        with table.progress_bar(errors) as progress:
            report = check.run(
                subject, reference=reference, skip=args.skip, only=args.only, progress=progress
            )
        if args.json:
            report.write_json(args.json)
    except (SpecError, ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    table.show(report, console)
    return 0 if report.ok else 1


def _ask_for_devices() -> None:
    """Ask JAX for eight devices on the CPU, unless the user or a running JAX settled the number."""
    import jax

    flags, asked = os.environ.get("XLA_FLAGS", ""), jax.config.values["jax_num_cpu_devices"]
    if "device_count" not in flags and asked < 0:
        with contextlib.suppress(RuntimeError):  # JAX has started its devices already
            jax.config.update("jax_num_cpu_devices", DEVICES)


def _subject(text: str) -> Any:
    """The subject that a spec names."""
    from lecture_opt import check, specs

    spec = specs.parse(text)
    if spec.constructor is None:
        return check.make(spec.instance, name=spec.name)
    build = functools.wraps(spec.constructor)(functools.partial(specs.build, spec))
    return check.from_constructor(build, name=spec.name, **spec.kwargs)
