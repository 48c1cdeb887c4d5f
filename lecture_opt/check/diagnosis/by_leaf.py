"""Which leaves of a small model two optimizers treat differently."""

from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.subject import Subject

STEPS, TOLERANCE = 20, 1e-5
LAYERS = {
    "layer_0.bias": (3,), "layer_0.kernel": (4, 3), "layer_1.bias": (3,),
    "layer_1.kernel": (4, 3), "norm.scale": (5,), "conv.kernel": (3, 3, 2, 2),
    "embed.embedding": (9, 4), "head.kernel": (4, 7), "temperature": (),
}  # fmt: skip


def which_leaves(subject: Subject, reference: Subject) -> str:
    """In words, which leaves differ in nearly all elements where the others agree; else empty."""
    dtype = np.float64 if reference.in_double else np.float32
    params, *grads = (
        nested(probes.normal_tree(seed, dtype=dtype, shapes=LAYERS))
        for seed in range(700, 701 + STEPS)
    )
    try:
        got, _ = subject.updates_over(grads, params)
        wanted, _ = reference.updates_over(grads, params)
    except Exception:  # one of the two does not take this tree
        return ""
    differ, agree = [], []
    for index, (name, leaf) in enumerate(probes.named(params)):
        mine, theirs = (leaf_over(run, index) for run in (got, wanted))
        gaps = np.abs(mine - theirs) / (np.abs(theirs).max() + 1e-300)
        if gaps.max() > TOLERANCE:
            differ.append((f"{name} of shape {leaf.shape}", gaps.max(axis=0)))
        else:
            agree.append(gaps.max())
    if not differ or not agree:
        return ""
    floor = 100 * max(agree)
    if any(np.mean(gaps > max(floor, TOLERANCE)) < 0.9 for _, gaps in differ):
        return ""
    return (
        f"In a small model only some leaves differ: {', '.join(name for name, _ in differ)}. The "
        "others agree, so a mask, a label or what the rule does to such leaves is not the "
        "reference's."
    )


def which_decay(subject: Subject, reference: Subject) -> str:
    """In words, which leaves' params enter the updates, where those are not the same; else empty.

    Where the params of no leaf enter one of the two, it is not a mask that differs.
    """
    dtype = np.float64 if reference.in_double else np.float32
    params, *grads = (
        nested(probes.normal_tree(seed, dtype=dtype, shapes=LAYERS)) for seed in range(700, 704)
    )
    zero = jax.tree.map(np.zeros_like, params)
    mine: set[str] = set()
    theirs: set[str] = set()
    for one, found in ((subject, mine), (reference, theirs)):
        try:
            at, still = (one.updates_over(grads, place)[0][-1] for place in (params, zero))
        except Exception:  # it does not take this tree
            return ""
        pairs = probes.named(at, still)
        found |= {n for n, a, b in pairs if probes.leaf_difference(n, a, b).error > TOLERANCE}
    if not mine or not theirs or mine == theirs:
        return ""
    extra, less = ", ".join(sorted(mine - theirs)), ", ".join(sorted(theirs - mine))
    words = [f"of {extra}, which the reference does not look at"] if extra else []
    words += [f"not of {less}, which the reference does look at"] if less else []
    return (
        f"Params enter its updates: {'; and '.join(words)}. So a mask of weight decay is lost, "
        "turned round or of other leaves."
    )


def leaf_over(run: list[Any], index: int) -> Any:
    """One leaf of every tree of a sequence, as one array of a row per step."""
    return np.stack([probes.float64(jax.tree.leaves(tree)[index]).ravel() for tree in run])


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A tree of names with dots as a tree of layers."""
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        layer, _, last = name.rpartition(".")
        (tree.setdefault(layer, {}) if layer else tree)[last] = leaf
    return tree
