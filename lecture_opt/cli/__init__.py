"""The command `lecture-opt`: each subcommand is a module with `add_arguments` and `run`.

A subcommand parses, calls and prints. What it raises is turned into one line by `dispatch`.
"""

from lecture_opt.cli.dispatch import main

__all__ = ["main"]
