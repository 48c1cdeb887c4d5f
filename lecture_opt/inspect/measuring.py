"""The measurements of rules, decays and schedules."""

from collections.abc import Container
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.rules import simulate
from lecture_opt.inspect import probing, rules
from lecture_opt.inspect.leaf import Decay
from lecture_opt.inspect.probing import COPIES, WATCHED, Probe
from lecture_opt.inspect.rules import Identity

MOVED, PULLED, BOTH, REST = range(4)  # the copies of the run over the whole schedule


QUIET = 8  # so many steps without a gradient tell whether a leaf rests
TRIES = 2  # leaves with noise of their own that are fitted in vain


class Motion(NamedTuple):
    """What moves a leaf.

    Attributes:
        text: The rule in words.
        identity: The rule as a point of the known family.
        decay: Its decay.
        every: Over how many gradients the rule gathers by itself.
        gathers: What it gathers so: the "sum" or the "mean" of gradients, or the "sum of steps".
    """

    text: str
    identity: Identity | None
    decay: Decay
    every: int = 1
    gathers: str = ""

    def sent(self, grads: Any) -> Any:
        """What of gradients the rule gets where it gathers them first."""
        if self.gathers not in ("sum", "mean"):
            return grads
        return rules.summed(grads, self.every) / (self.every if self.gathers == "mean" else 1)


class Course(NamedTuple):
    """A leaf over the whole schedule.

    Attributes:
        rates: The learning rate of each step, or its size where the rule is unknown.
        pulls: The share of params of 1 that each step takes off without a gradient.
        noise: The standard deviation of steps at rest.
    """

    rates: Any
    pulls: Any
    noise: float


def period(answers: list[Any]) -> int:
    """How many gradients go into one step: 1, or the distance of the steps that move a leaf."""
    moved = np.flatnonzero([any(np.any(leaf[0, t]) for leaf in answers) for t in range(40)])
    gaps = set(np.diff(moved))
    if len(gaps) == 1 and (moved[0] + 1) % (gap := int(gaps.pop())) == 0:
        return gap  # the first steps may rest, as in a warm-up from 0
    return 1


def motions(
    asked: Probe, over: tuple[Any, list[Any]], alone: list[Any], copied: Container[int] = ()
) -> list[Motion]:
    """What moves each leaf; leaves with the same answers are measured once.

    Args:
        asked: The compiled optimizer.
        over: The gradients and the answers of `over_amplitudes`.
        alone: What each leaf does without a gradient, which is taken off its answers first.
        copied: The leaves whose answers at params of 1 are rounded, as copies in float32 are.
    """
    grads, answers = over
    known: dict[Any, Motion] = {}
    found = []
    for i, (shape, seen, base) in enumerate(zip(asked.shapes, answers, alone, strict=True)):
        restless = bool(np.any(base))
        own = seen - np.tile(base, (1, 1, len(probing.AMPLITUDES))) if restless else seen
        key = (i in copied, own.shape, np.round(own / (np.abs(own).max() + 1e-300), 9).tobytes())
        tired = restless and sum(each.identity is None for each in known.values()) >= TRIES
        if key not in known and not tired:
            known[key] = motion(probing.columns(grads, shape), own, rounded=i in copied)
        this = known.get(key, Motion("unknown", None, Decay("unknown")))
        if restless and this.identity is None and not asked.random:
            this = Motion("unknown (moves without a gradient)", None, Decay("unknown"))
        elif restless and asked.random:
            this = this._replace(text=f"{this.text} with noise")
        found.append(this)
    return found


def at_rest(asked: Probe, micro: int) -> list[Any]:
    """What each leaf does at params of zero without a gradient: (1, steps, watched)."""
    rest = [probing.first_elements(s, np.zeros((COPIES, WATCHED))) for s in asked.shapes]
    at = probing.full(asked, np.zeros(COPIES))
    for steps in (QUIET, probing.STEPS):  # most stay where they are, which shows early
        answers = probing.answers(asked, [rest] * steps * micro, at)
        answers = [np.nan_to_num(seen[micro - 1 :: micro, 0])[None] for seen in answers]
        if not any(map(np.any, answers)):
            return [np.zeros((1, probing.STEPS, seen.shape[2])) for seen in answers]
    return answers


