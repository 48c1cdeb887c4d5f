"""The usual suspects: what is most often wrong with a rule, each as a neighbouring rule."""

from dataclasses import replace
from typing import Any

from lecture_opt.check.rules import Rule

KEPT = {
    "max": "the largest second moment so far is used (as in AMSGrad)",
    "min": "the smallest second moment so far is used",
    "average": "the second moment itself is used, not the largest so far",
}


def neighbours(rule: Rule) -> list[tuple[str, Rule]]:
    """The usual suspects: each what one would have to do to the rule, and the rule then."""
    found: list[tuple[str, Rule]] = []

    def suspect(words: str, **changes: Any) -> None:
        found.append((words, replace(rule, **changes)))

    suspect("its sign is flipped", learning_rate=-rule.learning_rate)
    if rule.first == "lion" or (rule.first != "none" and rule.second != "none"):
        suspect("b1 and b2 are exchanged", b1=rule.b2, b2=rule.b1)
    if rule.first == "average":
        suspect("b1 and 1 - b1 are exchanged", b1=1 - rule.b1)
    if rule.first == "average" and rule.second == "average":
        suspect("b1 and b2 are each exchanged with 1 - b", b1=1 - rule.b1, b2=1 - rule.b2)
    found += turned(rule)
    if rule.first in ("average", "sum"):
        suspect("the sign of b1 is flipped", b1=-rule.b1)
    if rule.sign:
        suspect("the sign is not taken", sign=False)
    if rule.first == "lion":
        suspect("the sign is taken of the new moment itself", first="average", b1=rule.b2)
    if rule.second != "none":
        if rule.eps and not rule.eps_root:
            suspect("eps is moved inside the square root", eps=0.0, eps_root=rule.eps)
        if rule.eps_root and not rule.eps:
            suspect("eps is moved outside the square root", eps=rule.eps_root, eps_root=0.0)
        if rule.eps or rule.eps_root:
            suspect("eps is left out", eps=0.0, eps_root=0.0)
        if rule.eps and rule.correct_second:
            suspect("eps is added before the root is bias-corrected", late_eps=True)
        suspect("the square root is left out", root=1.0)
        suspect("the gradients are not squared", power=1.0)
        if rule.second == "average":
            suspect("b2 and 1 - b2 are exchanged", b2=1 - rule.b2)
            suspect("the gradients are averaged first and then squared", second="mean")
        for kept, phrase in KEPT.items():
            if rule.second in {"average", *KEPT} and kept != rule.second:
                suspect(phrase, second=kept)
        if rule.second == "belief":
            suspect("the mean taken off the gradient is that of the step before", stale="mean")
        suspect("the second moment is used before this step's gradient enters it", stale="second")
        swaps = {"average": ("sum", "leaky"), "sum": ("average", "leaky"), "leaky": ("average",)}
        words = {
            "average": "the squared gradients are averaged (times 1 - decay)",
            "sum": "the squared gradients are summed, without decay",
            "leaky": "the factor 1 - decay of the squared gradients is left out",
        }
        for kind in swaps.get(rule.second, ()):
            suspect(words[kind], second=kind)
        if rule.initial:
            suspect("the accumulator starts from 0", initial=0.0)
        else:
            suspect("the accumulator starts from 0.1", initial=0.1)
            suspect("the accumulator starts from 1", initial=1.0)
    if rule.first in ("average", "sum"):
        averaged = rule.first == "average"
        suspect(
            "the gradients are summed (the factor 1 - b1 is left out)"
            if averaged
            else "the gradients are averaged (times 1 - b1)",
            first="sum" if averaged else "average",
        )
        suspect(
            "the Nesterov form is not used" if rule.nesterov else "the Nesterov form is used",
            nesterov=not rule.nesterov,
        )
        if rule.nesterov and not averaged:
            suspect("the look ahead leaves this step's gradient out", stale="ahead")
        suspect("the first moment is used before this step's gradient enters it", stale="first")
        suspect("momentum is applied twice", outer=rule.b1)
        suspect("momentum is left out", first="none", correct_first=0)
    if rule.first == "none":
        suspect("momentum is applied", first="average", b1=0.9)
    return found + corrections(rule)


def turned(rule: Rule) -> list[tuple[str, Rule]]:
    """Decay and 1 - decay exchanged where the gradient enters, not in the bias correction."""
    moments = [
        (moment, name)
        for moment, name, times in (
            ("first", "b1", rule.correct_first),
            ("second", "b2", rule.correct_second),
        )
        if getattr(rule, moment) == "average" and times
    ]
    words = "{} and 1 - {} are exchanged in the moment, not in its bias correction"
    found = [(words.format(b, b), replace(rule, **{moment: "turned"})) for moment, b in moments]  # type: ignore[arg-type]  # by name
    if len(moments) == 2:
        both = "b1 and b2 are each exchanged with 1 - b in the moments, not in the bias correction"
        found.append((both, replace(rule, first="turned", second="turned")))
    return found


def corrections(rule: Rule) -> list[tuple[str, Rule]]:
    """The suspects among the bias corrections."""
    has = {
        "first": rule.first in ("average", "turned", "sum"),
        "second": rule.second in ("average", "turned", "max", "min", "belief"),
    }
    words = {0: "is not applied to", 1: "is applied to", 2: "is applied twice to"}
    found = []
    for which in ("first", "second"):
        field = f"correct_{which}"
        for times in (0, 1, 2):
            if has[which] and times != getattr(rule, field):
                phrase = f"bias correction {words[times]} the {which} moment"
                found.append((phrase, replace(rule, **{field: times})))  # type: ignore[arg-type]  # by name
    if has["first"] and has["second"]:
        for times in (0, 1, 2):
            if times not in (rule.correct_first, rule.correct_second):
                phrase = f"bias correction {words[times]} both moments"
                found.append((phrase, replace(rule, correct_first=times, correct_second=times)))
    if rule.correct_first or rule.correct_second:
        found.append(("the bias corrections use t + 1", replace(rule, shift=1)))
        found.append(("the bias corrections use t - 1", replace(rule, shift=-1)))
        found.append(("the bias corrections use 2 t", replace(rule, stride=2)))
        found.append(("the bias corrections stay at t = 1", replace(rule, stride=0, shift=1)))
    if rule.correct_first and rule.correct_second:
        both = "bias correction uses {} for both moments"
        found.append((both.format("b1"), replace(rule, corrects="first")))
        found.append((both.format("b2"), replace(rule, corrects="second")))
        found.append(
            ("b1 and b2 are exchanged in the bias correction", replace(rule, corrects="swapped"))
        )
    return found
