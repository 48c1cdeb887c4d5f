"""`lecture-opt compare`: parses, calls, prints."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

from lecture_opt import compare, files, specs
from lecture_opt.cli import cache, kit
from lecture_opt.compare import expectations
from lecture_opt.compare.show import report, terminal
from lecture_opt.environment import check_device
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

How it is done: each optimizer gets the same number of settings (a grid of learning rates
from 1e-4 to 10, or quasi-random draws where more is tuned; then others around the best). Tuning
seeds choose one by the validation metric; other seeds, the same for all, report it on the test
part, which nothing touched before. Differences from the baseline are paired by seed; what other
tuning seeds would have chosen is part of their intervals. A verdict is better, worse, equivalent
(within the margin) or undecided; it errs at most as often as stated, however often one looks.

tasks: {", ".join(TASKS)}"""

UNDECIDED = 3
"""Exit status where an expectation is neither met nor refuted."""

WRITTEN = ("report.html", "results.json", "runs.csv", "curves.csv", "tables.tex", "figures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `compare`."""
    parser.epilog = EPILOG
    cache.add_option(parser)
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
    kit.add_repeatable(
        parser,
        "--expect",
        "fail unless 'A better than B' or 'A not worse than B' on every task (status 1, or 3 where "
        "that is undecided)",
        metavar="TEXT",
    )
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
        "--margin",
        metavar="VALUE",
        help="smallest difference that matters, 0.01 in the metric or 2%% of the baseline's "
        "(default: the measured noise floor)",
    )
    add("--until", choices=["clear"], help="add seeds until each verdict is decided")
    add("--max-seeds", type=int, default=40, help="where --until stops (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="where the seeds start (default: %(default)s)")
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
    check_device("compare")
    tasks, optimizers, protocol = chosen(args)
    files.make_folder("--output", args.output)
    path = args.output / "results.json"
    store, earlier = compare.Store(args.output / "unfinished"), _earlier(path)
    protocol = expectations.continued(protocol, [spec.name for spec in optimizers], earlier)
    if not (args.resume or jax.process_index() > 0):
        study, most = _look(tasks, optimizers, protocol, store), args.max_seeds
    while args.until and not expectations.is_clear(study) and protocol.seeds < most:
        protocol = expectations.extended(protocol, min(2 * protocol.seeds, most))
        study = _look(tasks, optimizers, protocol, store)
    if jax.process_index() > 0:
        return kit.OK
    compare.write(study, path)
    store.remove()
    terminal.show(study, kit.console(80))
    report.write(compare.read(path), args.output)
    store.remove()  # last: a command killed while it draws only draws again
    kit.say_written(args.output / name for name in WRITTEN)
    refuted, undecided = expectations.unmet(study, _expected(args))
    for sentence in (*refuted, *undecided):
        print(f"Not as expected: {sentence}")
    return kit.FAILED if refuted else UNDECIDED if undecided else kit.OK


def _look(
    tasks: list[compare.Loop | compare.Task],
    optimizers: list[specs.OptimizerSpec],
    protocol: compare.Protocol,
    store: compare.Store,
) -> compare.Study:
    with _go_on_later(), _progress(len(tasks) * len(optimizers)) as on_stage:
        return compare.run(tasks, optimizers, protocol, store=store, on_stage=on_stage)


def _earlier(path: Path) -> compare.Study | None:
    """The study that this folder has; `None` where there is none that can be read."""
    try:
        return compare.read(path) if path.exists() else None
    except (ValueError, KeyError, TypeError):
        return None


def _expected(args: argparse.Namespace) -> list[expectations.Expectation]:
    """What `--expect` wants, by the names that the results have."""
    found = [expectations.expectation(text) for text in args.expect]
    return [
        one._replace(mine=specs.parse(one.mine).name, baseline=specs.parse(one.baseline).name)
        for one in found
    ]


def chosen(
    args: argparse.Namespace,
) -> tuple[list[compare.Loop | compare.Task], list[specs.OptimizerSpec], compare.Protocol]:
    """What the options ask for; ValueError where it makes no sense."""
    wanted = [expectations.expectation(text) for text in args.expect]
    named = list(dict.fromkeys(text for one in wanted for text in (one.mine, one.baseline)))
    texts = args.optimizer or named or compare.DEFAULT_OPTIMIZERS
    optimizers = specs.distinct([specs.parse(text) for text in texts])
    names = [spec.name for spec in optimizers]
    baseline = _baseline(optimizers, args.baseline or (wanted[0].baseline if wanted else None))
    _check_expected(_expected(args), names, baseline)
    margin, relative = None, False
    if args.margin is not None:
        margin, relative = expectations.parse_margin(args.margin)
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
        margin=margin,
        relative=relative,
        first_seed=args.first_seed,
    )
    tasks = compare.load_tasks(args.task or (QUICK if args.quick else ()))
    if args.target is not None:
        _check_target(args.target, tasks)
    return tasks, optimizers, protocol


def _check_expected(
    wanted: list[expectations.Expectation], names: list[str], baseline: str
) -> None:
    for one in wanted:
        if one.mine not in names or one.mine == baseline:
            raise ValueError(f"--expect: {one.mine} takes no part beside the baseline {baseline}")
        if one.baseline != baseline:
            raise ValueError(f"--expect: {one.baseline} is not the baseline, {baseline} is")


def _baseline(optimizers: Sequence[specs.OptimizerSpec], given: str | None) -> str:
    names = [spec.name for spec in optimizers]
    if given is not None:
        alike = [spec.name for spec in optimizers if given in (spec.text, spec.name)]
        name = alike[0] if alike else specs.parse(given).name
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
