"""Gradients of all sizes side by side, and the norms of what rules make of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lecture_opt.check.diagnosis.rules import Rule, simulate
from lecture_opt.inspect import probing
from lecture_opt.inspect.probing import AMPLITUDES, WATCHED, Probe

SIZES = (1e-12, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)  # at the first no step is large
RUNS = len(AMPLITUDES) + len(SIZES)
STEPS = 20  # half of the quiet ones: they only have to contradict
QUIET = len(AMPLITUDES)  # of the runs, so many are quiet and come first


def norms_of(asked: Probe, members: Any) -> Any:
    """The norms of the gradients of some leaves, at each step of each run: (steps, runs)."""
    return np.sqrt(squares(asked, members, [None] * len(members)))


def squares(asked: Probe, members: Any, moved_by: Sequence[tuple[Rule, float] | None]) -> Any:
    """The squared norms of the steps of some leaves, without a rule of their gradients.

    Beside its rule stands what the elements of a leaf's gradient are cut to.
    """
    base = probing.normal_grads()[:STEPS]
    grads = np.stack([size * base for size in (*AMPLITUDES, *SIZES)], axis=1)
    known: dict[Any, Any] = {None: grads**2}
    total = np.zeros(grads.shape[:2])
    for shape, member, moved in zip(asked.shapes, members, moved_by, strict=True):
        if member and probing.is_floating(shape):
            if moved is not None and moved not in known:
                sent = np.clip(grads, -moved[1], moved[1]).reshape(len(grads), -1)
                known[moved] = simulate(moved[0], sent).reshape(grads.shape) ** 2
            total += np.sum(known[moved] * times(shape), axis=2)
    return total


def times(shape: Any) -> Any:
    """How often each watched element stands in a leaf, in each run: (runs, watched)."""
    size = int(np.prod(shape.shape))
    loud = [len(range(start, size, WATCHED)) for start in range(WATCHED)]
    return np.array([[min(count, 1) for count in loud]] * QUIET + [loud] * len(SIZES))


def free_of_clips(rates: Any) -> Any:
    """Of each step's rates in all runs the largest."""
    return np.take_along_axis(rates, np.abs(rates).argmax(axis=1)[:, None], axis=1)[:, 0]
