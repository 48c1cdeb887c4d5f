"""Identity: without being told a reference, say which known rule the optimizer is."""

from typing import NamedTuple

import numpy as np

from lecture_opt.check import leaves
from lecture_opt.check.fit import (
    EQUAL,
    Responses,
    error,
    known_but_for,
    nearest,
    respond,
    try_respond,
)
from lecture_opt.check.outcome import Outcome, failed, skipped, trait
from lecture_opt.check.rules import Array, Rule, call, free, simulate
from lecture_opt.check.subject import Subject

LONG, EXACT = 200, 1e-6


class Decay(NamedTuple):
    """How parameters enter the update: "none", "decoupled", "coupled" or "unknown"."""

    kind: str
    amount: float = 0.0


def measure_decay(subject: Subject, rule: Rule, still: Responses) -> Decay:
    """How much weight decay there is and where, from the response to parameters of 1."""
    moved = try_respond(subject, 1.0)
    if isinstance(moved, str):
        return Decay("unknown")
    gap = moved.updates - still.updates
    if np.max(np.abs(gap)) <= 1e-12 * np.max(np.abs(still.updates)):
        return Decay("none")
    mean = float(np.mean(gap))
    if np.max(np.abs(gap - mean)) < 1e-4 * abs(mean):
        return Decay("decoupled", float(f"{-mean / rule.learning_rate:.4g}"))
    amount = search_coupled(rule, moved)
    return Decay("unknown") if amount is None else Decay("coupled", amount)


def search_coupled(rule: Rule, moved: Responses) -> float | None:
    """The L2 factor which, added to the gradient at parameters of 1, gives the responses."""

    def gap(power: float) -> float:
        return error(rule, Responses(moved.grads + 10.0**power, moved.updates))

    powers = np.linspace(-7, 1, 81)
    for _ in range(12):
        best = powers[int(np.argmin([gap(power) for power in powers]))]
        width = powers[1] - powers[0]
        powers = np.linspace(best - width, best + width, 21)
    return float(f"{10.0**best:.4g}") if gap(np.log10(float(f"{10.0**best:.4g}"))) < EQUAL else None


def with_decay(rule: Rule, decay: Decay) -> str:
    """The call that makes a rule with its weight decay."""
    text = call(rule)
    if decay.kind == "none":
        return text
    names = {"optax.adam": "optax.adamw", "optax.nadam": "optax.nadamw", "optax.lion": "optax.lion"}
    amount = f"weight_decay={decay.amount:.6g}"
    if decay.kind == "decoupled" and rule.name in names:
        return f"{text.replace(rule.name, names[rule.name], 1)[:-1]}, {amount})"
    if decay.kind == "decoupled":
        return f"{text} with {amount} * learning_rate * params subtracted from the update"
    if decay.kind == "coupled":
        return f"optax.chain(optax.add_decayed_weights({decay.amount:.6g}), {text})"
    return f"{text} at params of 0 (it uses params in a way that no known rule does)"


def what_it_is(subject: Subject) -> Outcome:
    """Which known rule the optimizer is, measured from its responses; its arguments as named.

    A trait, unless b1, b2 or eps is measured to be another number than the constructor was given.

    Why: an unexpected answer (Adam with another b2, RMSprop without its root) is a bug found.
    Usual cause: a default that is not the paper's; a term left out; b1 and b2 swapped.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: updates are drawn at random")
    elementwise = leaves.splitting(subject)
    if elementwise.status != "pass":
        return trait("Not one of the known elementwise rules: " + elementwise.message)
    still = try_respond(subject, 0.0)
    if isinstance(still, str):
        return skipped(f"cannot be measured: {still}")
    if not np.any(still.updates):
        return trait("All updates are zero.")
    ranking = nearest(still)
    gap, rule = ranking[0]
    if gap < EQUAL:
        decay = measure_decay(subject, rule, still)
        reached = over_many_steps(subject, rule)
        says = f"Equals {with_decay(rule, decay)} to {reached:.1g} over {LONG} steps"
        wrong = not_as_named(subject, rule) if max(gap, reached) < EXACT else []
        if wrong:
            return failed(f"{says}, but was built with {', '.join(wrong)}.", rule=call(rule))
        return trait(
            f"{says}.",
            rule=call(rule),
            decay=decay._asdict(),
            error=reached,
        )
    change = known_but_for(still)
    if change is not None and over_many_steps(subject, change[1]) < 10 * EQUAL:
        words, changed, gap = change
        return trait(
            f"Equals {call(changed)} to {gap:.1g} over {len(still.grads)} steps if {words}.",
            rule=call(changed),
            change=words,
            error=gap,
        )
    return trait(
        f"No known rule. The nearest is {call(rule)}; {where_they_part(rule, still)}",
        nearest=call(rule),
        error=gap,
    )


def not_as_named(subject: Subject, rule: Rule) -> list[str]:
    """The arguments that the constructor was given and that the updates contradict, as calls."""
    wrong = []
    for name in free(rule):
        named = {"b1": ("b1", "beta1"), "b2": ("b2", "beta2"), "eps": ("eps", "epsilon")}
        for argument in named.get(name, ()):
            given, measured = subject.arguments.get(argument), getattr(rule, name)
            if given and abs(np.log(distance(name, measured) / distance(name, given))) > 0.05:
                wrong.append(f"{argument}={given:g}")
    return wrong


def distance(name: str, value: float) -> float:
    """What a hyperparameter is compared by: a decay by how far it is from 1."""
    return max(1 - value, 1e-12) if name in ("b1", "b2") else max(value, 1e-300)


def over_many_steps(subject: Subject, rule: Rule) -> float:
    """The largest relative difference over a longer probe that was not fitted to."""
    return error(rule, respond(subject, 0.0, steps=LONG, seed=1))


def where_they_part(rule: Rule, responses: Responses) -> str:
    """The first step and element at which a rule is off by more than a hundredth, in words."""
    got: Array = simulate(rule, responses.grads)
    scale = np.sqrt(np.mean(responses.updates**2, axis=0)) + 1e-300
    off = np.argwhere(np.abs(got - responses.updates) > 0.01 * scale)
    if not len(off):
        return "they differ by less than a hundredth everywhere."
    step, element = (int(index) for index in off[0])
    return (
        f"they part at step {step}, where for a gradient of "
        f"{responses.grads[step, element]:.4g} it gives {responses.updates[step, element]:.4g} "
        f"and the known rule {got[step, element]:.4g}."
    )


PROPERTIES = (what_it_is,)
