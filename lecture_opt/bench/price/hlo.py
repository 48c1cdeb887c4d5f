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

_ARRAY = re.compile(r"(pred|(?:bf|f|s|u|c)(\d+)\w*)\[([\d,]*)\]")
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
    return [tuple(map(int, filter(None, axes.split(",")))) for *_, axes in _ARRAY.findall(shape)]


def size(shape: str) -> int:
    """Bytes of the arrays of a shape.

    >>> size("(f32[2,3]{1,0}, bf16[4]{0}, pred[])")
    33
    """
    widths = [int(bits or 8) for _, bits, _ in _ARRAY.findall(shape)]
    counts = map(math.prod, arrays(shape))
    return sum(math.ceil(n * bits / 8) for n, bits in zip(counts, widths, strict=True))


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
