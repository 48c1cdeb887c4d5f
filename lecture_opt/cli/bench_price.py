"""`lecture-opt bench --device` and `--fits`: what is priced for a GPU that is not there."""

import argparse
import itertools
from collections.abc import Mapping, Sequence

import jax
import optax

from lecture_opt import bench, files, problems
from lecture_opt.bench import price
from lecture_opt.bench.price import fits, tables
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
        "--fits",
        choices=list(price.DEVICES),
        help="find the largest model, or batch of a --problem, that fits into this GPU",
        metavar="NAME",
    )
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="how many of them, the optimizer's state cut over all (ZeRO-1; default: 1, fits: 8)",
    )
    kit.add_repeatable(
        parser,
        "--problem",
        "the params of this loop or task, as `compare` names it, and its whole training step",
        metavar="NAME",
    )


def check(args: argparse.Namespace) -> None:
    """Raises ValueError where these options make no sense together."""
    priced = args.device or args.fits
    if args.device and args.fits:
        raise ValueError("--fits: names its own GPU; wanted it without --device")
    if args.devices is not None:
        kit.at_least("--devices", args.devices, 1)
    if args.devices is not None and not priced:
        raise ValueError("--devices: needs --device or --fits, a GPU to price for")
    if args.devices is not None and args.problem:
        raise ValueError("--devices: prices an optimizer's step alone, not that of a --problem")
    if priced and args.rounds is not None:
        raise ValueError("--rounds: nothing is timed where a GPU is priced")
    if args.fits and args.tree:
        raise ValueError("--tree: --fits takes a model of its own, or a --problem")


def run(args: argparse.Namespace, trees: Sequence[bench.Tree]) -> int:
    """Prices and prints; returns the exit status."""
    price.find()
    loops = [problems.load(name) for name in args.problem]
    optimizers = bench.optimizers(args.optimizer, args.against)
    files.make_folder("--output", args.output)
    if args.fits:
        return _fit(args, loops, optimizers)
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
        price.Priced(device, args.devices or 1, what, text, tuple(prices))
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
        return price.step(name, optimizer, shapes, args.device, count=args.devices or 1)
    return price.loop(name, optimizer, what, args.device)


def _fit(
    args: argparse.Namespace,
    loops: Sequence[problems.Loop | problems.Task],
    optimizers: Mapping[str, optax.GradientTransformation],
) -> int:
    """Finds what fits and prints it."""
    listed = list(fits.entries(optimizers, args.devices or 8))
    total, done = len(loops) * len(optimizers) or len(listed), itertools.count()
    found: dict[str, list[price.Fit]] = {}
    with kit.progress() as show:
        for loop in loops:
            for name, optimizer in optimizers.items():
                show(f"{loop.name}: {name}", next(done), total)
                fit = price.largest_batch(name, optimizer, loop, args.fits)
                found.setdefault(f"a training step of {loop.name}", []).append(fit)
        for entry in [] if loops else listed:
            show(entry.name, next(done), total)
            fit = price.largest_model(entry, args.fits)
            found.setdefault("params, gradients and state of a decoder", []).append(fit)
    for what, those in found.items():
        unit = "batch" if loops else "layers"
        kit.print_whole(tables.fitting(those, named(args.fits), what, unit))
    path = args.output / "fits.json"
    files.write_json(path, {"format": 1, "jax": jax.__version__, "fits": found})
    kit.say_written([path])
    return kit.OK
