"""The leaves with all that the probes tell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lecture_opt.inspect import clipping, matrices, measuring, probing, states, trees
from lecture_opt.inspect.leaf import Leaf


def measured(optimizer: Any, small: Any, places: Sequence[trees.Place], steps: int) -> list[Leaf]:
    """The leaves with all that the probes tell."""
    asked = probing.probe(optimizer, small)
    seen = probing.over_amplitudes(asked)
    micro = measuring.period(seen[1])
    seen = seen if micro == 1 else probing.over_amplitudes(asked, micro=micro)
    motions = measuring.motions(asked, seen, micro)
    courses = measuring.courses(asked, motions, steps, micro)
    found = [
        of_motion(place, motion, course, micro, trees.vocabulary_of(list(places)))
        for place, motion, course in zip(places, motions, courses, strict=True)
    ]
    restless = any("without a gradient" in leaf.rule for leaf in found)
    clips = clipping.clips(asked, [leaf.moves and not restless for leaf in found], micro)
    if any(leaf.rule.startswith("unknown") for leaf in found) and not restless:
        for index, matrix in matrices.matrices(asked, micro).items():
            if found[index].rule.startswith("unknown"):
                rates = found[index].rates * (matrix.size / (abs(found[index].rates[-1]) or 1.0))
                rates = rates if matrix.size else found[index].rates
                found[index] = replace(found[index], rule=matrix.text, rates=rates)
    members = Counter(clip.group for clip in clips if clip)
    keeps = states.kept(asked, places)
    units = [unit_of(motion) for motion in motions]
    gathered = states.gathered(asked, places, micro, units) if micro > 1 else [""] * len(places)
    ends = needed(asked, motions, found, steps, micro)
    return [
        replace(
            leaf,
            clip=None if clip and members[clip.group] == 1 and not leaf.known else clip,
            keeps=kept,
            accumulates=how,
            needs=end,
        )
        for leaf, clip, kept, how, end in zip(found, clips, keeps, gathered, ends, strict=True)
    ]


def of_motion(
    place: trees.Place,
    motion: measuring.Motion,
    course: measuring.Course,
    micro: int,
    vocabulary: int,
) -> Leaf:
    """A leaf with its rule, rates and decay."""
    rule = motion.text
    if rule == "frozen" and np.any(course.rates):
        rule = f"unknown (rests for {int(np.flatnonzero(course.rates)[0])} steps)"
    decay = measuring.over_the_schedule(motion.decay, course, motion.text.endswith(")"))
    pulls = course.pulls
    return Leaf(
        path=place.path,
        role=trees.role_of(place, vocabulary),
        kind=trees.kind_of(place.path),
        shape=place.shape,
        dtype=str(place.dtype),
        rule=rule,
        rates=course.rates,
        decay=decay,
        every=micro,
        noise=course.noise,
        share=float(pulls[np.argmax(np.abs(pulls))]) if decay.kind != "no" and len(pulls) else 0.0,
    )


def unit_of(motion: measuring.Motion) -> float:
    """What a gradient of 1 adds to a leaf's first moment; NaN where that is not known."""
    if motion.identity is None or motion.identity.rule.along == "gradient":
        return float("nan")
    rule = motion.identity.rule
    decay = rule.numbers.b2 if "lion" in rule.along else rule.numbers.b1
    return 1.0 if rule.first == "sum" else 1.0 - float(np.asarray(decay))


def needed(
    asked: Any, motions: list[Any], leaves: Sequence[Leaf], steps: int, micro: int
) -> list[int | None]:
    """How many gradients a schedule takes to its end that is still under way in the last step."""

    def falls(leaf: Leaf) -> bool:
        size = np.abs(leaf.rates)
        return leaf.known and len(size) > 2 and bool(0.1 * leaf.peak < size[-1] < size[-2])

    if micro == 1 or not any(map(falls, leaves)):
        return [None] * len(leaves)
    longer = measuring.courses(asked, motions, steps * micro + 2 * micro, micro)
    found: list[int | None] = []
    for leaf, course in zip(leaves, longer, strict=True):
        turns = np.flatnonzero(np.abs(np.diff(course.rates)) > 1e-9 * abs(leaf.peak))
        ends = falls(leaf) and len(turns) and turns[-1] < len(course.rates) - 2
        found.append((int(turns[-1]) + 1) * micro if ends else None)
    return found