def motion(grads: Any, seen: Any, *, rounded: bool) -> Motion:
    """What moves a leaf, from its answers at params of 0 and of 1."""
    still, moved = seen
    if not np.any(still):
        return Motion("frozen", None, Decay() if not np.any(moved) else decay_alone(moved))
    identity = rules.identify(grads, still)
    how = beside_rounding(identity, moved - still) if rounded and identity else None
    how = how or decay(identity, grads, still, moved)
    if identity is None:
        return Motion("unknown", None, how)
    if how.kind == "unknown" and (amount := ratio_decay(identity, still, moved)) is not None:
        how = Decay("decoupled", amount) if amount else Decay()
        return Motion(f"{identity.text} * norm ratio", identity, how)
    if how.kind == "unknown":
        return Motion(f"{identity.text} * an unknown function of params", identity, how)
    return Motion(identity.text, identity, how)


def decay_alone(moved: Any) -> Decay:
    """The decay of a leaf that its gradients do not move."""
    return Decay("decoupled", short(-np.mean(moved[-1])), scheduled=False)


def short(value: Any) -> float:
    """A number to three digits."""
    return float(f"{value:.3g}")


def decay(identity: Identity | None, grads: Any, still: Any, moved: Any) -> Decay:
    """How params of 1 change the answers."""
    gap = moved - still
    if np.abs(gap).max() <= 1e-11 * np.abs(still).max():
        return Decay()
    per_step = -gap.mean(axis=1)
    if np.abs(gap + per_step[:, None]).max() < 1e-4 * np.abs(gap).max():
        if identity is None:
            return Decay("decoupled", short(per_step[np.argmax(np.abs(per_step))]))
        rates = identity.rates
        on = np.abs(rates) > 1e-3 * np.abs(rates).max()
        ratio = per_step[on] / rates[on]
        if np.ptp(ratio) < 1e-3 * abs(ratio.mean()):
            return Decay("decoupled", short(ratio.mean()))
        through = through_the_moment(identity, per_step)
        if through is not None:
            return Decay("coupled", through)
        steady = np.ptp(per_step) < 1e-3 * np.abs(per_step).max()
        return Decay("decoupled", short(per_step.mean()), scheduled=not steady)
    if identity is None or grads is None:
        return Decay("unknown")
    amount = rules.coupled(identity.rule, grads, moved)
    return Decay("unknown") if amount is None else Decay("coupled", amount)


def beside_rounding(identity: Identity, gap: Any) -> Decay | None:
    """A decoupled decay told from how float32 rounds params of 1; `None` where that isn't all."""
    rates, size = identity.rates, float(np.finfo(np.float32).eps)
    amount = -float(np.sum(gap.mean(axis=1) * rates) / np.sum(rates**2))
    if np.abs(gap + amount * rates[:, None]).max() > size:
        return None
    certain = abs(amount) * np.sqrt(np.mean(rates**2) * gap.size) / size
    if certain < 5:
        return Decay() if np.abs(gap).max() > 1e-3 * size else None
    digits = min(3, max(1, int(np.log10(certain))))
    return Decay("decoupled", float(f"{amount:.{digits}g}"))


def ratio_decay(identity: Identity, still: Any, moved: Any) -> float | None:
    """The decay inside a norm ratio as LAMB's; `None` where params do not enter as a factor.

    A step at params of 1 is then a factor times (the step at params of 0, less rate * decay).
    """
    amounts = []
    blocks = (np.split(each, len(probing.AMPLITUDES), axis=1) for each in (still, moved))
    for a, b in zip(*blocks, strict=True):
        if a.shape[1] < 3 or not np.any(a):
            return None
        for before, after, rate in zip(a, b, identity.rates, strict=True):
            if not np.any(before) or not rate:
                continue
            parts = np.stack([before, np.full_like(before, -rate)], axis=1)
            (factor, pull), *_ = np.linalg.lstsq(parts / np.abs(parts).max(0), after, rcond=None)
            factor, pull = np.array([factor, pull]) / np.abs(parts).max(0)
            if np.abs(parts @ [factor, pull] - after).max() > 1e-4 * np.abs(after).max():
                return None
            amounts.append(pull / factor if factor else np.inf)
    spread = np.ptp(amounts) if amounts else np.inf
    if spread > 1e-3 * max(np.abs(amounts).max(), 1e-6):
        return None
    return 0.0 if np.abs(amounts).max() < 1e-9 else short(np.median(amounts))


