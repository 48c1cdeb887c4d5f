"""`lecture-opt bench`: parses, calls, prints."""

import argparse
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Measure what an optimizer costs, beside others in the same run: initialising, tracing, lowering,
compiling, the first and the steady step (the update and its application, params and state
donated, as in training), an update outside jit, memory, and how far the step is
from the time that moving its bytes once would take on this device.

  lecture-opt bench                                   the lecture's Adam beside optax's
  lecture-opt bench --quick                           the same on trees a tenth of the size
  lecture-opt bench optax:lion --against optax:adam --tree transformer --tree large
  lecture-opt bench my_file.py:my_opt --against lecture:adam --against 'optax:adam(b1=0.8)'
  lecture-opt bench rows                              row-sparse updates; see its own --help

An optimizer is lecture:NAME, optax:NAME, path/to/file.py:NAME or package.module:NAME, a function
that returns an (init, update) pair, or such a pair; keyword arguments in brackets are read as
literals. Where PyTorch is installed and has the same optimizer fused, it is measured too.

How to read it: in each round, in an order drawn anew, every optimizer takes two steps, of which the
second is timed. A ratio is the median over rounds of the first's step over the other's, below 1
where the first is faster. An interval that reaches over 1 tells nothing. Leave the machine alone
meanwhile.
Exit status: 0 measured, 2 the request could not be understood."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `bench`."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("optimizer", nargs="?", default="lecture:adam", help="default: %(default)s")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="OPTIMIZER",
        help="repeatable; default: optax's equal, or optax:adam where there is none",
    )
    parser.add_argument(
        "--tree",
        action="append",
        default=[],
        help="repeatable: large, leaves-400, leaves-2000, transformer, bfloat16; default: all",
    )
    parser.add_argument("--rounds", type=int, help="timed steps of each (default: 40; quick: 20)")
    parser.add_argument(
        "--output", type=Path, default=Path("results"), help="folder (default: results)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the elements or leaves")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    try:
        import rich.console
        import rich.progress

        from lecture_opt import bench, files
        from lecture_opt.bench import plots, study, tables
    except ImportError as error:
        print(f"bench needs {error.name}: pip install 'lecture_opt[judge]'", file=sys.stderr)
        return 2
    try:
        chosen = chosen_trees(args.tree, bench.trees(quick=args.quick))
        rounds = args.rounds if args.rounds is not None else 20 if args.quick else 40
        if rounds < 1:
            raise ValueError(f"--rounds {rounds}: must be positive")
        optimizers = bench.optimizers(args.optimizer, args.against)
        files.make_folder("--output", args.output)
        columns = (
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            "[progress.description]{task.description}",
        )
        console = rich.console.Console(stderr=True)
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("copy bandwidth", total=study.parts(optimizers, chosen))
            results = bench.run(
                optimizers,
                chosen,
                rounds=rounds,
                bandwidth_bytes=32_000_000 if args.quick else 256_000_000,
                on_done=lambda text: bar.update(task, advance=1, description=text),
            )
    except (ValueError, OSError) as error:
        print(f"lecture-opt bench: {error}", file=sys.stderr)
        return 2
    bench.write(results, args.output / "bench.json")
    path = plots.draw(results, args.output / "bench.png")
    out = rich.console.Console()
    out.width = max(out.width, 160)  # narrower, the tables break their numbers
    for tree in results["trees"]:
        out.print(tables.costs(tree, results["bandwidth_bytes_per_second"]), "")
    out.print(f"Written: {args.output / 'bench.json'}, {path}", soft_wrap=True)
    return 0


def chosen_trees(names: list[str], known: dict[str, Any]) -> list[Any]:
    """The trees of these names, all where none is given; ValueError names the known ones."""
    for name in names:
        if name not in known:
            raise ValueError(f"--tree {name}: no such tree; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())
