"""Gradients of all sizes, in all elements: whether a rule holds there, and what is clipped.

The first answers are to gradients that stay below every clip. A rule is only called by its name
where it gives the answers to large gradients too, be it behind a clip or before one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.fitting import EQUAL, Responses, error
from lecture_opt.check.diagnosis.rules import Rule
from lecture_opt.inspect import measuring, probing, rules
from lecture_opt.inspect.leaf import Clip
from lecture_opt.inspect.measuring import TRIES, Motion
from lecture_opt.inspect.norms import QUIET, RUNS, SIZES, STEPS, free_of_clips, norms_of
from lecture_opt.inspect.probing import Probe
from lecture_opt.inspect.rules import Identity

NORM = 2e-3  # a norm is known to three digits


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

    def cut(self, size: float) -> Any:
        """The gradients with each element cut to a size."""
        return np.clip(self.grads, -size, size)

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
    limit = None if tired else searched(answers, motion, answers.cut)
    if limit is not None:
        return Heard(motion, limit=limit)
    if motion.gathers:
        return Heard(unknown)
    if answers.error(motion, grads, RUNS) < EQUAL:  # of one element alone this says nothing yet
        return Heard(motion, rates=rates_of_runs(rule, grads, seen))
    if tired:
        return Heard(unknown)
    limit = searched(answers, motion, answers.cut, RUNS)
    if limit is not None:
        return Heard(motion, limit, rates=rates_of_runs(rule, answers.cut(limit), seen))
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
    small = grads.shape[1] // RUNS * (QUIET + 1)  # those that no limit of elements reaches
    identity = rules.identify(
        grads[:, :small], answers.seen[:, :small], runs=QUIET + 1, far=np.inf if clip else 0.0
    )
    if identity is None:
        return Heard(motion)
    found = Motion(identity.text, identity, motion.decay)
    limit: float | None = np.inf
    if answers.error(found, grads, RUNS) > EQUAL:
        limit = searched(answers, found, answers.cut, RUNS)
    if limit is None:
        return Heard(motion)
    rates = rates_of_runs(identity.rule, answers.cut(limit), answers.seen)
    identity = identity._replace(rates=free_of_clips(rates))
    return Heard(answers.moved_by(identity, clipped=True), limit, rates=rates)


def rates_of_runs(rule: Rule, grads: Any, updates: Any) -> Any:
    """The rate of each step of each run: (steps, runs)."""
    parts = zip(np.split(grads, RUNS, axis=1), np.split(updates, RUNS, axis=1), strict=True)
    return np.stack([rules.rates_of(rule, each, update) for each, update in parts], axis=1)


def searched(
    answers: Answers, motion: Motion, limited: Callable[[float], Any], runs: int = 1
) -> float | None:
    """The roundest size to which gradients are limited, if a rule of them gives the updates."""
    fits = []

    def gap(power: float) -> float:
        found = answers.error(motion, limited(10.0**power), runs)
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
