"""The operations of matrix products and convolutions in a compiled program."""

import math
import re

from lecture_opt.bench.price import hlo
from lecture_opt.bench.price.hlo import Computation, Computations, Instruction


def of(computations: Computations, computation: Computation, one: Instruction) -> int:
    """Multiplications and additions of the matrix products and convolutions in an instruction."""
    if one.op == "fusion":
        fused = hlo.called(computations, one, "calls")
        return sum(of(computations, fused, inner) for inner in hlo.own(fused))
    shapes = [hlo.arrays(computation[name].shape)[:1] for name in one.operands]
    contracted = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][{\[]([\d,"]*)[}\]]', one.rest)
    if one.op in ("dot", "custom-call") and contracted and shapes[0]:
        axes = map(int, filter(None, contracted[1].replace('"', "").split(",")))
        inner = math.prod(shapes[0][0][axis] for axis in axes)
        return 2 * math.prod(hlo.arrays(one.shape)[0]) * inner
    if one.op == "convolution":
        return _of_window(one, shapes[0][0], shapes[1][0])
    labels = re.search(r"dim_labels=\w+_(\w+)->", one.rest)
    if labels and len(shapes) >= 2:
        return _of_convolution(one, labels[1], [*(s[0] for s in shapes[:2] if s)])
    return 0


def _of_convolution(one: Instruction, kernel: str, given: list[tuple[int, ...]]) -> int:
    """Of cuDNN: twice the output's numbers times the kernel's, over the features they share."""
    first, second, result = *given, hlo.arrays(one.shape)[0]
    if "BackwardFilter" in one.rest:
        output, weights = second, result
    elif "BackwardInput" in one.rest:
        output, weights = first, second
    else:
        output, weights = result, second
    return 2 * math.prod(output) * math.prod(weights) // weights[kernel.index("o")]


def _of_window(one: Instruction, images: tuple[int, ...], kernel: tuple[int, ...]) -> int:
    """Of XLA's own convolution, as which a TPU computes batches of matrix products, too."""
    found = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.rest)
    if not found:
        return 0
    given, weights, result = (
        dict(zip(labels, lengths, strict=True))
        for labels, lengths in zip(
            found.groups(), (images, kernel, hlo.arrays(one.shape)[0]), strict=True
        )
    )
    inside = re.search(r"window=\{([^}]*)\}", one.rest)
    fields = dict(part.split("=") for part in inside[1].split()) if inside else {}

    def field(name: str, place: int, otherwise: str) -> str:
        return fields[name].split("x")[place] if name in fields else otherwise

    count = result["b"] * result["f"] * weights["i"]
    for place, label in enumerate(sorted(filter(str.isdigit, weights))):
        count *= pairs(
            given[label],
            weights[label],
            result[label],
            stride=int(field("stride", place, "1")),
            pad=int(field("pad", place, "0_0").split("_")[0]),
            spread=int(field("lhs_dilate", place, "1")),
            dilation=int(field("rhs_dilate", place, "1")),
        )
    return 2 * count


def pairs(
    given: int, kernel: int, result: int, *, stride: int, pad: int, spread: int, dilation: int
) -> int:
    """How many pairs of a number that is given and one of the kernel meet along an axis.

    Output `o` and place `k` of the kernel meet at `o * stride + k * dilation - pad`, where a number
    stands if that is `i * spread` for an `i` below `given`.

    >>> pairs(5, 3, 5, stride=1, pad=1, spread=1, dilation=1)
    13
    """
    total, shared = 0, math.gcd(stride, spread)
    period = spread // shared
    for k in range(kernel):
        start = k * dilation - pad
        if start % shared:
            continue
        first = max(0, -(start // stride))
        last = min(result - 1, ((given - 1) * spread - start) // stride)
        hit = -start // shared * pow(stride // shared, -1, period) % period
        total += max(0, (last - hit) // period - (first - 1 - hit) // period)
    return total
