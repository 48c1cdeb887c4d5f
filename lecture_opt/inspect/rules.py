"""Which rule moves a leaf, measured from its answers under a rate that may change."""

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
from lecture_opt.check.diagnosis.rules import KNOWN, Rule, free, simulate

NEAREST = 6  # rules that are fitted, where all are wrong at their usual hyperparameters


class Identity(NamedTuple):
    """A rule with a rate of 1, and the rate that each step had."""

    rule: Rule
    rates: Any

    @property
    def text(self) -> str:
        """The call without its learning rate and library, as in `adam(b1=0.9, ...)`."""
        name, _, arguments = call(self.rule).partition("(")
        rest = arguments[:-1].split(", ")[1:]
        return f"{name.removeprefix('optax.').removeprefix('lecture_opt.')}({', '.join(rest)})"


def identify(grads: Any, updates: Any) -> Identity | None:
    """The known rule that gives these updates, whatever the rate of each step was."""
    seen = Responses(grads, updates, scheduled=True)
    usual = sorted((error(with_rate(rule, seen), seen), index) for index, rule in enumerate(KNOWN))
    if usual[0][0] < EQUAL / 10:
        return with_rates(KNOWN[usual[0][1]], seen)
    signs = [each for each in usual[NEAREST:] if KNOWN[each[1]].sign]  # their errors have no slope
    for _, index in usual[:NEAREST] + signs:
        rule, gap = fit(KNOWN[index], seen)
        plain = rounded(rule, seen)
        if gap < EQUAL and all(
            few_digits(name, getattr(plain.numbers, name)) for name in free(plain)
        ):
            return with_rates(plain, seen)
    return None


def few_digits(name: str, value: Any) -> bool:
    """Whether a hyperparameter is one that somebody would write."""
    written = 1 - value if name in DECAYS else value
    return name == "learning_rate" or abs(float(f"{written:.4g}") - written) <= 1e-6 * abs(written)


def with_rates(rule: Rule, seen: Responses) -> Identity:
    """The rule at a rate of 1 beside the rates that its updates were multiplied by."""
    return Identity(rule.at(learning_rate=1.0), rates_of(rule, seen.grads, seen.updates))


def rates_of(rule: Rule, grads: Any, updates: Any) -> Any:
    """What multiplies the updates of a rule at each step."""
    wanted = simulate(rule.at(learning_rate=1.0), grads)
    scale = np.sqrt(np.mean(wanted**2, axis=0)) + 1e-300
    unit, got = wanted / scale, updates / scale
    return np.sum(unit * got, axis=1) / (np.sum(unit**2, axis=1) + 1e-300)


def coupled(rule: Rule, grads: Any, updates: Any) -> float | None:
    """The factor of the params in the gradient that gives these updates at params of 1."""
    factor, gap = search_coupled(rule, Responses(grads, updates, scheduled=True))
    return float(f"{factor:.3g}") if gap < 10 * EQUAL else None
