"""`python -m lecture_opt.exercises 5.1 my_answer.py`: parses, calls, prints."""

import argparse
import runpy
import sys
from collections.abc import Sequence

from lecture_opt import exercises


def main(argv: Sequence[str] | None = None) -> int:
    """Look at one answer; return 0 if it is right, 1 if it is not, 2 if nothing was understood."""
    parser = argparse.ArgumentParser(
        prog="python -m lecture_opt.exercises",
        description="Says whether an answer to an exercise of the guides is right.",
    )
    parser.add_argument("number", nargs="?", help="as 4.2; without it, all are listed")
    parser.add_argument("file", nargs="?", help="a Python file that defines `answer`")
    parser.add_argument("--solution", action="store_true", help="print a right answer")
    args = parser.parse_args(argv)
    if args.number is None:
        for exercise in exercises.EXERCISES.values():
            print(f"{exercise.number:5} {exercise.wanted}")
        return 0
    try:
        exercise = exercises.find(args.number)
    except ValueError as error:
        parser.error(str(error))
    if args.solution:
        print(exercise.solution.rstrip())
        return 0
    if args.file is None:
        print(f"{exercise.number}: set `answer` to {exercise.wanted} in a file and name the file.")
        return 2
    return _looked_at(args.number, args.file)


def _looked_at(number: str, path: str) -> int:
    try:
        names = runpy.run_path(path)
    except Exception as error:
        print(f"{path} raises {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if "answer" not in names:
        print(f"{path} does not define `answer`.", file=sys.stderr)
        return 2
    right, sentence = exercises.said(number, names["answer"])
    print(sentence)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
