"""Which subcommand runs, and what its errors become: one line and an exit status."""

import argparse
import gc
import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence

from lecture_opt.cli import cache, kit

COMMANDS = {
    "compare": ("compare", "is this optimizer any good: tune, train and rank"),
    "merge": ("merge", "comparisons of one protocol in one set of verdicts"),
    "check": ("check", "is this optimizer correct: a battery of properties"),
    "inspect": ("inspect", "what does this optimizer do to each parameter"),
    "race": ("race", "the optimizers' paths over the classic test surfaces"),
    "bench": ("bench", "what does this optimizer cost: time, memory, compiles"),
    "bench rows": ("bench_rows", "what do row-sparse updates cost"),
    "completion": ("completion", "print the script that completes these commands in a shell"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns its exit status."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of folders of its own
    arguments = list(sys.argv[1:] if argv is None else argv)
    if " ".join(arguments[:2]) in COMMANDS:
        arguments[:2] = [" ".join(arguments[:2])]
    name = arguments[0] if arguments[:1] and arguments[0] in COMMANDS else ""
    try:
        parser, commands = parsers([name] if name else [])
        args, unknown = parser.parse_known_args(arguments)
        if unknown:
            commands[name].error(f"unrecognized arguments: {' '.join(unknown)}")
        if argv is None:  # a process of its own
            gc.freeze()  # a collection needn't walk what imports made: an eighth of check's time
            gc.set_threshold(50_000, 20, 50)
        if getattr(args, "cache", False):
            cache.start()
        status = int(args.run(args))
        sys.stdout.flush()  # a reader that has left shows here
        return status
    except KeyboardInterrupt as reason:  # also while a subcommand is still importing JAX
        print("; ".join(["interrupted", *map(str, reason.args)]), file=sys.stderr)
        return kit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return kit.UNREAD
    except ImportError as error:
        package = str(error.name).partition(".")[0]
        extra = kit.EXTRAS.get(package)
        hint = f"needs {package}: pip install 'lecture_opt[{extra}]'"
        return refuse(name, hint if extra else str(error))
    except (ValueError, OSError) as error:
        return refuse(name, str(error))


def parsers(
    names: Sequence[str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole command and of each subcommand; those of `names` with options."""
    parser = argparse.ArgumentParser(
        prog="lecture-opt", description="Is this optimizer correct, and is it any good?"
    )
    version = importlib.metadata.version("lecture_opt")
    parser.add_argument("--version", action="version", version=f"lecture-opt {version}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = {}
    for name, (module, text) in COMMANDS.items():
        commands[name] = subparsers.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in names:
            command = importlib.import_module(f"lecture_opt.cli.{module}")
            command.add_arguments(commands[name])
            commands[name].set_defaults(run=command.run)
    return parser, commands


def refuse(name: str, message: str) -> int:
    """Says what was wrong with the request, in argparse's form."""
    print(f"lecture-opt {name}: error: {message.removeprefix(f'{name}: ')}", file=sys.stderr)
    return kit.REFUSED
