"""What of the measurements is probably not meant, and what is a choice worth a note."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.inspect.leaf import Leaf

PLURALS = {"bias": "biases"}
FAR, STRONG = 10.0, 0.1  # a rate against its kind; the share of a leaf that decays per step


class Finding(NamedTuple):
    """Something about some leaves.

    Attributes:
        text: The finding, with its number.
        cause: The usual cause.
        leaves: The paths of the leaves.
        weight: How serious it is, from 1 to 10.
        serious: Whether it is probably not meant; otherwise it is a note.
    """

    text: str
    cause: str
    leaves: tuple[str, ...]
    weight: int = 5
    serious: bool = True


def bytes_of(leaf: Leaf) -> int:
    """The bytes of a leaf itself."""
    return int(np.prod(leaf.shape, dtype=np.int64)) * (2 if "16" in leaf.dtype else 4)


def judge(leaves: Sequence[Leaf], *, steps: int, asks_in_vain: bool) -> list[Finding]:
    """All findings and notes."""
    found = list(
        itertools.chain.from_iterable(
            look(leaves)
            for look in (frozen, uphill, rules, rates, decays, clipping, dtypes, orthogonal)
        )
    )
    found += schedule(leaves, steps)
    if asks_in_vain:
        text = "the optimizer asks for params, and no leaf's update depends on them"
        found.append(
            Finding(text, "a weight decay whose mask leaves out every leaf", paths(leaves), 6)
        )
    return found


def paths(leaves: Sequence[Leaf]) -> tuple[str, ...]:
    """Their paths."""
    return tuple(leaf.path for leaf in leaves)


def named(leaves: Sequence[Leaf]) -> str:
    """Some leaves in words: one by its path, several by their number and role."""
    if len(leaves) == 1:
        return leaves[0].path
    roles = Counter(leaf.role for leaf in leaves)
    return " and ".join(
        f"{count} {role}" if count == 1 else f"{count} {PLURALS.get(role, f'{role}s')}"
        for role, count in roles.items()
    )


def module(leaf: Leaf) -> str:
    """The path of the layer that holds a leaf."""
    return leaf.path.rpartition("/")[0]


def frozen(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that never move: whole layers are a choice, parts of a layer and heads are not."""
    still = [leaf for leaf in leaves if not leaf.moves]
    if not still:
        return
    if len(still) == len(leaves):
        yield Finding("no leaf ever moves", "a rate of zero, a mask of all", paths(still), 10)
        return
    adapters = any("lora" in leaf.path.lower() or "adapter" in leaf.path.lower() for leaf in leaves)
    moving = {module(leaf) for leaf in leaves if leaf.moves}
    matrices_move = any(leaf.moves and leaf.role not in ("bias", "norm") for leaf in leaves)
    vectors_move = any(leaf.moves and leaf.role in ("bias", "norm") for leaf in leaves)
    meant: list[Leaf] = []
    odd: list[Leaf] = []
    for leaf in still:
        kin_move = vectors_move if leaf.role in ("bias", "norm") else matrices_move
        part = module(leaf) in moving and bool(module(leaf)) and kin_move
        head = leaf.role == "head" and len(still) < len(leaves) / 2
        kinds = [other for other in leaves if other.role == leaf.role and "head" not in other.path]
        alone = len(still) == 1 and len(kinds) > 2
        (odd if (part or head or alone) and not adapters else meant).append(leaf)
    for leaf in odd:
        yield Finding(
            f"{leaf.path} never moves", "a label or a mask that does not know its name",
            (leaf.path,), 9,
        )  # fmt: skip
    if meant:
        yield Finding(f"{named(meant)} never move", "frozen", paths(meant), 1, serious=False)


