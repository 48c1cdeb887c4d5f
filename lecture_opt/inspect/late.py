"""Clips of what rules make of gradients: of steps, or of updates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lecture_opt.inspect import probing
from lecture_opt.inspect.leaf import Clip
from lecture_opt.inspect.loud import Heard
from lecture_opt.inspect.norms import SIZES, free_of_clips, squares
from lecture_opt.inspect.probing import COPIES, Probe

WARM = 3


def steps_clipped(asked: Probe, found: Sequence[Heard], micro: int) -> list[Clip | None]:
    """For each leaf whose rates differ from run to run, the clip of its steps that does it."""
    shares = [None if each.rates is None else share_of(each.rates) for each in found]
    clips: list[Clip | None] = [None] * len(found)
    for index, share in enumerate(shares):
        if share is None or clips[index] is not None:
            continue
        alike = [
            clip is None and other is not None and np.allclose(other, share, rtol=1e-5, atol=1e-9)
            for clip, other in zip(clips, shares, strict=True)
        ]
        one = [np.arange(len(found)) == other for other in np.flatnonzero(alike)]
        split = sum(alike) > 1 and not together(asked, index, micro)
        for members in one if split else [alike]:
            first = int(np.argmax(members))
            clip = clip_of(asked, found, members, first)
            clips = [clip if member else c for member, c in zip(members, clips, strict=True)]
    return clips


def together(asked: Probe, index: int, micro: int) -> bool:
    """Whether a leaf's steps change where the other leaves have no gradient."""
    base = SIZES[4] * probing.normal_grads()[:WARM]
    rows = [np.tile(row, (COPIES, 1)) for row in base]
    only = np.arange(COPIES)[:, None] > 0  # the first copy has the gradients of this leaf alone
    trees = [
        [probing.everywhere(s, row * (only | (i == index))) for i, s in enumerate(asked.shapes)]
        for row in rows
    ]
    repeated = (tree for tree in trees for _ in range(micro))
    steps = probing.answers(asked, repeated, probing.full(asked, np.zeros(COPIES)))[index]
    gap = np.abs(steps[:, 0] - steps[:, 1])
    return bool(np.any(gap > 1e-6 * np.abs(steps[:, 1]).max()))


def share_of(rates: Any) -> Any:
    """What is left of a step's rate in each run, against the run that keeps most."""
    usual = free_of_clips(rates)[:, None]
    return np.where(usual == 0, 1.0, rates / np.where(usual == 0, 1.0, usual))


def clip_of(asked: Probe, found: Sequence[Heard], members: Any, index: int) -> Clip | None:
    """The norm that the steps of some leaves are clipped to together, if that explains them."""
    moved_by = [
        (each.motion.identity.rule, each.limit) if each.motion.identity else None for each in found
    ]
    share, rates = share_of(found[index].rates), np.abs(free_of_clips(found[index].rates))[:, None]
    lengths = np.sqrt(squares(asked, members, moved_by)) * share
    less = (share < 1 - 1e-4) & (rates > 0)
    if not np.any(less):
        return None
    on = lengths[rates[:, 0] > 0]
    always = np.all(np.ptp(on, axis=1) < 1e-3 * on.mean(axis=1))  # then the rate is not seen
    identity = found[index].motion.identity
    if always and not (identity and identity.rule.sign):
        return None
    if not always and np.ptp(lengths[less]) < 1e-3 * lengths[less].mean():
        return Clip(float(f"{lengths[less].mean():.3g}"), index, "step")
    sizes = (lengths * rates)[less]
    if np.ptp(sizes) < 1e-3 * sizes.mean():
        return Clip(float(f"{sizes.mean():.3g}"), index, "update")
    return None
