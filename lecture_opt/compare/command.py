"""`lecture-opt compare`: parses, calls, prints."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lecture_opt import specs
    from lecture_opt.compare import Loop, Protocol, Store, Task

EPILOG = """\
examples:
  lecture-opt compare                      the lecture's six and their optax baselines, six tasks
  lecture-opt compare --quick              the same optimizers, coarser and sooner
  lecture-opt compare --task digits-mlp --optimizer lecture:adam --optimizer optax:lion
  lecture-opt compare --optimizer my_file.py:my_opt --optimizer optax:adam --task my_file.py:my_task
  lecture-opt compare --optimizer 'optax:adam(b1=log1m(0.8, 0.99))' --optimizer optax:adam

An optimizer is lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME: a function
that takes learning_rate and returns an (init, update) pair. Keyword arguments in brackets are
read and never evaluated: literals, or a range to tune over, one of log(low, high),
log1m(low, high) (for decays near 1), uniform(low, high) and choice(a, b, ...).

How it is done: each optimizer gets the same number of settings (an even grid of learning rates
from 1e-4 to 10, or quasi-random draws where more is tuned). Tuning seeds choose one by the
validation metric; other seeds, the same for all, report it on the test part, which nothing
touched before. Differences from the baseline are paired by seed, tested exactly and corrected
for the number of comparisons.