def uphill(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that move along their gradient."""
    wrong = [leaf for leaf in leaves if leaf.rule != "unknown" and leaf.peak < 0]
    if wrong:
        text = f"{named(wrong)} move uphill, with a rate of {wrong[0].peak:.3g}"
        yield Finding(text, "a minus that is missing or applied twice", paths(wrong), 10)


def minorities(
    leaves: Sequence[Leaf], what: Callable[[Leaf], Any]
) -> Iterator[tuple[list[Leaf], Any, list[Leaf], Any]]:
    """Of the leaves of one kind or role, the few that are treated otherwise than most."""
    seen: set[str] = set()
    for key in (lambda leaf: (leaf.kind, len(leaf.shape)), lambda leaf: (leaf.role, 0)):
        for _, group in itertools.groupby(sorted(leaves, key=key), key):
            kin = list(group)
            counts = Counter(what(leaf) for leaf in kin).most_common()
            if len(counts) < 2 or counts[0][1] <= sum(count for _, count in counts[1:]) * 2:
                continue
            most = [leaf for leaf in kin if what(leaf) == counts[0][0]]
            for value, _ in counts[1:]:
                few = [leaf for leaf in kin if what(leaf) == value and leaf.path not in seen]
                seen |= {leaf.path for leaf in few}
                if few:
                    yield few, value, most, counts[0][0]


def name_of(rule: str) -> str:
    """A rule without its arguments."""
    return rule.partition("(")[0]


def rules(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that another rule moves than their kind."""
    moving = [leaf for leaf in leaves if leaf.moves]
    for few, value, most, usual in minorities(moving, lambda leaf: leaf.rule):
        if few[0].role in ("embedding", "head") and few[0].kind != most[0].kind:
            continue
        text = f"{named(few)}: moved by {value}, {len(most)} others of the kind by {usual}"
        yield Finding(text, "a label by name or by shape that misses some", paths(few), 8)


def rates(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves with a far larger or smaller rate than others with the same rule."""
    known = [leaf for leaf in leaves if leaf.moves and leaf.rule != "unknown" and leaf.peak > 0]
    for _, group in itertools.groupby(
        sorted(known, key=lambda leaf: name_of(leaf.rule)), lambda leaf: name_of(leaf.rule)
    ):
        kin = list(group)
        middle = float(np.median([leaf.peak for leaf in kin]))
        far = [leaf for leaf in kin if not middle / FAR < leaf.peak < middle * FAR]
        if far and len(far) <= len(kin) / 3:
            text = f"{named(far)}: the rate is {far[0].peak / middle:.3g} times that of the others"
            cause = "a rate multiplied twice, or one for each layer that misses a layer"
            serious = len({leaf.peak for leaf in kin}) < 4  # many rates are meant
            yield Finding(text, cause, paths(far), 7, serious=serious)


def decays(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Who decays beside whom, by how much, and whether by the schedule."""
    for role in ("kernel", "bias", "norm"):
        kin = [leaf for leaf in leaves if leaf.role == role and leaf.moves]
        for few, value, most, usual in minorities(kin, lambda leaf: leaf.decay.amount):
            others = f"{len(most)} {PLURALS.get(role, f'{role}s')} have {usual:g}"
            text = f"{named(few)}: weight decay {value:g}, {others}"
            yield Finding(text, "a mask by name or by rank that misses some", paths(few), 7)
    kernels = [leaf for leaf in leaves if leaf.role == "kernel" and leaf.moves]
    small = [leaf for leaf in leaves if leaf.role in ("bias", "norm") and leaf.decay.amount]
    alike = {name_of(leaf.rule) for leaf in kernels} & {name_of(leaf.rule) for leaf in small}
    if alike and not any(leaf.decay.kind != "no" for leaf in kernels):
        text = f"{named(small)} decay by {small[0].decay.amount:g}, and no kernel does"
        yield Finding(text, "a mask turned round", paths(small), 9)
    elif small:
        per_step = small[0].decay.amount * (abs(small[0].peak) if small[0].decay.scheduled else 1)
        text = f"{named(small)} decay by {per_step:.2g} a step, as kernels do"
        yield Finding(text, "no mask", paths(small), 1, serious=False)
    loose = [leaf for leaf in leaves if leaf.decay.amount and not leaf.decay.scheduled]
    if loose:
        text = f"{named(loose)} decay by {loose[0].decay.amount:.2g} a step, whatever the rate is"
        yield Finding(text, "weight decay added after the learning rate", paths(loose), 6)
    strong = [
        leaf for leaf in leaves
        if leaf.decay.kind == "decoupled" and leaf.decay.scheduled
        and abs(leaf.decay.amount * leaf.peak) > STRONG
    ]  # fmt: skip
    growing = [leaf for leaf in leaves if leaf.decay.amount < 0]
    if growing:
        text = f"{named(growing)} grow by their decay, of {growing[0].decay.amount:.2g}"
        yield Finding(text, "the sign of the decay", paths(growing), 9)
    if strong:
        share = abs(strong[0].decay.amount * strong[0].peak)
        text = f"{named(strong)} lose {share:.0%} of themselves at each step of the peak rate"
        yield Finding(
            text, "a decay that is not multiplied by the rate elsewhere", paths(strong), 8
        )


def clipping(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Clipping that sees parts of the gradient alone."""
    clipped = [leaf for leaf in leaves if leaf.clip]
    sizes = Counter(leaf.clip.group for leaf in clipped if leaf.clip)
    if len(sizes) < 2:
        return
    norm = clipped[0].clip.norm if clipped[0].clip else 0.0
    if max(sizes.values()) == 1:
        text = f"clipping at {norm:g} is per leaf, of {len(clipped)} leaves"
    else:
        text = f"clipping sees {len(sizes)} groups of leaves separately, at {norm:g} each"
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
        some = [leaf for leaf, _ in second]
        text = f"state of {named(some)} is {second[0][1].dtype} ({second[0][1].name})"
        cause = "16 bits, in which a slow average stands still"
        as_params = len(some) > len(leaves) / 2 and all("16" in leaf.dtype for leaf in some)
        yield Finding(text, cause, paths(some), 5, serious=not as_params)
    few = [
        (few, value, usual)
        for few, value, _, usual in minorities(
            [leaf for leaf in leaves if leaf.moves and leaf.state],
            lambda leaf: tuple(sorted({piece.dtype for piece in leaf.state})),
        )
        if len(value) and not second
    ]
    for some, value, usual in few:
        text = f"state of {named(some)} is {', '.join(value)}, of the others {', '.join(usual)}"
        yield Finding(text, "params of two dtypes", paths(some), 3, serious=False)


def orthogonal(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that should not be orthogonalised."""
    some = [leaf for leaf in leaves if leaf.rule.startswith("orthogonalised")]
    tables = [leaf for leaf in some if leaf.role in ("embedding", "head")]
    if tables:
        text = f"{', '.join(paths(tables))} orthogonalised as if a matrix between layers"
        yield Finding(text, "a label by rank alone", paths(tables), 6)


def schedule(leaves: Sequence[Leaf], steps: int) -> Iterator[Finding]:
    """A rate that ends before the run does, or is still rising at its end."""
    known = [leaf for leaf in leaves if leaf.moves and np.any(leaf.rates)]
    by_end: dict[str, list[Leaf]] = {}
    for leaf in known:
        size = np.abs(leaf.rates)
        last = int(np.flatnonzero(size > 1e-6 * size.max())[-1]) + 1
        if last < 0.98 * len(size):
            end = f"the schedule ends at step {last * leaf.every:,} of {steps:,}"
            by_end.setdefault(end, []).append(leaf)
        elif leaf.rule != "unknown" and size.argmax() == len(size) - 1 and size[0] < 0.9 * size[-1]:
            rising = f"the rate still rises at the last step of {steps:,}"
            by_end.setdefault(rising, []).append(leaf)
    for text, some in by_end.items():
        cause = "a schedule counted in micro-steps, in epochs, or for another number of steps"
        where = "" if len(some) == len(known) else f" for {named(some)}"
        yield Finding(text + where, cause, paths(some), 7)


def difference(leaf: Leaf, other: Leaf) -> str:
    """How the treatment of one leaf becomes another."""
    looks: dict[str, Callable[[Leaf], Any]] = {
        "rule": lambda x: x.rule,
        "peak rate": lambda x: f"{x.peak:.3g}",
        "last rate": lambda x: f"{x.rates[-1]:.3g}" if len(x.rates) else "0",
        "weight decay": lambda x: f"{x.decay.amount:g} ({x.decay.kind})",
        "clipping norm": lambda x: x.clip.norm if x.clip else "no",
        "gradients per step": lambda x: x.every,
        "dtype of the update": lambda x: x.update_dtype,
        "bytes of state": lambda x: x.state_bytes,
    }
    changes = (
        f"{name} {look(leaf)} becomes {look(other)}"
        for name, look in looks.items()
        if look(leaf) != look(other)
    )
    return "; ".join(changes)
