"""Clues: in what way two sequences of updates differ, where no known rule explains it.

Each clue is a sentence, found by comparing the updates alone: one a step late, one a multiple of
the other, a factor for each leaf, a difference that follows the parameters, differences that only
large or only positive gradients show.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from lecture_opt.check import probes

CLOSE = 1e-4
ALMOST = 1e-2  # for a gap between two updates, which holds the rounding of both


class Step(NamedTuple):
    """One step of both optimizers: a list of flat leaves for each."""

    grads: list[Any]
    params: list[Any]
    got: list[Any]
    wanted: list[Any]


def flat(*trees: Any) -> Step:
    """A step from the four trees."""
    return Step(*([probes.float64(x).ravel() for x in jax.tree.leaves(t)] for t in trees))


def clue(steps: list[Step]) -> str | None:
    """The first clue that fits, in a sentence; None where there is none."""
    for found in (late, multiple, own_factor_per_leaf, follows_the_params, only_some_elements):
        text = found(steps)
        if text:
            return text
    return None


def alike(a: Any, b: Any, tolerance: float = CLOSE) -> bool:
    """Whether two arrays agree to a ten-thousandth of the larger one's largest element."""
    scale = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
    return bool(np.all(np.abs(a - b) <= tolerance * scale))


def whole(leaves: list[Any]) -> Any:
    """All leaves in one vector."""
    return np.concatenate(leaves) if leaves else np.zeros(0)


def parted(steps: list[Step]) -> Iterator[tuple[int, Step]]:
    """The steps in which the two differ, with their numbers."""
    for index, step in enumerate(steps):
        if not alike(whole(step.got), whole(step.wanted)):
            yield index, step


def distance(step: Step) -> float:
    """The largest difference of a step, relative to the reference's largest element."""
    got, wanted = whole(step.got), whole(step.wanted)
    scale = np.max(np.abs(wanted), initial=0.0) or 1.0
    return float(np.max(np.abs(got - wanted), initial=0.0) / scale)


def late(steps: list[Step]) -> str | None:
    """One sequence is the other, moved by a step."""
    got, wanted = ([whole(getattr(s, name)) for s in steps] for name in ("got", "wanted"))
    if all(map(alike, got[1:], wanted[:-1])):
        return "Its updates are the reference's, one step late."
    if all(map(alike, got[:-1], wanted[1:])):
        return "Its updates are the reference's, one step early."
    return None


def ratio(got: Any, wanted: Any, tolerance: float = CLOSE) -> float | None:
    """The factor between two arrays, where there is one."""
    square = float(np.sum(wanted**2))
    factor = float(np.sum(got * wanted)) / square if square else 0.0
    return factor if square and alike(got, factor * wanted, tolerance) else None


def multiple(steps: list[Step]) -> str | None:
    """Every update is the reference's times a factor, the same for all elements of a step."""
    factors = {index: ratio(whole(s.got), whole(s.wanted)) for index, s in parted(steps)}
    values = [factor for factor in factors.values() if factor is not None]
    if not values or len(values) < len(factors):
        return None
    first, numbers = min(factors), sorted(factors)
    if np.ptp(values) <= CLOSE * abs(values[0]):
        where = f"in steps {', '.join(map(str, numbers[:4]))}{', ...' if numbers[4:] else ''}"
        if numbers == list(range(first, len(steps))):
            where = f"from step {first} on"
        return f"Its updates are {values[0]:.6g} times the reference's {where}, all elements alike."
    listed = ", ".join(f"{values[i]:.4g}" for i in range(min(4, len(values))))
    return (
        f"All elements of a step have one factor to the reference, which changes from step to "
        f"step ({listed}, ... from step {first}): the rate or its schedule, a bias correction, or "
        "a norm over all leaves."
    )


def own_factor_per_leaf(steps: list[Step]) -> str | None:
    """At the first difference each leaf has its own factor."""
    index, step = next(parted(steps), (0, None))
    if step is None or len(step.got) < 2:
        return None
    big = [i for i, leaf in enumerate(step.wanted) if leaf.size > 1]
    factors = [ratio(step.got[i], step.wanted[i]) for i in big]
    values = [factor for factor in factors if factor is not None]
    if len(values) < 2 or len(values) < len(factors) or np.ptp(values) <= ALMOST * max(values):
        return None
    listed = ", ".join(f"{value:.4g}" for value in values)
    return (
        f"At step {index} each leaf has its own factor to the reference ({listed}): a norm, mean "
        "or count is taken of each leaf where the reference takes it of all leaves, or the reverse."
    )


def follows_the_params(steps: list[Step]) -> str | None:
    """The difference is a multiple of the parameters (or of their sizes, or of the gradients)."""
    likely: dict[str, Callable[[Step], Any]] = {
        "params: weight decay is added, left out, or of another size": lambda s: whole(s.params),
        "abs(params)": lambda s: np.abs(whole(s.params)),
        "params squared": lambda s: whole(s.params) ** 2,
        "gradients": lambda s: whole(s.grads),
    }
    for words, what in likely.items():
        factors = [
            (index, ratio(whole(step.got) - whole(step.wanted), what(step), ALMOST))
            for index, step in parted(steps)
        ]
        if not factors or not factors[0][1]:
            continue
        text = f"At step {factors[0][0]} the difference is {factors[0][1]:.4g} times the {words}"
        later = [factor for _, factor in factors[:4] if factor]
        if len(later) > 2 and np.ptp(later) > 0.1 * abs(later[0]):
            listed = ", ".join(f"{factor:.4g}" for factor in later)
            return f"{text}; the factor changes from step to step ({listed}, ...)."
        return f"{text}."
    return None


def only_some_elements(steps: list[Step]) -> str | None:
    """Elements differ exactly where gradients are positive, negative, or large."""
    index, step = next(parted(steps), (0, None))
    if step is None:
        return None
    grads, got, wanted = whole(step.grads), whole(step.got), whole(step.wanted)
    differ = np.abs(got - wanted) > CLOSE * np.max(np.abs(wanted), initial=0.0)
    if differ.all() or not differ.any():
        return None
    for sign, words in ((1, "positive"), (-1, "negative")):
        if np.array_equal(differ, sign * grads > 0):
            return f"At step {index} exactly the elements with {words} gradients differ."
        if not np.any(differ & (sign * grads <= 0)):
            edge = np.min(np.abs(grads[differ]))
            if np.max(sign * grads[~differ]) < edge:
                return (
                    f"At step {index} only the elements with {words} gradients from {edge:.4g} "
                    "differ, as after a clip from one side."
                )
    edge = np.min(np.abs(grads[differ]))
    if np.max(np.abs(grads[~differ])) < edge:
        return (
            f"At step {index} only the elements with gradients larger than "
            f"{np.max(np.abs(grads[~differ])):.4g} in size differ."
        )
    if np.max(np.abs(grads[differ])) < np.min(np.abs(grads[~differ])):
        return (
            f"At step {index} only the elements with gradients smaller than "
            f"{np.min(np.abs(grads[~differ])):.4g} in size differ."
        )
    return None
