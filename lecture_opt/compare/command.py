"""`lecture-opt compare`: parses, calls, prints."""

import argparse
import sys
from pathlib import Path

EPILOG = """\
examples:
  lecture-opt compare                      the six and their optax baselines, four tasks
  lecture-opt compare --quick              the same, coarser and sooner
  lecture-opt compare --task digits-mlp --optimizer lecture:adam --optimizer optax:lion
  lecture-opt compare --optimizer my_file.py:my_opt --optimizer 'optax:adam(b1=0.8)'

An optimizer is lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME: a function
that takes learning_rate and returns an (init, update) pair. Keyword arguments in brackets are
read as literals and never evaluated.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `compare`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("--task", action="append", default=[], help="repeatable; default: all four")
    parser.add_argument(
        "--optimizer", action="append", default=[], help="repeatable; default: six and baselines"
    )
    parser.add_argument("--steps", type=int, help="steps of a run (default: 400; quick: 200)")
    parser.add_argument("--seeds", type=int, default=5, help="reporting seeds (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--quick", action="store_true", help="fewer steps, rates and seeds")


def run(args: argparse.Namespace) -> int:
    """Compares and prints; returns the exit status."""
    try:
        import rich.console
        import rich.progress

        from lecture_opt import compare, specs
        from lecture_opt.compare import plots, tables
    except ImportError as error:
        print(f"compare needs {error.name}: pip install 'lecture_opt[judge]'", file=sys.stderr)
        return 2
    try:
        tasks = compare.load_tasks(args.task)
        optimizers = [specs.parse(text) for text in args.optimizer or compare.DEFAULT_OPTIMIZERS]
        protocol = compare.protocol(steps=args.steps, seeds=args.seeds, quick=args.quick)
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / ".writable").touch()
        (args.output / ".writable").unlink()
        columns = (
            "[progress.description]{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        console = rich.console.Console(stderr=True)
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            total = len(tasks) * len(optimizers)
            programs = bar.add_task("compiling", total=total)
            cells = bar.add_task("training", total=total)
            results = compare.run(
                tasks,
                optimizers,
                protocol,
                on_compiled=lambda: bar.advance(programs),
                on_cell=lambda task, name: bar.update(
                    cells, advance=1, description=f"trained {task} {name}"
                ),
            )
    except (ValueError, OSError, ImportError) as error:
        print(f"lecture-opt compare: {error}", file=sys.stderr)
        return 2
    compare.write(results, args.output / "results.json")
    paths = [args.output / "results.json", *plots.draw(results, args.output)]
    out = rich.console.Console()
    out.width = max(out.width, 110)  # narrower, the tables break their numbers
    for task in results["tasks"]:
        out.print(tables.ranked(task), "")
    out.print("Written: " + ", ".join(map(str, paths)), soft_wrap=True)
    return 0
