"""What a comparison is asked for: the options, and the tasks, optimizers and protocol they mean."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from lecture_opt import compare, specs
from lecture_opt.cli import kit
from lecture_opt.compare import expectations, space


def add_problems(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what is compared on what."""
    kit.add_repeatable(
        parser,
        "--task",
        "a name below or path/to/file.py:NAME (default: the suite's)",
        metavar="NAME",
    )
    kit.add_repeatable(parser, "--optimizer", "default: the suite's", metavar="OPTIMIZER")
    parser.add_argument(
        "--suite",
        choices=list(compare.SUITES),
        default="lecture",
        help="tasks, optimizers and budget where they are not given: the lecture's six beside "
        "optax's on small data, or optimizers of today on a transformer, a recurrent and a "
        "convolutional net, a VAE and word vectors (default: %(default)s)",
    )
    parser.add_argument(
        "--scale",
        type=_scales,
        default=(1,),
        metavar="N[,N...]",
        help="factors of the parameters, for tasks that have sizes (default: 1)",
    )


def _scales(text: str) -> tuple[int, ...]:
    """The sizes that `--scale` lists."""
    sizes = text.replace(" ", "").split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text}: wanted positive integers, as in 1,4,16")
    return tuple(dict.fromkeys(map(int, sizes)))


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how everyone is tuned and reported."""
    add = parser.add_argument
    add(
        "--baseline",
        metavar="OPTIMIZER",
        help="the optimizer that the others are measured against "
        "(default: optax:adam where it takes part, else the first of optax's, else the first)",
    )
    _add_lengths(parser)
    add("--seeds", type=int, metavar="N", help="seeds that report (default: the suite's)")
    add(
        "--budget",
        type=int,
        metavar="N",
        help="settings tried for each optimizer (default: the suite's; quick: half of them)",
    )
    add(
        "--rates",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="rates to search where an optimizer declares no range (default: the suite's)",
    )
    kit.add_repeatable(
        parser,
        "--tune",
        "search this too, for every optimizer that takes it and is given no value or range",
        choices=list(space.TUNED),
    )
    add(
        "--schedule",
        metavar="SHAPE",
        help="of every learning rate over a run, warmup_cosine(0.05), warmup_linear(0.05) or "
        "warmup_constant(0.05), which rise over 5%% of the steps; the peak is tuned",
    )
    add(
        "--margin",
        metavar="VALUE",
        help="smallest difference that matters, 0.01 in the metric or 2%% of the baseline's "
        "(default: the measured noise floor)",
    )
    _add_looks(parser)


def _add_looks(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which seeds run, and when a run is looked at."""
    add = parser.add_argument
    add("--until", choices=["clear"], help="add seeds until each verdict is decided")
    add("--max-seeds", type=int, default=40, help="where --until stops (default: %(default)s)")
    add(
        "--first-seed",
        type=int,
        default=0,
        help="where the seeds that report start: machines may take different ones, with the same "
        "--seeds, which says how many tune as well; then merge (default: %(default)s)",
    )
    add(
        "--target",
        type=float,
        metavar="VALUE",
        help="validation metric to count the steps to (default: the task's own, else what the best "
        "baseline reaches)",
    )
    add(
        "--choose",
        choices=["last", "best"],
        default="last",
        help="take a run's metric at its last or at its best validation evaluation, in tuning and "
        "in the report (default: %(default)s)",
    )


def _add_lengths(parser: argparse.ArgumentParser) -> None:
    """Adds the options that override what each task says."""
    add = parser.add_argument
    add("--steps", type=int, help="steps of a run (default: the task's own; quick: half of them)")
    add("--batch-size", type=int, metavar="N", help="of a minibatch (default: the task's own)")
    add(
        "--evaluations",
        type=int,
        metavar="N",
        help="how often a run is evaluated (default: the task's own)",
    )


def chosen(
    args: argparse.Namespace,
) -> tuple[list[compare.Loop | compare.Task], list[specs.OptimizerSpec], compare.Protocol]:
    """What the options ask for; ValueError where it makes no sense."""
    wanted = [expectations.expectation(text) for text in args.expect]
    named = list(dict.fromkeys(text for one in wanted for text in (one.mine, one.baseline)))
    suite = compare.SUITES[args.suite]
    texts = args.optimizer or named or suite.optimizers
    optimizers = _tuned(specs.distinct([specs.parse(text) for text in texts]), args.tune)
    baseline = _baseline(optimizers, args.baseline or (wanted[0].baseline if wanted else None))
    _check_expected(expected(args), [spec.name for spec in optimizers], baseline)
    margin, relative = None, False
    if args.margin is not None:
        margin, relative = expectations.parse_margin(args.margin)
    draws = args.budget if args.budget is not None else -(-suite.draws // (1 + args.quick))
    seeds = suite.seeds if args.seeds is None else args.seeds
    overrides = {name: getattr(args, name) for name in ("steps", "batch_size", "evaluations")}
    for name, value in overrides.items():
        kit.at_least(f"--{name.replace('_', '-')}", 1 if value is None else value, 1)
    kit.at_least("--seeds", seeds, 2)
    kit.at_least("--budget", draws, 1)
    protocol = compare.Protocol(
        **overrides,
        draws=draws,
        seeds=seeds,
        tuning_seed_count=suite.tuning_seeds or (5 if args.quick else seeds),
        baseline=baseline,
        target=args.target,
        rates=_rates(args.rates or suite.rates),
        schedule=suite.schedule if args.schedule is None else args.schedule,
        margin=margin,
        relative=relative,
        first_seed=args.first_seed,
        choose=args.choose,
    )
    names = args.task or (suite.quick if args.quick else suite.tasks)
    tasks = compare.load_tasks(names, args.scale)
    if args.quick:
        tasks = [replace(task, steps=-(-task.steps // 2), target=None) for task in tasks]
    if args.target is not None:
        _check_target(args.target, tasks)
    return tasks, optimizers, protocol


def _rates(given: Sequence[float]) -> specs.Range:
    low, high = given
    if not 0 < low < high:
        raise ValueError(f"--rates {low:g} {high:g}: wanted 0 < LOW < HIGH")
    return specs.Range("log", low, high)


def _tuned(
    optimizers: Sequence[specs.OptimizerSpec], names: Sequence[str]
) -> list[specs.OptimizerSpec]:
    """The optimizers with what `--tune` names searched as well."""
    found = [space.tuned(spec, names) for spec in optimizers]
    for name in names:
        if not any(name in {*spec.search, *spec.kwargs} for spec in found):
            raise ValueError(f"--tune {name}: none of the optimizers takes it")
    return found


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


def expected(args: argparse.Namespace) -> list[expectations.Expectation]:
    """What `--expect` wants, by the names that the results have."""
    found = [expectations.expectation(text) for text in args.expect]
    return [
        one._replace(mine=specs.parse(one.mine).name, baseline=specs.parse(one.baseline).name)
        for one in found
    ]
