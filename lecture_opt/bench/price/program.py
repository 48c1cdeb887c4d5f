"""What a compiled program does: its kernels and collectives, read from XLA's text of it.

>>> text = '''
... %twice (p: f32[1000]) -> f32[1000] {
...   %p = f32[1000]{0} parameter(0)
...   ROOT %sum = f32[1000]{0} add(%p, %p)
... }
...
... ENTRY %main (x: f32[1000]) -> f32[1000] {
...   %x = f32[1000]{0} parameter(0)
...   ROOT %out = f32[1000]{0} fusion(%x), kind=kLoop, calls=%twice
... }
... '''
>>> read(text, devices=1)[0]
(Kernel(name='out', read=4000, written=4000, flops=0, times=1, arguments=(0,)),)
"""

import math
import re
from collections.abc import Callable, Iterator

from lecture_opt.bench.price import hlo
from lecture_opt.bench.price.hlo import ROOT, Computation, Computations, Instruction
from lecture_opt.bench.price.types import Collective, Kernel

_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "add-dependency", "domain",
}  # fmt: skip
_VIEWS = {"get-tuple-element", "bitcast", "tuple", "copy", "opt-barrier"}
_SLICES = {"dynamic-slice", "slice", "gather"}
_IN_PLACE = {"dynamic-update-slice": 1, "scatter": 2}
"""The operand that holds what is written; the first is the array that is changed in place."""
_SENT: dict[str, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "all-gather": lambda n: n - 1,
    "collective-permute": lambda _: 1,
    "collective-broadcast": lambda _: 1,
}
"""What a device sends in a ring of n, as a multiple of the bytes that it holds before."""


def read(text: str, *, devices: int) -> tuple[tuple[Kernel, ...], tuple[Collective, ...]]:
    """The kernels and the collectives of `compiled.as_text()`, in the program's order.

    A kernel reads its arguments once and writes its results once; where it only looks at a slice
    or changes a part in place, that part counts. A loop without a known number of turns counts
    once, and of a conditional's branches the one that moves most.

    Args:
        text: Of a program for one device, or for one of several.
        devices: How many take part in each collective.
    """
    computations, entry = hlo.parse(text)
    parts = list(_walk(computations, computations[entry], 1, devices))
    kernels = tuple(part for part in parts if isinstance(part, Kernel))
    return kernels, tuple(part for part in parts if isinstance(part, Collective))


def _walk(
    computations: Computations, computation: Computation, times: int, devices: int
) -> Iterator[Kernel | Collective]:
    for one in hlo.own(computation):
        kind = one.op.removesuffix("-start")
        if one.op in _FREE or one.op.endswith(("-done", "-update")):
            continue
        if kind in _SENT:
            held = sum(hlo.size(computation[name].shape) for name in one.operands)
            yield Collective(kind, round(_SENT[kind](devices) * held), times)
        elif one.op == "while":
            turns = re.search(r'"known_trip_count":\{"n":"(\d+)"', one.rest)
            count = times * (int(turns[1]) if turns else 1)
            for part in ("condition", "body"):
                inner = hlo.called(computations, one, part)
                yield from _walk(computations, inner, count, devices)
        elif one.op == "conditional":
            yield from _dearest(computations, one, times, devices)
        elif kind in ("call", "async"):
            inner = hlo.called(computations, one, "calls|to_apply")
            yield from _walk(computations, inner, times, devices)
        else:
            yield _kernel(computations, computation, one, times)


def _dearest(
    computations: Computations, one: Instruction, times: int, devices: int
) -> list[Kernel | Collective]:
    """What the branch that moves most bytes does."""
    listed = re.search(r"branch_computations=\{([^}]*)\}", one.rest)
    branches = [
        list(_walk(computations, computations[name], times, devices))
        for name in hlo.names(listed[1] if listed else one.rest)
        if name in computations
    ]
    return max(branches, key=_moved, default=[])


def _moved(parts: list[Kernel | Collective]) -> int:
    return sum(part.read + part.written for part in parts if isinstance(part, Kernel))


