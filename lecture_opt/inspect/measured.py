"""The leaves with all that the probes tell."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.inspect import (
    clipping,
    gathering,
    loud,
    matrices,
    measuring,
    probing,
    states,
    trees,
)
from lecture_opt.inspect.held import held
from lecture_opt.inspect.late import steps_clipped
from lecture_opt.inspect.leaf import Clip, Leaf
from lecture_opt.inspect.norms import SIZES


def measured(optimizer: Any, small: Any, places: Sequence[trees.Place], steps: int) -> list[Leaf]:
    """The leaves with all that the probes tell."""
    asked = probing.probe(optimizer, small)
    keeps, copies = states.kept(asked, places)
    if copies:
        asked = probing.probe(held(optimizer, copies, small), small)
    micro, motions, heard, clips = moved_by(asked, copies)
    late = any(clip is not None and clip.of != "gradient" for clip in clips)
    size = SIZES[0] if late else probing.AMPLITUDES[0]
    courses = measuring.courses(asked, motions, steps, micro, size)
    found = [
        of_motion(place, motion, course, micro, trees.vocabulary_of(list(places)), i in copies)
        for i, (place, motion, course) in enumerate(zip(places, motions, courses, strict=True))
    ]
    found = with_matrices(asked, found, micro)
    members = Counter(clip.group for clip in clips if clip)
    gathers = gathered(asked, places, motions, micro)
    ends = needed(asked, motions, found, steps, micro, size)
    return [
        replace(
            leaf,
            clip=None if clip and members[clip.group] == 1 and not leaf.known else clip,
            limit=each.limit,
            **(of_a_sum(leaf, motion) if how == "sum" else {}),
            keeps=kept,
            accumulates=how,
            needs=end,
        )
        for leaf, motion, clip, each, kept, how, end in zip(
            found, motions, clips, heard, keeps, gathers, ends, strict=True
        )
    ]


class Moved(NamedTuple):
    """The period of the steps, and of each leaf what moves it, what it hears and how it is clipped.

    Attributes:
        micro: How many gradients go into a step of all leaves.
        motions: What moves each leaf.
        heard: What gradients of all sizes tell of each.
        clips: How each is clipped.
    """

    micro: int
    motions: list[measuring.Motion]
    heard: list[loud.Heard]
    clips: list[Clip | None]


def moved_by(asked: probing.Probe, copies: Container[int]) -> Moved:
    """What moves each leaf, told by small gradients and then by those of all sizes."""
    once = probing.over_amplitudes(asked)
    micro = measuring.period(once[1])
    seen = once if micro == 1 else probing.over_amplitudes(asked, micro=micro)
    alone = measuring.at_rest(asked, micro)
    motions = measuring.motions(asked, seen, alone, copies)
    known: dict[Any, measuring.Motion] = {}
    for index, (motion, shape) in enumerate(zip(motions, asked.shapes, strict=True)):
        key = (motion.text, once[1][index].tobytes())
        if key not in known:
            grads = probing.columns(once[0], shape)
            known[key] = gathering.gathering(motion, grads, once[1][index], micro)
        motions[index] = known[key]
    each = max(micro, *(motion.every for motion in motions))
    clips = clipping.clips(asked, [motion.text != "frozen" for motion in motions], each)
    heard = loud.heard(asked, seen, alone, motions, clips, micro)
    clips, motions = clipped(asked, heard, clips, micro)
    return Moved(micro, motions, heard, clips)


def with_matrices(asked: probing.Probe, found: list[Leaf], micro: int) -> list[Leaf]:
    """The leaves, with the unknown ones told that are orthogonalised or divided by factors."""
    unknown = [leaf.rule.startswith("unknown") for leaf in found]
    if not any(unknown) or any("without a gradient" in leaf.rule for leaf in found):
        return found
    told = list(found)
    for index, matrix in matrices.matrices(asked, micro).items():
        if unknown[index]:
            rates = found[index].rates
            if matrix.size:
                rates = rates * (matrix.size / (abs(rates[-1]) or 1.0))
            told[index] = replace(found[index], rule=matrix.text, rates=rates)
    return told


def of_a_sum(leaf: Leaf, motion: measuring.Motion) -> dict[str, Any]:
    """What changes in a leaf, told by gradients that came several times, where those are summed."""
    if motion.identity is None or motion.gathers:
        return {}
    rule, text, many = motion.identity.rule, motion.identity.text, leaf.every
    if rule.second == "one":
        return {} if rule.sign else {"rates": leaf.rates / many}
    at = rule.numbers
    larger = rule.at(
        eps=at.eps * many, eps_root=at.eps_root * many**2, initial=at.initial * many**2
    )
    return {"rule": leaf.rule.replace(text, motion.identity._replace(rule=larger).text)}


def gathered(
    asked: probing.Probe,
    places: Sequence[trees.Place],
    motions: Sequence[measuring.Motion],
    micro: int,
) -> list[str]:
    """How gradients enter each leaf's step: their "mean" or "sum", "" for one or where unknown."""
    found = [""] * len(places)
    if micro > 1:
        found = states.gathered(asked, places, micro, [unit_of(motion) for motion in motions])
    return [
        motion.gathers.partition(" ")[0] or how for motion, how in zip(motions, found, strict=True)
    ]


