"""What is looked for in clipping, dtypes, matrices, devices and schedules."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lecture_opt.inspect.findings import (
    Finding,
    minorities,
    named,
    of_kind,
    of_shape,
    paths,
    verb,
)
from lecture_opt.inspect.leaf import Leaf

AXIS = re.compile(r"\d+")


def clipping(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Clipping that sees parts of the gradient alone."""
    clipped = [leaf for leaf in leaves if leaf.clip]
    moving = [leaf for leaf in leaves if leaf.moves]
    for few, value, most, _ in minorities(moving, lambda x: bool(x.clipping), of_kind):
        how = "clipped, and others of the kind are not" if value else "not clipped, as others are"
        text = f"{named(few)} {verb(few, 'is', 'are')} {how}"
        yield Finding(text, "a label that misses some", paths(few), 7)
        clipped = [leaf for leaf in clipped if leaf not in (few if value else most)]
    if late := [leaf for leaf in clipped if leaf.clip and leaf.clip.of != "gradient"]:
        text = (
            f"not the gradients but the steps of {named(late)} are clipped, at {late[0].clipping}"
        )
        yield Finding(text, "a clip that stands after the rule", paths(late), 4, serious=False)
    sizes = Counter(leaf.clip.group for leaf in clipped if leaf.clip)
    if len(sizes) < 2:
        return
    norms = sorted({leaf.clip.norm for leaf in clipped if leaf.clip and leaf.clip.norm})
    if not norms:
        return
    at = " and ".join(f"{norm:g}" for norm in norms[:3])
    if max(sizes.values()) == 1:
        by_size = len(norms) > 1  # as clip_by_block_rms
        text = f"clipping at {at} is per leaf, of {len(clipped)} leaves"
        yield Finding(text, "a clip for blocks", paths(clipped), 6, serious=not by_size)
        return
    text = f"clipping sees {len(sizes)} groups of leaves separately, at {at} each"
    yield Finding(text, "a clip inside a partition, or one for blocks", paths(clipped), 6)


