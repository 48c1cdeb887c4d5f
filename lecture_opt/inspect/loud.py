"""Gradients of all sizes, in all elements: whether a rule holds there, and what is clipped.

The first answers are to gradients that stay below every clip. A rule is only called by its name
where it gives the answers to large gradients too, be it behind a clip or before one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.fitting import EQUAL, Responses, error
from lecture_opt.check.diagnosis.rules import Rule, simulate
from lecture_opt.inspect import measuring, probing, rules
from lecture_opt.inspect.leaf import Clip
from lecture_opt.inspect.measuring import TRIES, Motion
from lecture_opt.inspect.probing import AMPLITUDES, COPIES, WATCHED, Probe
from lecture_opt.inspect.rules import Identity

SIZES = (1e-12, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)  # at the first no step is large
RUNS = len(AMPLITUDES) + len(SIZES)
STEPS = 20  # half of the quiet ones: they only have to contradict
NORM = 2e-3  # a norm is known to three digits
WARM = 3
QUIET = len(AMPLITUDES)  # of the runs, so many are quiet and come first


class Heard(NamedTuple):
    """A leaf as gradients of all sizes tell it.

    Attributes:
        motion: What moves it, a rule only where it holds at all sizes.
        limit: The size that each element of its gradient is cut to.
        norm: The norm that the gradients of its group are clipped to, where it tells that better.
        rates: The learning rate of each step and run, where they differ: its steps are clipped.
    """

    motion: Motion
    limit: float = np.inf
    norm: float = 0.0
    rates: Any = None


def heard(
    asked: Probe,
    quiet: tuple[Any, list[Any]],
    alone: list[Any],
    motions: list[Motion],
    clips: Sequence[Clip | None],
    micro: int,
) -> list[Heard]:
    """What gradients of all sizes tell of each leaf.

    Args:
        asked: The compiled optimizer.
        quiet: The gradients and the answers of `over_amplitudes`.
        alone: What each leaf does without a gradient.
        motions: What moves each leaf, by its answers to small gradients.
        clips: With which others the gradients of each leaf are clipped.
        micro: How many gradients go into a step.
    """
    loud = probing.over_sizes(asked, SIZES, (0.0,), micro, probing.everywhere, STEPS)
    grads = np.concatenate([quiet[0][:STEPS], loud[0]], axis=1)
    norms = {clip: norms_of(asked, [other == clip for other in clips]) for clip in {*clips}}
    known: dict[Any, Heard] = {}
    vain: Counter[Any] = Counter()
    found = []
    for index, (shape, motion, clip) in enumerate(zip(asked.shapes, motions, clips, strict=True)):
        raw = np.concatenate([quiet[1][index][0, :STEPS], loud[1][index][0]], axis=1)
        seen = raw - np.tile(alone[index][0, :STEPS], RUNS)
        key = (motion.text, motion.decay, clip, rounded(seen).tobytes())
        if key not in known:
            answers = Answers(probing.columns(grads, shape), seen, raw, quiet[1][index][:, :STEPS])
            kind = (motion.text, clip is not None)
            tired = vain[kind] >= TRIES
            known[key] = heard_of(motion, answers, clip, norms[clip], tired=tired)
            vain[kind] += known[key].motion.identity is None
        found.append(known[key])
    return found


def rounded(seen: Any) -> Any:
    """Answers to nine digits of the largest in each run of the columns."""
    return np.round(seen / (np.abs(seen).max(axis=0, keepdims=True) + 1e-300), 9)


class Answers(NamedTuple):
    """The answers of a leaf.

    Attributes:
        grads: The gradients of all runs, as (steps, columns).
        seen: What the leaf does more than without a gradient.
        raw: What it does.
        quiet: Its answers to small gradients, at params of 0 and of 1.
    """

    grads: Any
    seen: Any
    raw: Any
    quiet: Any

    def error(self, motion: Motion, grads: Any, runs: int = 1) -> float:
        """How far the rule of a motion is from them with the gradients limited to `grads`."""
        if motion.identity is None:
            return np.inf
        every = motion.every if motion.gathers == "sum of steps" else 1
        sent = motion.sent(np.repeat(grads, every, axis=0))
        return error(motion.identity.rule, Responses(sent, self.seen, runs, every))

    def moved_by(self, identity: Identity, *, clipped: bool = False) -> Motion:
        """The motion by a rule, with its decay, which is not looked for in clipped gradients."""
        small = None if clipped else self.grads[:, : self.quiet.shape[-1]]
        return Motion(identity.text, identity, measuring.decay(identity, small, *self.quiet))


def heard_of(
    motion: Motion, answers: Answers, clip: Clip | None, norms: Any, *, tired: bool
) -> Heard:
    """A leaf, from its answers to gradients of all sizes and the norms of its group's.

    Tired of leaves that no rule moves, it tries only what is quick.
    """
    unknown = Motion(f"unknown ({motion.text} for small gradients)", None, motion.decay)
    grads, seen = answers.grads, answers.seen
    if motion.text == "frozen" or "noise" in motion.text:
        return Heard(motion)
    if motion.identity is None:
        finite = np.all(np.isfinite(seen))
        return of_unknown(motion, answers, clip, tired) if finite else Heard(motion)
    rule, within = motion.identity.rule, grads
    if answers.error(motion, grads) < EQUAL:
        return Heard(motion)
    if clip is not None:
        by_norm = np.repeat(norms, grads.shape[1] // RUNS, axis=1)
        within = grads * np.minimum(1.0, clip.norm / by_norm)
        if answers.error(motion, within) < NORM:
            return Heard(motion)
        norm = (
            None
            if tired
            else searched(answers, motion, lambda c: grads * np.minimum(1.0, c / by_norm))
        )
        if norm is not None:
            return Heard(motion, norm=norm)
    limit = None if tired else searched(answers, motion, lambda c: np.clip(grads, -c, c))
    if limit is not None:
        return Heard(motion, limit=limit)
    if motion.gathers:
        return Heard(unknown)
    if answers.error(motion, grads, RUNS) < EQUAL:  # of one element alone this says nothing yet
        return Heard(motion, rates=rates_of_runs(rule, grads, seen))
    if tired:
        return Heard(unknown)
    cut = tuple(rule.at(clip=bound) for bound in np.geomspace(1e-3, 1e3, 19))
    for sent, among in ((grads, rules.WIDE), (within, rules.WIDE), (grads, cut)):
        other = rules.identify(sent, answers.raw, among=among)
        if other is not None:
            return Heard(answers.moved_by(other))
    return Heard(unknown)


def of_unknown(motion: Motion, answers: Answers, clip: Clip | None, tired: bool) -> Heard:
    """A leaf that no rule moves by its answers to small gradients."""
    grads, restless = answers.grads, "without a gradient" in motion.text
    identity = rules.identify(grads, answers.raw, far=np.inf if restless and not tired else 0.0)
    if identity is None and not tired:
        identity = rules.identify(grads, answers.raw, among=rules.CUT, far=0.2)
    if identity is not None:
        return Heard(answers.moved_by(identity))
    if restless or tired or grads.shape[1] == RUNS:
        return Heard(motion)
    identity = rules.identify(grads, answers.seen, runs=RUNS, far=np.inf if clip else 0.0)
    if identity is None:
        return Heard(motion)
    rates = rates_of_runs(identity.rule, grads, answers.seen)
    identity = identity._replace(rates=free_of_clips(rates))
    return Heard(answers.moved_by(identity, clipped=True), rates=rates)


def rates_of_runs(rule: Rule, grads: Any, updates: Any) -> Any:
    """The rate of each step of each run: (steps, runs)."""
    parts = zip(np.split(grads, RUNS, axis=1), np.split(updates, RUNS, axis=1), strict=True)
    return np.stack([rules.rates_of(rule, each, update) for each, update in parts], axis=1)


def searched(answers: Answers, motion: Motion, limited: Callable[[float], Any]) -> float | None:
    """The roundest size to which gradients are limited, if a rule of them gives the updates."""
    fits = []

    def gap(power: float) -> float:
        found = answers.error(motion, limited(10.0**power))
        if found < EQUAL:
            fits.append(power)
        return found

    powers = np.linspace(-3.5, 4.5, 81)
    for _ in range(8):
        best = powers[int(np.argmin([gap(power) for power in powers]))]
        width = powers[1] - powers[0]
        powers = np.linspace(best - width, best + width, 21)
    if not fits:
        return None
    plain = (float(f"{10.0**best:.{digits}g}") for digits in (1, 2, 3, 4))
    return next((size for size in plain if gap(np.log10(size)) < EQUAL), float(10.0**best))


def norms_of(asked: Probe, members: Any) -> Any:
    """The norms of the gradients of some leaves, at each step of each run: (steps, runs)."""
    return np.sqrt(squares(asked, members, [None] * len(members)))


def squares(asked: Probe, members: Any, moved_by: Sequence[Rule | None]) -> Any:
    """The squared norms of the steps of some leaves, without a rule of their gradients."""
    base = probing.normal_grads()[:STEPS]
    grads = np.stack([size * base for size in (*AMPLITUDES, *SIZES)], axis=1)
    known: dict[Any, Any] = {None: grads**2}
    total = np.zeros(grads.shape[:2])
    for shape, member, rule in zip(asked.shapes, members, moved_by, strict=True):
        if member and probing.is_floating(shape):
            if rule is not None and rule not in known:
                steps = simulate(rule, grads.reshape(len(grads), -1))
                known[rule] = steps.reshape(grads.shape) ** 2
            total += np.sum(known[rule] * times(shape), axis=2)
    return total


def times(shape: Any) -> Any:
    """How often each watched element stands in a leaf, in each run: (runs, watched)."""
    size = int(np.prod(shape.shape))
    loud = [len(range(start, size, WATCHED)) for start in range(WATCHED)]
    return np.array([[min(count, 1) for count in loud]] * QUIET + [loud] * len(SIZES))


def free_of_clips(rates: Any) -> Any:
    """Of each step's rates in all runs the largest."""
    return np.take_along_axis(rates, np.abs(rates).argmax(axis=1)[:, None], axis=1)[:, 0]


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
    moved_by = [each.motion.identity.rule if each.motion.identity else None for each in found]
    share, rates = share_of(found[index].rates), np.abs(free_of_clips(found[index].rates))[:, None]
    lengths = np.sqrt(squares(asked, members, moved_by)) * share
    less = (share < 1 - 1e-4) & (rates > 0)
    if not np.any(less):
        return None
    on = np.broadcast_to(rates > 0, share.shape)
    always = np.ptp(lengths[on]) < 1e-3 * lengths[on].mean()  # then the rate itself is not seen
    if not always and np.ptp(lengths[less]) < 1e-3 * lengths[less].mean():
        return Clip(float(f"{lengths[less].mean():.3g}"), index, "step")
    sizes = (lengths * rates)[less]
    if np.ptp(sizes) < 1e-3 * sizes.mean():
        return Clip(float(f"{sizes.mean():.3g}"), index, "update")
    return None
