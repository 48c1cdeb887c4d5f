"""Identity: without being told a reference, say which known rule the optimizer is."""

import numpy as np

from lecture_opt.check.diagnosis.calls import call
from lecture_opt.check.diagnosis.fitting import (
    EQUAL,
    Responses,
    error,
    known_but_for,
    nearest,
    respond,
    try_respond,
)
from lecture_opt.check.diagnosis.identity import measure_decay, with_decay
from lecture_opt.check.diagnosis.rules import Rule, free, simulate
from lecture_opt.check.judgments import splitting_changes
from lecture_opt.check.needs import DETERMINISTIC, needs
from lecture_opt.check.outcome import Outcome, failed, skipped, trait
from lecture_opt.check.subject import Subject

LONG, EXACT = 200, 1e-6


@needs(DETERMINISTIC)
def what_it_is(subject: Subject) -> Outcome:
    """Which known rule the optimizer is, measured from its responses.

    A trait, unless b1, b2 or eps is measured to be another number than the constructor was given.

    Why: an unexpected answer (Adam with another b2, RMSprop without its root) is a bug found.
    Usual cause: a default that is not the paper's; a term left out; b1 and b2 swapped.
    """
    split = splitting_changes(subject)
    if split is not None:
        return trait(
            "Not one of the known elementwise rules: splitting a leaf in two changes its update "
            f"at step {split[0]} by {split[1]:.2g} of the largest element."
        )
    still = try_respond(subject, 0.0)
    if isinstance(still, str):
        return skipped(f"cannot be measured: {still}")
    if not np.any(still.updates):
        return trait("All updates are zero.")
    ranking = nearest(still)
    gap, rule = ranking[0]
    if gap < EQUAL:
        decay = measure_decay(rule, still, try_respond(subject, 1.0))
        reached = over_many_steps(subject, rule)
        says = f"Equals {with_decay(rule, decay)} to {reached:.1g} over {LONG} steps"
        wrong = not_as_named(subject, rule) if max(gap, reached) < EXACT else []
        if wrong:
            return failed(f"{says}, but was built with {', '.join(wrong)}.", rule=call(rule))
        return trait(f"{says}.", rule=call(rule), decay=decay._asdict(), error=reached)
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
            given, measured = subject.arguments.get(argument), getattr(rule.numbers, name)
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
    got = simulate(rule, responses.grads)
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
