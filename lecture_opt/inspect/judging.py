"""What is looked for in the rules, rates and decays of all leaves."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lecture_opt.inspect.findings import (
    Finding,
    by_depth,
    layer,
    minorities,
    name_of,
    named,
    natural,
    of_kind,
    of_shape,
    paths,
    verb,
)
from lecture_opt.inspect.leaf import Leaf

FEW = 4  # so many leaves are listed one by one
FAR, STRONG = 10.0, 0.1  # a rate against its kind; the share of a leaf that decays per step
VECTORS, TABLES = ("bias", "norm"), ("embedding", "head")
ADAPTER = re.compile(r"lora|adapter|prompt|prefix|ia3", re.IGNORECASE)


def frozen(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that never move: whole layers are a choice, parts of a layer and heads are not."""
    still = [leaf for leaf in leaves if not leaf.moves]
    if not still:
        return
    if len(still) == len(leaves):
        yield Finding("no leaf ever moves", "a rate of zero, a mask of all", paths(still), 10)
        return
    moving = [leaf for leaf in leaves if leaf.moves]
    adapters = any(ADAPTER.search(leaf.path) for leaf in moving)
    odd = [] if adapters else [leaf for leaf in still if is_oddly_still(leaf, still, moving)]
    cause = "a label or a mask that does not know its name"
    for some in [[leaf] for leaf in odd] if len(odd) <= FEW else [odd]:
        parts = sorted({layer(leaf) for leaf in some}, key=natural)
        where = f" of {', '.join(parts)}" if len(some) > 2 and len(parts) <= FEW else ""
        text = f"{named(some)}{where} {verb(some, 'never moves', 'never move')}"
        yield Finding(text, cause, paths(some), 9)
    if meant := [leaf for leaf in still if leaf not in odd]:
        text = f"{named(meant)} {verb(meant, 'never moves', 'never move')}"
        yield Finding(text, "frozen", paths(meant), 1, serious=False)


def is_oddly_still(leaf: Leaf, still: Sequence[Leaf], moving: Sequence[Leaf]) -> bool:
    """Whether a leaf that never moves is one against its kind."""
    few = len(still) < len(moving)
    if leaf.role == "head":
        return few
    vector = leaf.role in VECTORS
    kin = [other for other in moving if (other.role in VECTORS) == vector]
    if any(layer(other) == layer(leaf) and other.role == leaf.role for other in kin):
        alike = [other for other in still if other.role == leaf.role]
        return len(alike) < sum(other.role == leaf.role for other in kin)
    if any(layer(other) == layer(leaf) for other in moving):
        alike = [other for other in still if of_kind(other) == of_kind(leaf)]
        if len(alike) < sum(of_kind(other) == of_kind(leaf) for other in moving):
            return True
        return len(still) == 1 and few
    stem = natural(layer(leaf))[0]
    siblings = {natural(layer(other)) for other in moving if natural(layer(other))[0] == stem}
    if siblings:
        return few and natural(layer(leaf)) > min(siblings)
    return few and leaf.role != "embedding" and len(still) <= 2


