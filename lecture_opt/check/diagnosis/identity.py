"""Which known rule gives some responses, how the parameters enter, and the call that says so."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.calls import call
from lecture_opt.check.diagnosis.fitting import EQUAL, Responses, error
from lecture_opt.check.diagnosis.rules import Rule


class Decay(NamedTuple):
    """How parameters enter the update: not at all, added to it, added to the gradient, or else."""

    kind: Literal["no", "decoupled", "coupled", "unknown"]
    amount: float = 0.0


def measure_decay(rule: Rule, still: Responses, moved: Responses | str) -> Decay:
    """How much weight decay there is and where, from the responses at parameters of 0 and of 1."""
    if isinstance(moved, str):
        return Decay("unknown")
    gap = moved.updates - still.updates
    if np.max(np.abs(gap)) <= 1e-12 * np.max(np.abs(still.updates)):
        return Decay("no")
    mean = float(np.mean(gap))
    if np.max(np.abs(gap - mean)) < 1e-4 * abs(mean):
        return Decay("decoupled", float(f"{-mean / rule.numbers.learning_rate:.4g}"))
    factor, _ = search_coupled(rule, moved)
    amount = float(f"{factor:.4g}")
    fits = error(rule, replace(moved, grads=moved.grads + amount)) < EQUAL
    return Decay("coupled", amount) if fits else Decay("unknown")


def search_coupled(rule: Rule, moved: Responses) -> tuple[float, float]:
    """The L2 factor that fits best, added to the gradient at parameters of 1, and its error."""

    def gap(power: float) -> float:
        return error(rule, replace(moved, grads=moved.grads + 10.0**power))

    powers = np.linspace(-7, 1, 81)
    for _ in range(12):
        best = powers[int(np.argmin([gap(power) for power in powers]))]
        width = powers[1] - powers[0]
        powers = np.linspace(best - width, best + width, 21)
    return 10.0**best, gap(best)


def with_decay(rule: Rule, decay: Decay) -> str:
    """The call that makes a rule with its weight decay."""
    text = call(rule)
    if decay.kind == "no":  # lion's own default is another
        return f"{text[:-1]}, weight_decay=0.0)" if rule.name == "optax.lion" else text
    names = {"optax.adam": "optax.adamw", "optax.nadam": "optax.nadamw", "optax.lion": "optax.lion"}
    amount = f"weight_decay={decay.amount:.6g}"
    if decay.kind == "decoupled" and rule.name in names:
        return f"{text.replace(rule.name, names[rule.name], 1)[:-1]}, {amount})"
    if decay.kind == "decoupled":
        return f"{text} with {amount} * learning_rate * params subtracted from the update"
    if decay.kind == "coupled":
        return f"optax.chain(optax.add_decayed_weights({decay.amount:.6g}), {text})"
    return f"{text} at params of 0 (it uses params in a way that no known rule does)"
