"""XLA's text of a compiled program, read into instructions.

>>> computations, entry = parse('''
... ENTRY %main (x: f32[1000]) -> f32[1000] {
...   %x = f32[1000]{0} parameter(0)
...   ROOT %out = f32[1000]{0} negate(%x)
... }
... ''')
>>> root = computations[entry][ROOT]
>>> root.op, root.operands, size(root.shape)
('negate', ('x',), 4000)
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

ROOT = "ROOT"
"""The key of a computation's last instruction, which stands under its own name, too."""

_ARRAY = re.compile(
    r"(?:pred|(?:bf|f|s|u|c)(\d+)\w*)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\)[^}S]*(S)?)?)?"
)
"""Bits, axes, order from the minor one, and of a TPU's layouts the tile and a memory beside HBM."""
_NAME = re.compile(r"%([\w.\-]+)")
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")


class Instruction(NamedTuple):
    """One line: `name = shape op(inside), rest`; `operands` are the names that are inside."""

    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    inside: str
    rest: str


Computation: TypeAlias = dict[str, Instruction]
Computations: TypeAlias = Mapping[str, Computation]


def parse(text: str) -> tuple[Computations, str]:
    """Every computation by its name, and the name of the one that is run."""
    computations: dict[str, Computation] = {}
    entry, current = "", {}
    for line in text.splitlines():
        if line[:1] in ("%", "E"):
            head = _HEAD.match(line)
            if head:
                current = computations[head[2]] = {}
                entry = head[2] if head[1] else entry
        elif (found := _LINE.match(line)) is not None:
            instruction = _instruction(found[2], line[found.end() :])
            current[found[2]] = instruction
            if found[1]:
                current[ROOT] = instruction
    return computations, entry


def own(computation: Computation) -> Iterator[Instruction]:
    """Each instruction once."""
    return (one for name, one in computation.items() if name != ROOT)


def called(computations: Computations, one: Instruction, attribute: str) -> Computation:
    """The computation that an attribute of the instruction names; empty where it names none."""
    found = re.search(rf"\b(?:{attribute})=%?([\w.\-]+)", one.rest)
    return computations[found[1]] if found else {}


def names(text: str) -> list[str]:
    """The names in a list of operands or computations."""
    return _NAME.findall(text)


def arrays(shape: str) -> list[tuple[int, ...]]:
    """The axes of each array of a shape.

    >>> arrays("(f32[2,3]{1,0}, pred[])")
    [(2, 3), ()]
    """
    return [_numbers(axes) for _, axes, *_ in _ARRAY.findall(shape)]


def size(shape: str) -> int:
    """Bytes of the arrays of a shape; a TPU fills them up to whole tiles.

    >>> size("(f32[2,3]{1,0}, bf16[4]{0}, pred[])"), size("f32[2,200]{1,0:T(8,128)}")
    (33, 8192)
    """
    return sum(map(_bytes, _ARRAY.findall(shape)))


def in_main_memory(shape: str) -> int:
    """Bytes of the arrays of a shape that lie in the device's main memory, a TPU's HBM.

    >>> in_main_memory("(f32[1024]{0:T(1024)S(1)}, f32[1024]{0:T(1024)})")
    4096
    """
    return sum(_bytes(array) for array in _ARRAY.findall(shape) if not array[-1])


def on_scalar_core(computation: Computation, one: Instruction) -> bool:
    """Whether a TPU's scalar core runs it, beside what moves arrays."""
    shapes = (one.shape, *(computation[name].shape for name in one.operands))
    return all(re.match(r"\w+\[\]\{:T\(", shape) for shape in shapes)


def _bytes(array: tuple[str, ...]) -> int:
    bits, axes, order, tile, _ = array
    lengths = _numbers(axes)
    if tile:
        ordered = [1, *(lengths[axis] for axis in reversed(_numbers(order)))]
        tiled = _numbers(tile)
        while len(ordered) < len(tiled):
            ordered.insert(0, 1)
        last = zip(ordered[-len(tiled) :], tiled, strict=True)
        lengths = (*ordered[: -len(tiled)], *(-(-length // by) * by for length, by in last))
    return math.ceil(math.prod(lengths) * int(bits or 8) / 8)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(","))))


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    opening = text.index("(")
    closing = _closing(text, opening)
    inside = text[opening + 1 : closing - 1]
    return Instruction(name, shape, text[:opening], tuple(names(inside)), inside, text[closing:])


def _closing(text: str, start: int) -> int:
    """One past the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"a bracket stays open in {text[:80]}")
