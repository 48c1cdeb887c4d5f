"""`lecture-opt bench`: parses, calls, prints."""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `bench`."""
    parser.add_argument("optimizer", nargs="?", default="lecture:adam")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    print(f"lecture-opt bench: can't measure {args.optimizer} yet", file=sys.stderr)
    return 2