def _kernel(
    computations: Computations, computation: Computation, one: Instruction, times: int
) -> Kernel:
    inputs = list(dict.fromkeys(one.operands))
    fused = hlo.called(computations, one, "calls") if one.op == "fusion" else {}
    if fused:
        parameters = {int(i.inside): i for i in hlo.own(fused) if i.op == "parameter"}
        taken = dict.fromkeys(inputs, 0)
        for place, operand in enumerate(one.operands):
            taken[operand] = max(taken[operand], _looked_at(fused, parameters[place]))
        read, written = sum(taken.values()), _results(fused, fused[ROOT])
    else:
        read = sum(hlo.size(computation[name].shape) for name in inputs)
        written = hlo.size(one.shape)
        if one.op == "custom-call":  # the scratch memory of a library is its own
            written -= sum(map(hlo.size, re.findall(r"[su]8\[\d*\]", one.shape)))
        elif one.op in _IN_PLACE:
            changed = hlo.size(computation[one.operands[_IN_PLACE[one.op]]].shape)
            read, written = read - written + changed, changed
        elif one.op in _SLICES:
            read = written
    sources = {place for name in inputs for place in _sources(computation, name)}
    flops = _flops(computations, computation, one)
    return Kernel(one.name, read, written, flops, times, tuple(sorted(sources)))


def _looked_at(fused: Computation, parameter: Instruction) -> int:
    """Bytes that a fusion reads of one of its parameters."""
    whole, total, seen = hlo.size(parameter.shape), 0, {parameter.name}
    for one in hlo.own(fused):
        if seen.isdisjoint(one.operands):
            continue
        if one.op == "bitcast":
            seen.add(one.name)
        elif one.op in _SLICES and one.operands[0] in seen:
            total += hlo.size(one.shape)
        elif one.op in _IN_PLACE and one.operands[0] in seen:
            total += hlo.size(fused[one.operands[_IN_PLACE[one.op]]].shape)
        else:
            return whole
    return min(whole, total)


def _results(fused: Computation, root: Instruction) -> int:
    """Bytes that a fusion writes: what it changes in place counts as far as it is changed."""
    if root.op == "tuple":
        return sum(_results(fused, fused[name]) for name in root.operands)
    if root.op == "bitcast" and root.operands:
        return _results(fused, fused[root.operands[0]])
    if root.op in _IN_PLACE:
        return hlo.size(fused[root.operands[_IN_PLACE[root.op]]].shape)
    return hlo.size(root.shape)


def _sources(computation: Computation, name: str) -> Iterator[int]:
    """The arguments of the program that an operand is, seen through views."""
    one = computation[name]
    if one.op == "parameter":
        yield int(one.inside)
    elif one.op in _VIEWS:
        for operand in one.operands:
            yield from _sources(computation, operand)


def _flops(computations: Computations, computation: Computation, one: Instruction) -> int:
    """Multiplications and additions of the matrix products and convolutions in an instruction."""
    if one.op == "fusion":
        fused = hlo.called(computations, one, "calls")
        return sum(_flops(computations, fused, inner) for inner in hlo.own(fused))
    shapes = [hlo.arrays(computation[name].shape)[:1] for name in one.operands]
    contracted = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][{\[]([\d,"]*)[}\]]', one.rest)
    if one.op in ("dot", "custom-call") and contracted and shapes[0]:
        axes = map(int, filter(None, contracted[1].replace('"', "").split(",")))
        inner = math.prod(shapes[0][0][axis] for axis in axes)
        return 2 * math.prod(hlo.arrays(one.shape)[0]) * inner
    labels = re.search(r"dim_labels=\w+_(\w+)->", one.rest)
    if labels and len(shapes) >= 2:
        return _of_convolution(one, labels[1], [*(s[0] for s in shapes[:2] if s)])
    return 0


def _of_convolution(one: Instruction, kernel: str, given: list[tuple[int, ...]]) -> int:
    """Twice the output's numbers times the kernel's, over the features that these share."""
    first, second, result = *given, hlo.arrays(one.shape)[0]
    if "BackwardFilter" in one.rest:
        output, weights = second, result
    elif "BackwardInput" in one.rest:
        output, weights = first, second
    else:
        output, weights = result, second
    return 2 * math.prod(output) * math.prod(weights) // weights[kernel.index("o")]
