"""`lecture-opt bench`: parses, calls, prints."""

import argparse
import dataclasses
import itertools

from lecture_opt import bench, files, problems
from lecture_opt.bench import plots, share, study, tables
from lecture_opt.cli import bench_price, kit

DESCRIPTION = f"""\
Measure what an optimizer costs, beside others in the same run: initialising, tracing, lowering,
compiling, the first and the steady step (the update and its application, params and state
donated, as in training), an update outside jit, memory, and how far the step is
from the time that moving its bytes once would take on this device.

  lecture-opt bench                                   the lecture's Adam beside optax's
  lecture-opt bench --quick                           the same on trees a tenth of the size
  lecture-opt bench optax:lion --against optax:adam --tree transformer --tree large
  lecture-opt bench my_file.py:my_opt --against lecture:adam --against 'optax:adam(b1=0.8)'
  lecture-opt bench optax:lion --problem my_train.py:loop   the params of your own training loop
  lecture-opt bench rows                              row-sparse updates; see its own --help
  lecture-opt bench --device h100                     what it would cost on a GPU that isn't here
  lecture-opt bench --device h100 --devices 8         the same with its state cut over eight
  lecture-opt bench --fits h100                       the largest model, by optimizer
  lecture-opt bench --fits h100 --problem my_file.py:my_loop        its largest batch

{kit.OPTIMIZER}
Where PyTorch is installed and has the same optimizer fused, it is measured too.

How to read it: in each round, in an order drawn anew, every optimizer takes two steps, of which the
second is timed. A ratio is the median over rounds of the first's step over the other's, below 1
where the first is faster. An interval that reaches over 1 tells nothing. Leave the machine alone
meanwhile.

With --device nothing is measured: XLA compiles the step for that GPU, and its kernels, bytes and
temporaries are counted in the program; each time is predicted from them. This takes the packages of
the extra gpu-price; in an environment of its own, as JAX then says at each start that it finds no
GPU.
Exit status: 0 measured, 2 the request could not be understood."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `bench`."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "optimizer",
        nargs="?",
        default="lecture:adam",
        help="what to measure (default: %(default)s)",
    )
    kit.add_repeatable(
        parser,
        "--against",
        "what to measure beside it (default: optax's equal, or optax:adam)",
        metavar="OPTIMIZER",
    )
    kit.add_repeatable(
        parser, "--tree", f"{', '.join(bench.trees())} (default: all)", metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, help="timed steps of each (default: 40; quick: 20)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the elements or leaves")
    bench_price.add_options(parser)
    kit.add_folder(parser, "results")


def run(args: argparse.Namespace) -> int:
    """Measures, or predicts, and prints; returns the exit status."""
    bench_price.check(args)
    chosen = chosen_trees(args.tree, bench.trees(quick=args.quick))
    rounds = args.rounds if args.rounds is not None else 20 if args.quick else 40
    kit.at_least("--rounds", rounds, 1)
    if args.device or args.fits:
        return bench_price.run(args, chosen)
    optimizers = bench.optimizers(args.optimizer, args.against)
    loops = [problems.load(name) for name in args.problem]
    chosen = [*(chosen if args.tree or not loops else ()), *map(share.tree, loops)]
    files.make_folder("--output", args.output)
    done, parts = itertools.count(1), study.parts(optimizers, chosen)
    with kit.progress() as show:
        show("compiling the first", 0, parts)
        results = bench.run(
            optimizers, chosen, rounds=rounds, on_done=lambda text: show(text, next(done), parts)
        )
        shares = [share.shares(optimizers, loop, rounds=rounds) for loop in loops]
    path = args.output / "bench.json"
    bench.write(dataclasses.replace(results, problems=tuple(itertools.chain(*shares))), path)
    picture = plots.draw(results, args.output / "bench.png")
    for tree in results.trees:
        kit.print_whole(tables.costs(tree))
        print(*tables.sentences(tree), "", sep="\n")
    for one in shares:
        kit.print_whole(share.table(one))
    kit.say_written([path, picture])
    return kit.OK


def chosen_trees(names: list[str], known: dict[str, bench.Tree]) -> list[bench.Tree]:
    """The trees of these names, all where no name is given; ValueError names the known ones."""
    for name in names:
        if name not in known:
            raise ValueError(f"--tree {name}: unknown; the trees are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())