def uphill(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that move along their gradient."""
    able = [leaf for leaf in leaves if leaf.moves and "without a gradient" not in leaf.rule]
    wrong = [leaf for leaf in able if np.mean(leaf.rates < 0) > 0.9 * np.mean(leaf.rates != 0) > 0]
    if wrong:
        size = f", with a rate of {wrong[0].peak:.3g}" if wrong[0].known else ""
        text = f"{named(wrong)} {verb(wrong, 'moves', 'move')} uphill{size}"
        yield Finding(text, "a minus that is missing or applied twice", paths(wrong), 10)


def rules(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that another rule moves than their kind."""
    moving = [leaf for leaf in leaves if leaf.moves]
    for few, value, most, usual in minorities(moving, lambda x: x.rule, of_kind, of_shape):
        if few[0].role in TABLES and few[0].kind != most[0].kind:
            continue
        if value.startswith("orthogonalised") and usual.startswith("orthogonalised"):
            axes = [rule.partition("(")[2][:-1] for rule in (value, usual)]
            text = (
                f"{named(few)} {verb(few, 'is', 'are')} orthogonalised over {axes[0]}, "
                f"{verb(few, 'its', 'their')} siblings over {axes[1]}"
            )
            yield Finding(text, "dimension numbers of another kernel", paths(few), 8)
            continue
        text = f"{named(few)}: moved by {value}, {len(most)} others of the kind by {usual}"
        yield Finding(text, "a label by name or by shape that misses some", paths(few), 8)


def rates(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves with another rate than their kind, or a far larger or smaller one than others."""
    moving = [leaf for leaf in leaves if leaf.moves and leaf.peak > 0]
    seen: set[str] = set()
    for few, value, most, usual in minorities(
        moving, lambda leaf: (leaf.rule, f"{leaf.peak:.3g}"), of_kind
    ):
        many = len({f"{leaf.peak:.3g}" for leaf in moving if leaf.kind == few[0].kind}) > 2
        if value[0] != usual[0] or many or by_depth(few, most, moving):
            continue
        seen |= set(paths(few))
        times = float(value[1]) / float(usual[1])
        text = f"{named(few)}: the rate is {times:.3g} times that of the others of the kind"
        yield Finding(text, "a rate multiplied twice, or a label that misses one", paths(few), 7)
    known = sorted((x for x in moving if x.known), key=lambda leaf: name_of(leaf.rule))
    for _, group in itertools.groupby(known, lambda leaf: name_of(leaf.rule)):
        kin = [leaf for leaf in group if leaf.path not in seen]
        yield from far(kin)


def far(kin: Sequence[Leaf]) -> Iterator[Finding]:
    """Of leaves with one rule, the few that are ten times as fast or slow, or all vectors."""
    if not kin:
        return
    middle = float(np.median([leaf.peak for leaf in kin]))
    edge = FAR * (1 - 1e-3)
    some = [leaf for leaf in kin if not middle / edge < leaf.peak < middle * edge]
    kernels = {f"{leaf.peak:.3g}" for leaf in kin if leaf.role not in VECTORS}
    cause = "a rate multiplied twice, or one for each layer that misses a layer"
    if vectors := apart_from(kernels, kin, edge):
        times = vectors[0].peak / float(min(kernels))
        text = f"{named(vectors)}: the rate is {times:.3g} times that of the kernels"
        yield Finding(text, cause, paths(vectors), 7)
    elif some and len(some) <= len(kin) / 3:
        text = f"{named(some)}: the rate is {some[0].peak / middle:.3g} times that of the others"
        others = {layer(leaf) for leaf in kin if leaf not in some}
        whole = all(leaf.role in TABLES or "head" in leaf.path for leaf in some)
        apart = whole and not {layer(leaf) for leaf in some} & others
        many = len({leaf.peak for leaf in kin}) >= 4  # then they are meant
        slow = some[0].peak < middle and len(some) > 1 and is_one_kind(some, kin)  # as routers are
        yield Finding(text, cause, paths(some), 7, serious=not (apart or many or slow))


def apart_from(kernels: set[str], kin: Sequence[Leaf], edge: float) -> list[Leaf]:
    """All biases, all norms or both, where they have one rate that is far from all kernels'."""
    if len(kernels) != 1:
        return []
    middle = float(min(kernels))
    far_off: list[Leaf] = []
    for role in VECTORS:
        some = [leaf for leaf in kin if leaf.role == role]
        rates = {f"{leaf.peak:.3g}" for leaf in some}
        if len(rates) == 1 and not 1 / edge < some[0].peak / middle < edge:
            far_off += [x for x in some if not far_off or x.peak == far_off[0].peak]
    return far_off


def is_one_kind(some: Sequence[Leaf], kin: Sequence[Leaf]) -> bool:
    """Whether some leaves are kernels of one name, and all of it."""
    kinds = {leaf.kind for leaf in some}
    every = sum(leaf.kind in kinds for leaf in kin)
    return len(kinds) == 1 and every == len(some) and some[0].role == "kernel"


def amount(leaf: Leaf) -> Any:
    """How a leaf decays, as far as leaves of one rule can be compared by it."""
    return leaf.decay.kind, leaf.decay.amount if leaf.known else float(f"{leaf.share:.2g}")


def decays(leaves: Sequence[Leaf]) -> Iterator[Finding]:
    """Who decays beside whom."""
    moving = [leaf for leaf in leaves if leaf.moves]
    for few, value, most, usual in minorities(
        moving,
        amount,
        lambda leaf: (leaf.kind, name_of(leaf.rule)),
        lambda leaf: (leaf.role, name_of(leaf.rule)),
    ):
        if by_depth(few, most, moving) or few[0].role in TABLES:
            continue
        spared = value if few[0].role in VECTORS else usual  # kernels should decay, vectors not
        if spared[0] == "no":
            few, value, most, usual = most, usual, few, value
        text = f"{named(few)}: weight decay {value[1]:g}, {named(most)} have {usual[1]:g}"
        yield Finding(text, "a mask by name or by rank that misses some", paths(few), 7)
    yield from vectors(moving)
    growing = [leaf for leaf in leaves if leaf.decay.amount < 0]
    if growing:
        text = (
            f"{named(growing)} {verb(growing, 'grows', 'grow')} by {-growing[0].share:.2g} a step"
        )
        yield Finding(text, "the sign of the decay", paths(growing), 9)
    strong = [leaf for leaf in leaves if leaf.decay.kind == "decoupled" and leaf.share > STRONG]
    if strong:
        text = f"{named(strong)} {verb(strong, 'loses', 'lose')} {strong[0].share:.0%} at a step"
        cause = "a decay that is not multiplied by the rate, as it is elsewhere"
        yield Finding(text, cause, paths(strong), 8)
    loose = [leaf for leaf in leaves if leaf.decay.amount > 0 and not leaf.decay.scheduled]
    if loose:
        text = f"{named(loose)} {verb(loose, 'decays', 'decay')} by {loose[0].share:.2g} a step, "
        text += "whatever the rate is"
        yield Finding(text, "weight decay added after the learning rate", paths(loose), 6)
    mixed = [x for x in moving if x.decay.kind == "coupled" and not x.rule.startswith("sgd")]
    if mixed:
        text = f"{named(mixed)}: the decay goes through {name_of(mixed[0].rule)}, as an L2 penalty"
        yield Finding(text, "decay before the rule", paths(mixed), 2, serious=False)


def vectors(moving: Sequence[Leaf]) -> Iterator[Finding]:
    """Biases and norms that decay: beside kernels that don't, or one of the two kinds alone."""
    kernels = [leaf for leaf in moving if leaf.role == "kernel"]
    pulled = [leaf for leaf in moving if leaf.role in VECTORS and leaf.share > 0]
    if not pulled:
        return
    alike = {name_of(leaf.rule) for leaf in kernels} & {name_of(leaf.rule) for leaf in pulled}
    text = f"{named(pulled)} {verb(pulled, 'decays', 'decay')} by {pulled[0].share:.2g} a step"
    if alike and not any(leaf.decay.kind != "no" for leaf in kernels):
        yield Finding(f"{text}, and no kernel does", "a mask turned round", paths(pulled), 9)
        return
    roles = {leaf.role for leaf in pulled}
    spared = [leaf for leaf in moving if leaf.role in VECTORS and leaf.role not in roles]
    same = {name_of(leaf.rule) for leaf in spared} & {name_of(leaf.rule) for leaf in pulled}
    if spared and same:
        text += f", {named(spared)} {verb(spared, 'does', 'do')} not"
        yield Finding(text, "a mask that knows one of their names", paths(pulled), 6)
        return
    yield Finding(f"{text}, as kernels do", "no mask", paths(pulled), 1, serious=False)
