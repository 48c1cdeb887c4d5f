"""Which rule moves a leaf, measured from its answers under a rate that may change."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.calls import call
from lecture_opt.check.diagnosis.fitting import (
    DECAYS,
    EQUAL,
    Responses,
    error,
    fit,
    rounded,
    with_rate,
)
from lecture_opt.check.diagnosis.identity import search_coupled
from lecture_opt.check.diagnosis.rates import sums
from lecture_opt.check.diagnosis.rules import KNOWN, YOGI, Rule, averages, free, simulate

RULES = (*KNOWN, YOGI)
WIDE = (*RULES, *(rule.at(eps=0.1) for rule in RULES if rule.numbers.eps))  # eps beside gradients
BOUNDS = (0.01, 0.1, 0.2, 0.5, 1.0, 2.0)
CUT = tuple(rule.at(clip=c) for rule in RULES if averages(rule) for c in BOUNDS)
FEW = 8
NEAREST = 6  # rules that are fitted, where all are wrong at their usual hyperparameters


class Identity(NamedTuple):
    """A rule with a rate of 1, and the rate that each step had."""

    rule: Rule
    rates: Any

    @property
    def text(self) -> str:
        """The call without its learning rate and library, as in `adam(b1=0.9, ...)`.

        The elements of its steps may be cut, as in `clip(adam(b1=0.9, ...), 1)`.
        """
        name, _, arguments = call(self.rule).partition("(")
        rest = arguments[:-1].split(", ")[1:]
        plain = f"{name.removeprefix('optax.').removeprefix('lecture_opt.')}({', '.join(rest)})"
        bound = self.rule.numbers.clip
        return f"clip({plain}, {bound:g})" if np.isfinite(bound) else plain


def identify(
    grads: Any,
    updates: Any,
    *,
    runs: int = 1,
    every: int = 1,
    among: Sequence[Rule] = RULES,
    far: float = np.inf,
) -> Identity | None:
    """The known rule that gives these updates, whatever the rate of each step was.

    Args:
        grads: The gradients, as (steps, columns).
        updates: The updates, as (steps, columns).
        runs: How many runs with rates of their own lie side by side in the columns.
        every: Of how many steps each update is the sum; there are fewer updates then.
        among: The rules to look at.
        far: With their usual hyperparameters, one of them must be as near as this.
    """
    seen = Responses(grads, updates, runs, every)
    if far < np.inf and every == 1:  # a few steps rule most out
        few = Responses(grads[:FEW], updates[:FEW], runs)
        edge = max(EQUAL, 3 * far)
        among = [rule for rule in among if error(with_rate(rule, few), few) < edge]
        if not among:
            return None
    least = EQUAL / 20 if every > 1 else 0.0  # sums are known up to the rates within them
    near = sorted(
        (max(least, error(with_rate(rule, seen), seen)), index) for index, rule in enumerate(among)
    )
    if near[0][0] < EQUAL / 10:
        return with_rates(among[near[0][1]], seen)
    if near[0][0] > far:
        return None
    signs = [each for each in near[NEAREST:] if among[each[1]].sign]  # their errors have no slope
    for _, index in near[:NEAREST] + signs:
        rule, gap = fit(among[index], seen)
        plain = without_idle(rounded(rule, seen), seen)
        if gap < EQUAL and all(
            few_digits(name, getattr(plain.numbers, name)) for name in free(plain)
        ):
            return with_rates(plain, seen)
    return None


def without_idle(rule: Rule, seen: Responses) -> Rule:
    """The rule without numbers that change nothing that could be seen."""
    simple = rule.at(eps_root=0.0) if rule.numbers.eps else rule
    if seen.every > 1 or f"{simple.numbers.b1_decay:.9g}" == "1":
        simple = simple.at(b1_decay=1.0)
    return simple if error(simple, seen) < EQUAL / 10 else rule


def few_digits(name: str, value: Any) -> bool:
    """Whether a hyperparameter is one that somebody would write."""
    written = 1 - value if name in DECAYS else value
    return name == "learning_rate" or abs(float(f"{written:.4g}") - written) <= 1e-6 * abs(written)


def with_rates(rule: Rule, seen: Responses) -> Identity:
    """The rule at a rate of 1 beside the rates that its updates were multiplied by."""
    return Identity(
        rule.at(learning_rate=1.0), rates_of(rule, seen.grads, seen.updates, seen.every)
    )


def rates_of(rule: Rule, grads: Any, updates: Any, every: int = 1) -> Any:
    """What multiplies the updates of a rule at each step, or the sums of several of its steps."""
    wanted = sums(simulate(rule.at(learning_rate=1.0), grads), every)
    scale = np.sqrt(np.mean(wanted**2, axis=0)) + 1e-300
    unit, got = wanted / scale, updates / scale
    return np.sum(unit * got, axis=1) / (np.sum(unit**2, axis=1) + 1e-300)


def summed(grads: Any, every: int) -> Any:
    """What a rule gets of gradients that are summed before it."""
    count = len(grads) // every
    found = np.zeros_like(grads)
    windows = grads[: count * every].reshape(count, every, -1)
    found[every - 1 : count * every : every] = windows.sum(axis=1)
    return found


def coupled(rule: Rule, grads: Any, updates: Any) -> float | None:
    """The factor of the params in the gradient that gives these updates at params of 1."""
    factor, gap = search_coupled(rule, Responses(grads, updates, runs=1))
    return float(f"{factor:.3g}") if gap < 10 * EQUAL else None