def dtypes(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Short states, and updates of another dtype than the params."""
    wide = [leaf for leaf in leaves if leaf.update_dtype != leaf.dtype]
    if wide:
        text = f"the updates of {named(wide)} are {wide[0].update_dtype}, params {wide[0].dtype}"
        yield Finding(text, "a constant or a moment of another dtype", paths(wide), 6)
    second = [
        (leaf, piece) for leaf in leaves for piece in leaf.state
        if "16" in piece.dtype and piece.name.rpartition("/")[2] in ("nu", "v", "accumulator")
    ]  # fmt: skip
    if second:
        some = list(dict.fromkeys(leaf for leaf, _ in second))
        text = f"state of {named(some)} is {second[0][1].dtype} ({second[0][1].name})"
        cause = "16 bits, in which a slow average stands still"
        as_params = len(some) > len(leaves) / 2 and all("16" in leaf.dtype for leaf in some)
        yield Finding(text, cause, paths(some), 5, serious=not as_params)
        return
    stateful = [leaf for leaf in leaves if leaf.moves and leaf.state]

    def kept(leaf: Leaf) -> Any:
        return tuple(sorted({piece.dtype for piece in leaf.state}))

    def kin(leaf: Leaf) -> Any:
        return tuple(piece.name.rpartition("/")[2] for piece in leaf.state)

    for few, value, most, usual in minorities(stateful, kept, of_kind, of_shape, kin):
        text = f"state of {named(few)} is {', '.join(value)}, of the others {', '.join(usual)}"
        same = {leaf.dtype for leaf in few} <= {leaf.dtype for leaf in most}
        cause = "a cast of some leaves alone" if same else "params of two dtypes"
        yield Finding(text, cause, paths(few), 5, serious=same)


def tables(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that should not be orthogonalised."""
    some = [leaf for leaf in leaves if leaf.rule.startswith("orthogonalised")]
    wrong = [leaf for leaf in some if leaf.role in ("embedding", "head")]
    if wrong:
        text = f"{', '.join(paths(wrong))} orthogonalised as if a matrix between layers"
        yield Finding(text, "a label by rank alone", paths(wrong), 6)
    stacked = [leaf for leaf in some if leaf.role in ("bias", "norm")]
    if stacked:
        text = f"{named(stacked)} {verb(stacked, 'is', 'are')} orthogonalised, layers as rows"
        yield Finding(text, "vectors that are stacked over layers", paths(stacked), 8)
    over = layered(leaves)
    mixed = [x for x in some if x.path in over and x not in stacked and "0" in AXIS.findall(x.rule)]
    if mixed:
        text = f"{named(mixed)}: {mixed[0].rule}, where axis 0 is {mixed[0].shape[0]} layers"
        yield Finding(text, "a reshape that takes the first axis for inputs", paths(mixed), 8)


def layered(leaves: Sequence[Leaf]) -> set[str]:
    """The paths of leaves whose first axis is layers, as a scan over them has it.

    So it is where all below one key have the same first axis, biases and norms too.
    """
    found: set[str] = set()
    for depth in range(1, 4):
        parts: dict[str, list[Leaf]] = {}
        for leaf in leaves:
            parts.setdefault("/".join(leaf.path.split("/")[:depth]), []).append(leaf)
        for some in parts.values():
            vectors = [x for x in some if x.role in ("bias", "norm") and len(x.shape) > 1]
            if len(some) > 2 and vectors and len({leaf.shape[:1] for leaf in some}) == 1:
                found |= set(paths(some))
    return found


def transposed(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Kernels whose step is scaled as if their inputs were the outputs.

    Muon's factor max(1, outputs / inputs)^0.5 tells which axis was taken for the outputs: kernels
    with more outputs than inputs go further than square ones, those with fewer do not.
    """
    biases = biases_of(leaves)
    some = [
        leaf for leaf in leaves
        if leaf.rule.startswith("orthogonalised") and len(leaf.shape) == 2 and leaf.peak
    ]  # fmt: skip
    if not some:
        return
    base = min(abs(leaf.peak) for leaf in some)
    further = {leaf.path: abs(leaf.peak) > 1.05 * base for leaf in some}
    narrow = [leaf for leaf in some if 0 < outputs_per_input(leaf, biases) < 1]
    wide = [leaf for leaf in some if outputs_per_input(leaf, biases) > 1]
    mostly = [sum(further[x.path] for x in each) > len(each) / 2 for each in (narrow, wide)]
    if not narrow or not wide or mostly[0] == mostly[1]:  # another law, or none
        return
    wrong = [x for x in narrow if further[x.path]] + [x for x in wide if not further[x.path]]
    if wrong:
        sizes = " by ".join(map(str, wrong[0].shape))
        text = f"{named(wrong)} ({sizes}) {verb(wrong, 'is', 'are')} scaled as the transpose"
        cause = "a rule for kernels (outputs, inputs) on kernels (inputs, outputs), or reversed"
        yield Finding(text, cause, paths(wrong), 7)


def biases_of(leaves: Sequence[Leaf]) -> dict[str, Any]:
    """The shape of the bias beside each matrix that is alone with it, by their common path."""
    parts: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        parts.setdefault(leaf.path.rpartition("/")[0], []).append(leaf)
    pairs = {path: sorted(some, key=lambda leaf: len(leaf.shape)) for path, some in parts.items()}
    return {
        path: some[0].shape
        for path, some in pairs.items()
        if path and [len(leaf.shape) for leaf in some] == [1, 2] and some[0].role == "bias"
    }


def outputs_per_input(leaf: Leaf, biases: dict[str, Any]) -> float:
    """Of a matrix whose axes are told by its bias or its name; 0 where nothing tells them."""
    rows, columns = leaf.shape
    outputs = biases.get(leaf.path.rpartition("/")[0])
    if outputs is not None and rows != columns and outputs[0] in (rows, columns):
        return columns / rows if outputs[0] == columns else rows / columns
    return columns / rows if leaf.path.endswith("kernel") else 0.0


def devices(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """State that lies otherwise on devices than its params, or in their own buffer."""
    whole = [
        leaf for leaf in leaves
        if leaf.sharding and "whole" not in leaf.sharding
        and any(p.shape == leaf.shape and p.sharding != leaf.sharding for p in leaf.state)
    ]  # fmt: skip
    if whole:
        piece = next(p for p in whole[0].state if p.sharding != whole[0].sharding)
        how = piece.sharding or "on one device"
        text = f"state {piece.name} of {named(whole)} is {how}, its params are {whole[0].sharding}"
        yield Finding(text, "init under jit, which does not cut what it makes", paths(whole), 6)
    shared = [leaf for leaf in leaves if not leaf.donatable]
    if shared:
        name = next(piece.name for piece in shared[0].state if piece.shared)
        text = f"state {name} of {named(shared)} is another array's buffer until the first step"
        cause = "donating params and state together fails; copy one of them"
        yield Finding(text, cause, paths(shared), 2, serious=False)


def schedule(leaves: Sequence[Leaf], steps: int) -> Iterator[Finding]:
    """A rate that ends before the run does, or is still rising at its end."""
    known = [leaf for leaf in leaves if leaf.moves and np.any(leaf.rates)]
    by_end: dict[str, list[Leaf]] = {}
    for leaf in known:
        if text := end_of(leaf, steps):
            by_end.setdefault(text, []).append(leaf)
    for text, some in by_end.items():
        cause = "a schedule counted in micro-steps, in epochs, or for another number of steps"
        where = "" if len(some) == len(known) else f" for {named(some)}"
        yield Finding(text + where, cause, paths(some), 7)


def end_of(leaf: Leaf, steps: int) -> str:
    """How a leaf's schedule misses the end of the run; empty where it does not."""
    size, ends = np.abs(leaf.rates), leaf.ends
    if ends is not None and ends < 0.98 * steps:
        return f"the schedule ends at step {ends:,} of {steps:,}"
    if not leaf.known:
        return ""
    half = len(size) // 2
    rise = size[-1] - size[half]
    last = size.argmax() == len(size) - 1 and size[-1] > 1.02 * size[half]
    if last and rise > 0.9 * (size[half] - size[0]):
        return f"the rate still rises at the last step of {steps:,}"
    turns = np.flatnonzero(np.abs(np.diff(size)) > 1e-9 * size.max())
    still = (int(turns[-1]) + 1) if len(turns) else 0
    smooth = len(turns) > 5 and np.all(np.diff(turns[-5:]) == 1) and size[still] < size[still - 1]
    if smooth and size[-1] < 0.5 * size.max() and still < 0.6 * len(size):
        floor = f"{size[-1] / size.max():.0%} of its peak"
        return (
            f"the schedule comes to its floor, {floor}, at step {still * leaf.every:,} of {steps:,}"
        )
    if leaf.needs and leaf.needs > 1.5 * steps:
        left = f"{size[-1] / size.max():.0%}"
        return (
            f"the schedule ends at gradient {leaf.needs:,}, and the run has {steps:,}: "
            f"the last rate is {left} of the peak"
        )
    return ""


def others(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Notes: noise, sums over micro-steps, steps that 16 bits can't hold."""
    noisy = [leaf for leaf in leaves if leaf.noise]
    if noisy:
        text = f"noise of {noisy[0].noise:.2g} is added to the steps of {named(noisy)}"
        yield Finding(text, "meant", paths(noisy), 2, serious=False)
    summed = [leaf for leaf in leaves if leaf.accumulates == "sum"]
    if summed:
        text = f"the gradients of {summed[0].every} micro-steps are summed for {named(summed)}"
        yield Finding(text, "a mean is usual", paths(summed), 3, serious=False)
    short = [leaf for leaf in leaves if leaf.moves and "16" in leaf.dtype]
    if short and not any(p.dtype == "float32" and p.shape == leaf.shape and leaf.keeps
                         for leaf in short for p in leaf.state):  # fmt: skip
        text = f"params of {named(short)} are {short[0].dtype}, and the state has no float32 copy"
        cause = "steps below 1/256 of a bfloat16 value are lost"
        yield Finding(text, cause, paths(short), 2, serious=False)


def difference(leaf: Leaf, other: Leaf) -> str:
    """How the treatment of one leaf becomes another."""
    looks: dict[str, Callable[[Leaf], Any]] = {
        "rule": lambda x: x.rule,
        "first rate": lambda x: f"{x.rates[0]:.3g}" if len(x.rates) else "0",
        "peak rate": lambda x: f"{x.peak:.3g}",
        "last rate": lambda x: f"{x.rates[-1]:.3g}" if len(x.rates) else "0",
        "end of the schedule": lambda x: x.ends or "none",
        "weight decay": lambda x: f"{x.decay.amount:g} ({x.decay.kind})",
        "decay per step": lambda x: f"{x.share:.2g}" if not x.decay.scheduled else "by the rate",
        "clipping": lambda x: x.clipping or "no",
        "clipped together with": lambda x: x.clip.group if x.clip else "none",
        "gradients per step": lambda x: x.every,
        "micro-steps": lambda x: x.accumulates or "one",
        "noise": lambda x: f"{x.noise:.2g}",
        "dtype of the update": lambda x: x.update_dtype,
        "dtypes of state": lambda x: ", ".join(sorted({p.dtype for p in x.state})) or "none",
        "bytes of state": lambda x: x.state_bytes,
        "sharding of state": lambda x: ", ".join(sorted({p.sharding for p in x.state})) or "none",
    }
    changes = (
        f"{name} {look(leaf)} becomes {look(other)}"
        for name, look in looks.items()
        if look(leaf) != look(other)
    )
    return "; ".join(changes)
