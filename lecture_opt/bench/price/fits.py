"""What fits into a device: the largest model for an optimizer's step, the largest batch of a loop.

What a program needs is what XLA says of it: its arguments, results and temporaries. All of the
device's memory counts; on a GPU JAX takes three quarters of it unless
XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from lecture_opt.bench.price import devices, study
from lecture_opt.bench.price.types import Price
from lecture_opt.numerics import PyTree, tree_bytes
from lecture_opt.problems import Loop, Task, as_loop, bound

HEAD, VOCABULARY = 128, 50_304
RATE = 1e-3


class Entry(NamedTuple):
    """An optimizer, the dtype of the params it is given, and over how many devices it is cut."""

    name: str
    optimizer: optax.GradientTransformation
    dtype: Any = jnp.float32
    devices: int = 1


class Fit(NamedTuple):
    """The largest that fits.

    Attributes:
        name: Of the optimizer.
        size: Layers of the model, or examples of the batch; 0 where not even one fits.
        parameters: How many numbers the params hold.
        price: Of the largest that fits; `None` where none does.
    """

    name: str
    size: int
    parameters: int
    price: Price | None


def model(layers: int, dtype: Any = jnp.float32) -> PyTree:
    """The shapes of a decoder's params: 128 columns of width for each layer, as in GPT-3 6.7B.

    Equal layers are stacked, so that a leaf holds one matrix of all of them.

    >>> sum(leaf.size for leaf in jax.tree.leaves(model(32))) / 1e9
    6.649020416
    """
    width = HEAD * layers

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return {
        "embedding": array(VOCABULARY, width),
        "attention": array(layers, 4, width, width),
        "up": array(layers, width, 4 * width),
        "down": array(layers, 4 * width, width),
        "norms": array(layers, 4, width),
    }


def entries(named: Mapping[str, optax.GradientTransformation], count: int) -> Iterator[Entry]:
    """The named optimizers, then what is known to take less memory than AdamW, and AdamW cut."""
    matrix = contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
    matrices = dict.fromkeys(("attention", "up", "down"), matrix)
    others = {"embedding": None, "norms": None}
    yield from (Entry(name, optimizer) for name, optimizer in named.items())
    yield Entry("optax:adamw", optax.adamw(RATE))
    yield Entry("optax:adamw, bfloat16 mean", optax.adamw(RATE, mu_dtype=jnp.bfloat16))
    yield Entry("optax:adamw, all in bfloat16", optax.adamw(RATE), jnp.bfloat16)
    yield Entry("optax:lion", optax.lion(RATE))
    muon = contrib.muon(RATE, muon_weight_dimension_numbers={**matrices, **others})
    yield Entry("optax.contrib:muon", muon)
    yield Entry("optax:adafactor", optax.adafactor(RATE))
    yield Entry(f"optax:adamw, ZeRO-1 over {count}", optax.adamw(RATE), devices=count)


def largest_model(entry: Entry, device: str) -> Fit:
    """The largest `model` whose params, gradients, state and step fit; activations come on top."""
    memory = devices.named(device).memory
    priced: dict[int, Price] = {}

    def fits(layers: int) -> bool:
        name, optimizer, dtype, count = entry
        try:
            price = study.step(name, optimizer, model(layers, dtype), device, count=count)
        except MemoryError:
            return False
        priced[layers] = price
        return price.peak <= memory

    most = 1  # the first whose params and gradients alone do not fit
    while 2 * tree_bytes(model(most, entry.dtype)) <= memory:
        most += 1
    size = largest(fits, 0, _by_state(entry, most, memory))
    params = model(max(size, 1), entry.dtype)
    count = sum(leaf.size for leaf in jax.tree.leaves(params)) if size else 0
    return Fit(entry.name, size, count, priced.get(size))


def largest_batch(
    name: str, optimizer: optax.GradientTransformation, problem: Loop | Task, device: str
) -> Fit:
    """The largest batch, to a percent of memory, with which a training step of the problem fits.

    On a TPU, where memory does not grow evenly, the largest that fits of at most twelve tried.

    Raises:
        ValueError: Its batches come from a list or a stream, whose size is not the loop's.
    """
    loop = as_loop(problem)
    train = loop.parts()[0]
    if callable(train) or isinstance(train, list):
        raise ValueError(f"{loop.name}: its data are batches already; wanted arrays of examples")
    memory = devices.named(device).memory
    priced: dict[int, Price | None] = {}

    def peak(size: int) -> float:
        sized = dataclasses.replace(loop, batch_size=size)
        try:
            priced[size] = study.loop(name, optimizer, sized, device)
        except MemoryError:
            priced[size] = None
        price = priced[size]
        return price.peak if price else math.inf

    before, needed, size = 0, 0.0, loop.batch_size
    while size not in priced and len(priced) < 12:
        more = peak(size)
        if 0.99 * memory <= more <= memory:
            break
        if math.isinf(more):  # how much too large it is, the compiler doesn't say
            size = _round((before + size) / 2)
        else:  # each example takes about as much as the others
            each = max((more - needed) / (size - before), 1.0)
            before, needed, size = size, more, _round(size + (0.995 * memory - more) / each)
    held = {size: price.peak for size, price in priced.items() if price}
    best = max((size for size, peak in held.items() if peak <= memory), default=0)
    params, _ = bound.trained_by(loop, optimizer)
    return Fit(name, best, sum(leaf.size for leaf in jax.tree.leaves(params)), priced.get(best))


def _round(size: float) -> int:
    """Rounded down to a multiple of eight, to which the compiler pads; at least one."""
    return max(1, int(size) // 8 * 8 or int(size))


def largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number from `low`, which fits, to below `high`, which doesn't, that fits.

    The last before `high` is tried first.

    >>> largest(lambda n: n * n <= 200, 0, 100)
    14
    """
    middle = high - 1
    while high - low > 1:
        low, high = (middle, high) if fits(middle) else (low, middle)
        middle = (low + high) // 2
    return low


def _by_state(entry: Entry, most: int, memory: float) -> int:
    """The first number of layers whose params, gradients and state alone do not fit."""

    def holds(layers: int) -> bool:
        params = model(layers, entry.dtype)
        state = jax.eval_shape(entry.optimizer.init, params)
        held = 2 * tree_bytes(params) + tree_bytes(state) / entry.devices
        return held <= memory

    return largest(holds, 0, most) + 1