def through_the_moment(identity: Identity, per_step: Any) -> float | None:
    """The decay that a linear rule's momentum passes on as `per_step`; `None` where it can't be."""
    if identity.rule.second != "one" or identity.rule.sign:
        return None
    ones = simulate(identity.rule, np.ones((len(per_step), 1)))[:, 0] * -identity.rates
    amount = float(np.sum(ones * per_step) / (np.sum(ones**2) + 1e-300))
    close = np.abs(per_step - amount * ones).max() < 1e-3 * np.abs(per_step).max()
    return short(amount) if close else None


def courses(
    asked: Probe, motions: list[Motion], steps: int, micro: int, size: float
) -> list[Course]:
    """Each leaf over the whole schedule, under one gradient of a size that comes at every step."""
    gradient = np.zeros((COPIES, WATCHED))
    gradient[[MOVED, BOTH]] = size
    params = np.zeros(COPIES)
    params[[PULLED, BOTH]] = 1.0
    tree = [probing.first_elements(shape, gradient) for shape in asked.shapes]
    answers = probing.answers(asked, [tree] * steps, probing.full(asked, params))
    computed: dict[Any, Any] = {}
    found = []
    for motion, seen in zip(motions, answers, strict=True):
        seen = seen[micro - 1 :: micro, :, :1]
        alone = bool(np.all(np.isfinite(seen[:, PULLED])))  # some rules divide by the gradient
        seen = np.nan_to_num(seen)
        moved, rest = seen[:, MOVED] - seen[:, REST], seen[:, REST]
        if motion.identity is not None and motion.identity.rule.second == "yogi":
            moved = seen[:, MOVED]
        pulls = -(seen[:, PULLED] - rest if alone else seen[:, BOTH] - seen[:, MOVED])[:, 0]
        noise = float(np.std(rest)) if "noise" in motion.text else 0.0
        if motion.identity is None:
            found.append(Course(-moved[:, 0], pulls, noise))
            continue
        key = (motion.text, motion.every, moved.tobytes())
        if key not in computed:
            computed[key] = rates(motion, motion.identity, moved, size)
        every = max(1, motion.every // micro)  # of a rule of sums, which also steps between them
        pulls = pulls / motion.every if motion.gathers == "sum of steps" else pulls
        found.append(Course(computed[key][every - 1 :: every], pulls[every - 1 :: every], noise))
    return found


def rates(motion: Motion, identity: Identity, moved: Any, size: float) -> Any:
    """The learning rate of each of a leaf's answers to a gradient that stays the same."""
    every = motion.every if motion.gathers == "sum of steps" else 1
    grads = motion.sent(np.full((len(moved) * every, 1), size))
    return rules.rates_of(identity.rule, grads, moved, every)


def over_the_schedule(how: Decay, course: Course, known: bool) -> Decay:
    """A decoupled decay, told by the whole schedule whether it follows the rate."""
    if how.kind != "decoupled" or not known or not np.any(course.pulls):
        return how
    on = np.abs(course.rates) > 1e-3 * np.abs(course.rates).max(initial=0.0)
    ratio = course.pulls[on] / course.rates[on]
    if len(ratio) and np.ptp(ratio) < 1e-3 * abs(ratio.mean()):
        return Decay("decoupled", short(ratio.mean()))
    if np.ptp(course.pulls) < 1e-3 * np.abs(course.pulls).max():
        return Decay("decoupled", short(course.pulls.mean()), scheduled=False)
    return how
