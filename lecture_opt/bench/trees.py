"""The parameter trees a step is measured on: few large leaves, many small ones, a transformer."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lecture_opt.numerics import PyTree


class Tree(NamedTuple):
    """A named tree of parameters.

    Attributes:
        name: What the tables call it.
        text: What it is, for the tables.
        make: () -> params.
    """

    name: str
    text: str
    make: Callable[[], PyTree]


NAMES = ("large", "leaves-400", "leaves-2000", "transformer", "bfloat16")


def trees(*, quick: bool = False) -> dict[str, Tree]:
    """The trees by `NAMES`; with `quick` each has about a tenth of the elements or leaves.

    >>> sorted(trees())
    ['bfloat16', 'large', 'leaves-2000', 'leaves-400', 'transformer']
    """
    large, some, many, layers = (1_600_000, 40, 200, 2) if quick else (16_000_000, 400, 2_000, 12)
    listed = (
        Tree("large", f"one leaf of {large:,}", lambda: {"w": jnp.full(large, 0.5)}),
        Tree(f"leaves-{some}", f"{some:,} leaves of 1,000", lambda: _equal(some)),
        Tree(f"leaves-{many}", f"{many:,} leaves of 1,000", lambda: _equal(many)),
        Tree("transformer", f"a transformer of {layers} layers", lambda: transformer(layers)),
        Tree(
            "bfloat16",
            f"the transformer of {layers} layers in bfloat16",
            lambda: jax.tree.map(lambda p: p.astype(jnp.bfloat16), transformer(layers)),
        ),
    )
    return dict(zip(NAMES, listed, strict=True))


def _equal(leaves: int) -> PyTree:
    return {f"w{i:04d}": jnp.full(1_000, 0.5) for i in range(leaves)}


def transformer(layers: int, width: int = 256, vocabulary: int = 8_000) -> PyTree:
    """Params shaped as a decoder-only transformer's: an embedding and `layers` equal blocks."""

    def norm() -> PyTree:
        return {"scale": jnp.ones(width), "bias": jnp.full(width, 0.5)}

    def dense(inputs: int, outputs: int) -> PyTree:
        return {"w": jnp.full((inputs, outputs), 0.5), "b": jnp.full(outputs, 0.5)}

    def block() -> PyTree:
        return {
            "norms": [norm(), norm()],
            "attention": {name: dense(width, width) for name in ("q", "k", "v", "out")},
            "mlp": [dense(width, 4 * width), dense(4 * width, width)],
        }

    embedding = jnp.full((vocabulary, width), 0.5)
    return {"embedding": embedding, "blocks": [block() for _ in range(layers)], "norm": norm()}