def clipped(
    asked: probing.Probe, heard: list[loud.Heard], clips: list[Clip | None], micro: int
) -> tuple[list[Clip | None], list[measuring.Motion]]:
    """The clips of gradients and those of steps, and what moves each leaf."""
    steps = [
        None if each.motion.decay.kind == "unknown" else step  # params enter: it is no mere clip
        for each, step in zip(heard, steps_clipped(asked, heard, micro), strict=True)
    ]
    motions = [
        each.motion
        if each.rates is None or step is not None
        else measuring.Motion(f"unknown ({each.motion.text} * a factor)", None, each.motion.decay)
        for each, step in zip(heard, steps, strict=True)
    ]
    norms = {clip: each.norm for clip, each in zip(clips, heard, strict=True) if each.norm}
    early = [clip and clip._replace(norm=norms.get(clip, clip.norm)) for clip in clips]
    return [step or clip for step, clip in zip(steps, early, strict=True)], motions


def of_motion(
    place: trees.Place,
    motion: measuring.Motion,
    course: measuring.Course,
    micro: int,
    vocabulary: int,
    rounded: bool,
) -> Leaf:
    """A leaf with its rule, rates and decay; the schedule of a rounded one tells less of that."""
    rule = motion.text
    if rule == "frozen" and np.any(course.rates):
        rule = f"unknown (rests for {int(np.flatnonzero(course.rates)[0])} steps)"
    known = motion.text.endswith(")") and not rounded
    decay = measuring.over_the_schedule(motion.decay, course, known)
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
        every=max(micro, motion.every),
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
    asked: Any, motions: list[Any], leaves: Sequence[Leaf], steps: int, micro: int, size: float
) -> list[int | None]:
    """How many gradients a schedule takes to its end that is still under way in the last step."""

    def falls(leaf: Leaf) -> bool:
        size = np.abs(leaf.rates)
        return leaf.known and len(size) > 2 and bool(0.1 * leaf.peak < size[-1] < size[-2])

    if micro == 1 or not any(map(falls, leaves)):
        return [None] * len(leaves)
    longer = measuring.courses(asked, motions, steps * micro + 2 * micro, micro, size)
    found: list[int | None] = []
    for leaf, course in zip(leaves, longer, strict=True):
        turns = np.flatnonzero(np.abs(np.diff(course.rates)) > 1e-9 * abs(leaf.peak))
        ends = falls(leaf) and len(turns) and turns[-1] < len(course.rates) - 2
        found.append((int(turns[-1]) + 1) * micro if ends else None)
    return found