tasks: {tasks}
"""


WRITTEN = ("report.html", "results.json", "runs.csv", "curves.csv", "tables.tex", "figures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `compare`."""
    from lecture_opt.problems import DEFAULT, TASKS

    names = ", ".join(TASKS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG.format(tasks=names)
    add = parser.add_argument
    add(
        "--task",
        action="append",
        default=[],
        metavar="NAME",
        help=f"repeatable; a name below or path/to/file.py:NAME (default: {', '.join(DEFAULT)})",
    )
    add(
        "--optimizer",
        action="append",
        default=[],
        metavar="SPEC",
        help="repeatable (default: the six and their optax equals)",
    )
    add(
        "--baseline",
        metavar="SPEC",
        help="the optimizer that the others are measured against "
        "(default: optax:adam where it takes part, else the first of optax's, else the first)",
    )
    add("--steps", type=int, help="steps of a run (default: 400; quick: 200)")
    add("--seeds", type=int, help="seeds that report (default: 10)")
    add(
        "--budget",
        type=int,
        metavar="N",
        help="settings tried for each optimizer (default: 16; quick: 8)",
    )
    add(
        "--rates",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="learning rates to search where the optimizer declares none (default: 1e-4 10)",
    )
    add(
        "--target",
        type=float,
        metavar="VALUE",
        help="validation metric to count the steps to (default: what the best baseline reaches)",
    )
    add("--output", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    add("--quick", action="store_true", help="three tasks, fewer steps, settings and tuning seeds")
    add("--resume", action="store_true",
        help="go on from what a killed comparison left in the output directory")  # fmt: skip
    add(
        "--distributed",
        action="store_true",
        help="share the work with the processes that SLURM, Open MPI or GKE started",
    )


def run(args: argparse.Namespace) -> int:
    """Compares and prints; returns the exit status."""
    try:
        import jax
        import rich.console

        from lecture_opt import compare
        from lecture_opt.compare.show import report, terminal
    except ImportError as error:
        print(f"compare needs {error.name}: pip install 'lecture_opt[judge]'", file=sys.stderr)
        return 2
    try:
        if args.distributed:
            jax.distributed.initialize()
        tasks, optimizers, protocol = chosen(args)
        store = _output(args.output, resume=args.resume or jax.process_index() > 0)
        with _progress(len(tasks) * len(optimizers)) as on_stage:
            found = compare.run(tasks, optimizers, protocol, store=store, on_stage=on_stage)
    except (ValueError, OSError, ImportError) as error:
        print(f"lecture-opt compare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume goes on from here", file=sys.stderr)
        return 130
    if jax.process_index() > 0:
        return 0
    path = args.output / "results.json"
    compare.write(found, path)
    store.remove()
    terminal.show(found, rich.console.Console())
    report.write(compare.read(path), args.output)
    print(f"Written to {args.output}: {', '.join(WRITTEN)}")
    return 0


def chosen(
    args: argparse.Namespace,
) -> "tuple[list[Loop | Task], list[specs.OptimizerSpec], Protocol]":
    """What the options ask for; ValueError where it makes no sense."""
    from lecture_opt import compare, specs
    from lecture_opt.problems import QUICK

    optimizers = [specs.parse(text) for text in args.optimizer or compare.DEFAULT_OPTIMIZERS]
    names = [spec.name for spec in optimizers]
    baseline = _baseline(names, args.baseline)
    steps = _or(args.steps, 200 if args.quick else 400)
    seeds = _or(args.seeds, 10)
    draws = _or(args.budget, 8 if args.quick else 16)
    for option, value, least in (("steps", steps, 1), ("seeds", seeds, 2), ("budget", draws, 1)):
        if value < least:
            raise ValueError(f"--{option} {value}: wanted at least {least}")
    rates = compare.Protocol.rates
    if args.rates is not None:
        low, high = args.rates
        if not 0 < low < high:
            raise ValueError(f"--rates {low:g} {high:g}: wanted 0 < LOW < HIGH")
        rates = specs.Range("log", low, high)
    protocol = compare.Protocol(
        steps=steps,
        evaluations=max(d for d in range(1, min(steps, 20) + 1) if steps % d == 0),
        draws=draws,
        seeds=seeds,
        tuning_seed_count=2 if args.quick else seeds,
        baseline=baseline,
        target=args.target,
        rates=rates,
    )
    tasks = compare.load_tasks(args.task or (QUICK if args.quick else ()))
    if args.target is not None:
        _check_target(args.target, tasks)
    return tasks, optimizers, protocol


def _or(given: int | None, default: int) -> int:
    return default if given is None else given


def _baseline(names: list[str], given: str | None) -> str:
    from lecture_opt import specs

    if given is not None:
        name = specs.parse(given).name
        if name not in names:
            raise ValueError(
                f"--baseline {given}: takes no part; add --optimizer {given!r} "
                f"(there are {', '.join(names)})"
            )
        return name
    if "optax:adam" in names:
        return "optax:adam"
    return next((name for name in names if name.startswith("optax:")), names[0])


def _check_target(target: float, tasks: "list[Loop | Task]") -> None:
    metrics = {(task.metric_name, task.higher_is_better) for task in tasks}
    if len(metrics) > 1:
        raise ValueError(
            f"--target {target:g}: the tasks measure {' and '.join(sorted(m for m, _ in metrics))}"
            "; give --task as well"
        )
    if metrics == {("accuracy", True)} and not 0 < target <= 1:
        raise ValueError(f"--target {target:g}: accuracy lies between 0 and 1")


def _output(folder: Path, *, resume: bool) -> "Store":
    """The store in the output directory; ValueError where nothing can be written there."""
    from lecture_opt import compare, files

    files.make_folder("--output", folder)
    store = compare.Store(folder / "unfinished")
    if not resume:
        store.remove()
    return store


@contextmanager
def _progress(cells: int) -> Iterator[Callable[[str, str, str], Any]]:
    """A bar with the time that is left, on stderr; yields what to call after each stage.

    It appears when all was checked, so that an error of the user's stands alone.
    """
    from rich import console, progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left:"),
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(*columns, console=console.Console(stderr=True), transient=True)
    both = bar.add_task("compiling the first", total=2 * cells)

    def on_stage(stage: str, task: str, name: str) -> None:
        if stage == "checked":
            bar.start()
        else:
            bar.update(both, advance=1, description=f"{stage} {name} on {task}")

    try:
        yield on_stage
    finally:
        if bar.live.is_started:
            bar.stop()
