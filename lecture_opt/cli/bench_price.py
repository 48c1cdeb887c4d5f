"""`lecture-opt bench --device`: what is priced for a GPU that is not there."""

import argparse
from collections.abc import Sequence

import jax
import optax

from lecture_opt import bench, files, problems
from lecture_opt.bench import price
from lecture_opt.bench.price import tables
from lecture_opt.bench.price.devices import named
from lecture_opt.cli import kit


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that price instead of measuring."""
    parser.add_argument(
        "--device",
        choices=list(price.DEVICES),
        help="predict the cost on this GPU, which need not be here: %(choices)s",
        metavar="NAME",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="so many of --device, the optimizer's state cut over them (ZeRO-1; default: 1)",
    )
    kit.add_repeatable(
        parser,
        "--problem",
        "with --device: a whole training step of this loop or task, as `compare` names it",
        metavar="NAME",
    )


def check(args: argparse.Namespace) -> None:
    """Raises ValueError where these options make no sense together."""
    kit.at_least("--devices", args.devices, 1)
    alone = {"--devices": args.devices > 1, "--problem": bool(args.problem)}
    for option, given in alone.items():
        if given and not args.device:
            raise ValueError(f"{option}: needs --device, a GPU to price for")
    if args.problem and args.devices > 1:
        raise ValueError("--devices: prices an optimizer's step alone, not that of a --problem")
    if args.device and args.rounds is not None:
        raise ValueError("--rounds: nothing is timed where --device is priced")


def run(args: argparse.Namespace, trees: Sequence[bench.Tree]) -> int:
    """Prices and prints; returns the exit status."""
    price.find()
    loops = [problems.load(name) for name in args.problem]
    optimizers = bench.optimizers(args.optimizer, args.against)
    files.make_folder("--output", args.output)
    chosen = [] if loops and not args.tree else trees
    total, done = len(optimizers) * (len(chosen) + len(loops)), 0
    found: list[tuple[str, str, list[price.Price]]] = []
    with kit.progress() as show:
        for what in (*chosen, *loops):
            prices = []
            for name, optimizer in optimizers.items():
                show(f"{what.name}: {name}", done, total)
                prices.append(_price(args, what, name, optimizer))
                done += 1
            text = what.text if isinstance(what, bench.Tree) else "a training step"
            found.append((what.name, text, prices))
    device = named(args.device).text
    results = [
        price.Priced(device, args.devices, what, text, tuple(prices))
        for what, text, prices in found
    ]
    for one in results:
        kit.print_whole(tables.prices(one))
        print(*tables.sentences(one), "", sep="\n")
    path = args.output / "price.json"
    files.write_json(path, {"format": 1, "jax": jax.__version__, "priced": results})
    kit.say_written([path])
    return kit.OK


def _price(
    args: argparse.Namespace,
    what: bench.Tree | problems.Loop | problems.Task,
    name: str,
    optimizer: optax.GradientTransformation,
) -> price.Price:
    if isinstance(what, bench.Tree):
        shapes = jax.eval_shape(what.make)
        return price.step(name, optimizer, shapes, args.device, count=args.devices)
    return price.loop(name, optimizer, what, args.device)
