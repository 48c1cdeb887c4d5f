"""`lecture-opt compare`: parses, calls, prints."""

import argparse
import collections
import contextlib
import sys
from collections.abc import Iterator

import jax

from lecture_opt import compare, files, specs
from lecture_opt.cli import cache, compare_options, kit
from lecture_opt.compare import expectations
from lecture_opt.compare.runs import processes
from lecture_opt.compare.runs.study import OnShare, OnStage
from lecture_opt.compare.show import report, terminal
from lecture_opt.environment import check_device
from lecture_opt.problems import TASKS

EPILOG = f"""\
examples:
  lecture-opt compare                      the lecture's six and their optax baselines, six tasks
  lecture-opt compare --quick              the same optimizers, coarser and sooner
  lecture-opt compare --suite modern       AdamW, Muon, Lion and others on networks of today
  lecture-opt compare --task digits-mlp --optimizer lecture:adam --optimizer optax:lion
  lecture-opt compare --optimizer my_file.py:my_opt --optimizer optax:adam --task my_file.py:my_task
  lecture-opt compare --optimizer 'optax:adam(b1=log1m(0.8, 0.99))' --optimizer optax:adam

{kit.OPTIMIZER}
Here NAME must be a function that takes learning_rate, and an argument may be a range to tune over:
log(low, high), log1m(low, high) (for decays near 1), uniform(low, high) or choice(a, b, ...).

How it is done: each optimizer gets the same number of settings (a grid of learning rates, from
1e-4 to 10 in the suite lecture and to 1 in modern, or quasi-random draws where more is tuned; then
others around the best). Tuning seeds choose one by the validation metric; other seeds, the same for
all, report it on the test part. A seed draws the split of the data too, where the task has one pool
of them. Differences from the baseline are paired by seed; what other tuning seeds would have chosen
is part of their intervals. A verdict is better, worse, equivalent (within the margin) or undecided;
it errs at most as often as stated, however often one looks.

tasks: {", ".join(TASKS)}
suite lecture: {", ".join(compare.SUITES["lecture"].tasks)}
suite modern: {", ".join(compare.SUITES["modern"].tasks)}"""

UNDECIDED = 3
"""Exit status where an expectation is neither met nor refuted."""

WRITTEN = ("report.html", "results.json", "runs.csv", "curves.csv", "tables.tex", "figures")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `compare`."""
    parser.epilog = EPILOG
    cache.add_option(parser)
    compare_options.add_problems(parser)
    compare_options.add_protocol(parser)
    kit.add_folder(parser, "results")
    add = parser.add_argument
    kit.add_repeatable(
        parser,
        "--expect",
        "fail unless 'A better than B' or 'A not worse than B' on every task (status 1, or 3 where "
        "that is undecided)",
        metavar="TEXT",
    )
    add("--quick", action="store_true", help="fewer tasks, steps, settings and tuning seeds")
    add(
        "--resume",
        action="store_true",
        help="run what the folder lacks alone: after a kill, or with more --seeds or optimizers",
    )
    add(
        "--distributed",
        nargs="?",
        const="",
        metavar="HOST:PORT,PROCESSES,PROCESS",
        help="share the work with the processes that SLURM, Open MPI or GKE started; without one "
        "of these, process 0 is at HOST:PORT",
    )


def run(args: argparse.Namespace) -> int:
    """Compares and prints; returns the exit status."""
    if args.distributed is not None:
        processes.start(args.distributed)
    check_device("compare")
    tasks, optimizers, protocol = compare_options.chosen(args)
    files.make_folder("--output", args.output)
    path = args.output / "results.json"
    store, ledger = compare.Store(args.output / "runs"), None
    if jax.process_index() == 0:
        ledger = compare.Ledger(args.output / "judged.json")
    if not (args.resume or jax.process_index() > 0):
        store.remove()
    study, most = _look(tasks, optimizers, protocol, store, ledger), args.max_seeds
    while args.until and not expectations.is_clear(study) and protocol.seeds < most:
        protocol = expectations.extended(protocol, min(2 * protocol.seeds, most))
        study = _look(tasks, optimizers, protocol, store, ledger)
    if jax.process_index() > 0:
        return kit.OK
    compare.write(study, path)
    terminal.show(study, kit.console(80))
    report.write(compare.read(path), args.output)
    kit.say_written(args.output / name for name in WRITTEN)
    refuted, undecided = expectations.unmet(study, compare_options.expected(args))
    for sentence in (*refuted, *undecided):
        print(f"Not as expected: {sentence}")
    if refuted or any(task.failures for task in study.tasks):
        return kit.FAILED
    return UNDECIDED if undecided else kit.OK


def _look(
    tasks: list[compare.Loop | compare.Task],
    optimizers: list[specs.OptimizerSpec],
    protocol: compare.Protocol,
    store: compare.Store,
    ledger: compare.Ledger | None,
) -> compare.Study:
    ours = sum(map(processes.is_ours, range(len(optimizers))))
    with _go_on_later(), _progress(len(tasks) * ours) as (on_stage, on_share):
        return compare.run(
            tasks,
            optimizers,
            protocol,
            store=store,
            ledger=ledger,
            on_stage=on_stage,
            on_share=on_share,
        )


@contextlib.contextmanager
def _go_on_later() -> Iterator[None]:
    """Says, where the comparison is interrupted, how it is taken up again."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command with --resume goes on from here") from None


@contextlib.contextmanager
def _progress(cells: int) -> Iterator[tuple[OnStage, OnShare]]:
    """A bar for `compare.run`, whose stages are two for each of the cells.

    Those that a cell had left when it failed count as done.
    """
    done, shares = collections.Counter[tuple[str, str]](), dict[tuple[str, str], float]()
    with kit.progress() as show:

        def on_stage(stage: str, task: str, name: str) -> None:
            shares.pop((task, name), None)
            if stage == "checked":
                show("compiling the first", done.total(), 2 * cells)
            elif stage.startswith("failed"):
                print(f"{name} on {task} {stage}", file=sys.stderr)
                done[task, name] = 2
            else:
                done[task, name] += 1
                show(f"{stage} {name} on {task}", done.total(), 2 * cells)

        def on_share(stage: str, task: str, name: str, share: float) -> None:
            if not stage.startswith("twin"):
                shares[task, name] = share
            text = f"{stage} to {share:.0%}: {name} on {task}"
            show(text, done.total() + sum(list(shares.values())), 2 * cells)

        yield on_stage, on_share
