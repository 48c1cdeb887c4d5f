"""`lecture-opt completion`: the script that completes the commands in bash or zsh."""

import argparse
from pathlib import Path

import shtab

from lecture_opt.cli import dispatch, kit

EPILOG = """\
examples:
  eval "$(lecture-opt completion bash)"                         for this shell
  lecture-opt completion zsh > ~/.zfunc/_lecture-opt            a folder of $fpath"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `completion`."""
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=("bash", "zsh"), help="for which shell")


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    # A shell reads `bench rows` as two words, of which the second is not a subcommand.
    names = [name for name in dispatch.COMMANDS if " " not in name]
    parser, commands = dispatch.parsers(names)
    for command in commands.values():
        for action in command._actions:
            if action.type is Path:
                files = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE
                action.complete = files  # type: ignore[attr-defined]  # where shtab looks for it
    print(shtab.complete(parser, shell=args.shell))
    return kit.OK
