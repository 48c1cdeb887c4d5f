"""`lecture-opt compare`: parses, calls, prints."""

import argparse
import contextlib
from collections.abc import Callable, Iterator

import jax

from lecture_opt import compare, files, specs
from lecture_opt.cli import kit
from lecture_opt.compare.show import report, terminal
from lecture_opt.problems import DEFAULT, QUICK, TASKS

EPILOG = f"""\
examples:
  lecture-opt compare                      the lecture's six and their optax baselines, six tasks
  lecture-opt compare --quick              the same optimizers, coarser and sooner
  lecture-opt compare --task digits-mlp --optimizer lecture:adam --optimizer optax:lion
  lecture-opt compare --optimizer my_file.py:my_opt --optimizer optax:adam --task my_file.py:my_task
  lecture-opt compare --optimizer 'optax:adam(b1=log1m(0.8, 0.99))' --optimizer optax:adam

{kit.OPTIMIZER}
Here NAME must be a function that takes learning_rate, and an argument may be a range to tune over:
log(low, high), log1m(low, high) (for decays near 1), uniform(low, high) or choice(a, b, ...).

How it is done: each optimizer gets the same number of settings (an even grid of learning rates
from 1e-4 to 10, or quasi-random draws where more is tuned). Tuning seeds choose one by the
validation metric; other seeds, the same for all, report it on the test part, which nothing
touched before. Differences from the baseline are paired by seed, tested exactly and corrected
for the number of comparisons.

tasks: {", ".join(TASKS)}"""

WRITTEN = ("report.html", "results.json", "runs.csv", "curves.csv", "tables.tex", "figures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `compare`."""
    parser.epilog = EPILOG
    kit.add_repeatable(
        parser,
        "--task",
        f"a name below or path/to/file.py:NAME (default: {', '.join(DEFAULT)})",
        metavar="NAME",
    )
    kit.add_repeatable(
        parser, "--optimizer", "default: the six and their optax equals", metavar="OPTIMIZER"
    )
    _add_protocol(parser)
    kit.add_folder(parser, "results")
    add = parser.add_argument
    add("--quick", action="store_true", help="three tasks, fewer steps, settings and tuning seeds")
    add("--resume", action="store_true", help="go on from what a killed comparison left")
    add(
        "--distributed",
        action="store_true",
        help="share the work with the processes that SLURM, Open MPI or GKE started",
    )


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how everyone is tuned and reported."""
    add = parser.add_argument
    add(
        "--baseline",
        metavar="OPTIMIZER",
        help="the optimizer that the others are measured against "
        "(default: optax:adam where it takes part, else the first of optax's, else the first)",
    )
    add("--steps", type=int, help="steps of a run (default: 400; quick: 200)")
    add("--seeds", type=int, default=10, help="seeds that report (default: %(default)s)")
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


def run(args: argparse.Namespace) -> int:
    """Compares and prints; returns the exit status."""
    if args.distributed:
        jax.distributed.initialize()
    tasks, optimizers, protocol = chosen(args)
    files.make_folder("--output", args.output)
    store = compare.Store(args.output / "unfinished")
    if not (args.resume or jax.process_index() > 0):
        store.remove()
    with _go_on_later(), _progress(len(tasks) * len(optimizers)) as on_stage:
        study = compare.run(tasks, optimizers, protocol, store=store, on_stage=on_stage)
    if jax.process_index() > 0:
        return kit.OK
    path = args.output / "results.json"
    compare.write(study, path)
    store.remove()
    terminal.show(study, kit.console(180))
    report.write(compare.read(path), args.output)
    kit.say_written(args.output / name for name in WRITTEN)
    return kit.OK


def chosen(
    args: argparse.Namespace,
) -> tuple[list[compare.Loop | compare.Task], list[specs.OptimizerSpec], compare.Protocol]:
    """What the options ask for; ValueError where it makes no sense."""
    optimizers = [specs.parse(text) for text in args.optimizer or compare.DEFAULT_OPTIMIZERS]
    baseline = _baseline([spec.name for spec in optimizers], args.baseline)
    steps = args.steps if args.steps is not None else 200 if args.quick else 400
    draws = args.budget if args.budget is not None else 8 if args.quick else 16
    kit.at_least("--steps", steps, 1)
    kit.at_least("--seeds", args.seeds, 2)
    kit.at_least("--budget", draws, 1)
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
        seeds=args.seeds,
        tuning_seed_count=5 if args.quick else args.seeds,
        baseline=baseline,
        target=args.target,
        rates=rates,
    )
    tasks = compare.load_tasks(args.task or (QUICK if args.quick else ()))
    if args.target is not None:
        _check_target(args.target, tasks)
    return tasks, optimizers, protocol


def _baseline(names: list[str], given: str | None) -> str:
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


def _check_target(target: float, tasks: list[compare.Loop | compare.Task]) -> None:
    metrics = {(task.metric_name, task.higher_is_better) for task in tasks}
    if len(metrics) > 1:
        raise ValueError(
            f"--target {target:g}: the tasks measure {' and '.join(sorted(m for m, _ in metrics))}"
            "; give --task as well"
        )
    if metrics == {("accuracy", True)} and not 0 < target <= 1:
        raise ValueError(f"--target {target:g}: accuracy lies between 0 and 1")


@contextlib.contextmanager
def _go_on_later() -> Iterator[None]:
    """Says, where the comparison is interrupted, how it is taken up again."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command with --resume goes on from here") from None


@contextlib.contextmanager
def _progress(cells: int) -> Iterator[Callable[[str, str, str], None]]:
    """A bar for `compare.run`, whose stages are two for each of the cells."""
    done = 0
    with kit.progress() as show:

        def on_stage(stage: str, task: str, name: str) -> None:
            nonlocal done
            if stage == "checked":
                show("compiling the first", 0, 2 * cells)
            else:
                done += 1
                show(f"{stage} {name} on {task}", done, 2 * cells)

        yield on_stage
