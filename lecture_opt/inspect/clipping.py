"""Which leaves are clipped together, and at what norm."""

import numpy as np

from lecture_opt.inspect import probing
from lecture_opt.inspect.leaf import Clip
from lecture_opt.inspect.probing import COPIES, Probe

QUIET, LOUD, WARM = 1e-7, 1e3, 3


def clips(asked: Probe, moving: list[bool], micro: int) -> list[Clip | None]:
    """With which others each leaf is clipped, from what a spike in one leaf does to them."""
    found: list[Clip | None] = [None] * len(moving)
    waiting = [index for index, moves in enumerate(moving) if moves]
    group = 0
    while waiting:
        batch = waiting[: COPIES - 1]
        touched = touched_by(asked, [(index, LOUD) for index in batch], micro)
        for index, members in zip(batch, touched, strict=True):
            if index not in waiting:
                continue
            waiting.remove(index)
            if members:
                norm = clip_norm(asked, index, micro, alone=members == {index})
                for member in members & {*waiting, index} | {index}:
                    found[member] = Clip(norm, group)
                waiting = [other for other in waiting if other not in members]
                group += 1
    return found


def touched_by(asked: Probe, spikes: list[tuple[int, float]], micro: int) -> list[set[int]]:
    """For each spike (leaf, size), the leaves of which other elements change their update."""
    rows = probing.normal_grads()[:WARM]
    trees = [
        [probing.first_elements(s, np.tile(QUIET * row, (COPIES, 1))) for s in asked.shapes]
        for row in rows
    ]
    trees = [tree for tree in trees[:-1] for _ in range(micro)] + [trees[-1]] * micro
    spiked = [leaf.copy() for leaf in trees[-1]]
    for copy, (index, size) in enumerate(spikes):
        spiked[index][copy].reshape(-1)[0] = size
    trees[-micro:] = [spiked] * micro
    answers = probing.answers(asked, trees, probing.full(asked, np.zeros(COPIES)))
    found = []
    for copy, (index, _) in enumerate(spikes):
        members = set()
        for other, seen in enumerate(answers):
            now, usual = seen[-1, copy], seen[-1, COPIES - 1]
            if other == index:
                now, usual = now[1:], usual[1:]
            if np.any(np.abs(now - usual) > 1e-5 * np.abs(usual).max(initial=0.0)):
                members.add(other)
        found.append(members)
    return found


def clip_norm(asked: Probe, index: int, micro: int, *, alone: bool) -> float:
    """The size of a spike from which on others notice it; 0 where they always do."""
    low, high = 1e-4, LOUD
    for _ in range(6):
        sizes = np.geomspace(low, high, COPIES - 1)
        touched = touched_by(asked, [(index, float(size)) for size in sizes], micro)
        noticed = [bool(members if alone else members - {index}) for members in touched]
        first = noticed.index(True) if any(noticed) else len(sizes) - 1
        if first == 0:
            return 0.0 if low == 1e-4 else float(f"{low:.3g}")
        low, high = float(sizes[first - 1]), float(sizes[first])
    return float(f"{np.sqrt(low * high):.3g}")
