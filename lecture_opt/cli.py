"""The command `lecture-opt`: each subcommand is a module with `add_arguments` and `run`."""

import argparse
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

COMMANDS = {
    "compare": ("lecture_opt.compare.command", "is this optimizer any good: tune, train and rank"),
    "check": ("lecture_opt.check.command", "is this optimizer correct: a battery of properties"),
    "race": ("lecture_opt.race.command", "the optimizers' paths over the classic test surfaces"),
    "bench": ("lecture_opt.bench.command", "what does this optimizer cost: time, memory, compiles"),
    "bench rows": ("lecture_opt.bench.rows", "what do row-sparse updates cost"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns its exit status, 130 when interrupted."""
    try:
        return _run(argv)
    except KeyboardInterrupt:  # also while a subcommand is still importing JAX
        print("interrupted", file=sys.stderr)
        return 130


def _run(argv: Sequence[str] | None) -> int:
    """Parses the arguments and runs the subcommand they name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if " ".join(arguments[:2]) in COMMANDS:
        arguments[:2] = [" ".join(arguments[:2])]
    parser = argparse.ArgumentParser(
        prog="lecture-opt", description="Is this optimizer correct, and is it any good?"
    )
    version = importlib.metadata.version("lecture_opt")
    parser.add_argument("--version", action="version", version=f"lecture-opt {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = None
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in arguments[:1]:
            chosen = importlib.import_module(module)
            chosen.add_arguments(command)
    args = parser.parse_args(arguments)
    assert chosen is not None
    return int(chosen.run(args))


if __name__ == "__main__":
    sys.exit(main())
