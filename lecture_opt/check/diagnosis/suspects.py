"""The usual suspects: what is most often wrong with a rule, each as a neighbouring rule.

A neighbour is a pair: in words what one would have to do to the rule, and the rule then.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lecture_opt.check.diagnosis.rules import Correction, Rule, averages

Neighbour = tuple[str, Rule]


def neighbours(rule: Rule) -> list[Neighbour]:
    """The usual suspects of a rule."""
    groups = (exchanges, turned, epsilons, dampened, denominators, starts, momenta, corrections)
    found = itertools.chain.from_iterable(group(rule) for group in groups)
    found = itertools.chain(found, clipped(rule))
    return [(words, neighbour) for words, neighbour in found if neighbour != rule]


def has_moment(rule: Rule) -> bool:
    """Whether the step goes along a moment of its own, Lion's aside."""
    return rule.along != "gradient" and "lion" not in rule.along


def exchanges(rule: Rule) -> Iterator[Neighbour]:
    """Signs flipped, decays exchanged."""
    at, average = rule.numbers, has_moment(rule) and rule.first == "average"
    yield "its sign is flipped", rule.at(learning_rate=-at.learning_rate)
    if rule.along == "lion" or (has_moment(rule) and rule.second != "one"):
        yield "b1 and b2 are exchanged", rule.at(b1=at.b2, b2=at.b1)
    if average:
        yield "b1 and 1 - b1 are exchanged", rule.at(b1=1 - at.b1)
    if average and rule.second == "average":
        yield "b1 and b2 are each exchanged with 1 - b", rule.at(b1=1 - at.b1, b2=1 - at.b2)
    if rule.second == "average":
        yield "b2 and 1 - b2 are exchanged", rule.at(b2=1 - at.b2)
    if has_moment(rule):
        yield "the sign of b1 is flipped", rule.at(b1=-at.b1)
    yield "the sign is not taken", replace(rule, sign=False)
    if rule.along == "lion":
        yield "b1 and 1 - b1 are exchanged", rule.at(b1=1 - at.b1)
        yield "b2 and 1 - b2 are exchanged", rule.at(b2=1 - at.b2)
        yield "both decays are exchanged with 1 - b", rule.at(b1=1 - at.b1, b2=1 - at.b2)
        yield "the new moment is used, not the old one", replace(rule, along="late lion")
        yield (
            "the sign is taken of the new moment itself",
            replace(rule.at(b1=at.b2), along="moment"),
        )


def turned(rule: Rule) -> Iterator[Neighbour]:
    """Decay and 1 - decay exchanged where the gradient enters, not in the bias correction."""
    first = has_moment(rule) and rule.first == "average" and rule.correct_first.times
    second = rule.second == "average" and rule.correct_second.times
    words = "exchanged in the moment, not in its bias correction"
    if first:
        yield f"b1 and 1 - b1 are {words}", replace(rule, first="turned")
    if second:
        yield f"b2 and 1 - b2 are {words}", replace(rule, second="turned")
    if first and second:
        both = "b1 and b2 are each exchanged with 1 - b in the moments, not in the bias correction"
        yield both, replace(rule, first="turned", second="turned")


def epsilons(rule: Rule) -> Iterator[Neighbour]:
    """Epsilon in another place."""
    at = rule.numbers
    if rule.second == "one" or not (at.eps or at.eps_root):
        return
    if not at.eps_root:
        yield "eps is moved inside the square root", rule.at(eps=0.0, eps_root=at.eps)
    if not at.eps:
        yield "eps is moved outside the square root", rule.at(eps=at.eps_root, eps_root=0.0)
    yield "eps is left out", rule.at(eps=0.0, eps_root=0.0)
    if at.eps and rule.correct_second.times:
        place = "after" if rule.late_eps else "before"
        words = f"eps is added {place} the root is bias-corrected"
        yield words, replace(rule, late_eps=not rule.late_eps)


def dampened(rule: Rule) -> Iterator[Neighbour]:
    """Dampening of momentum, which torch leaves out of the first step."""
    at = rule.numbers
    if not has_moment(rule) or rule.first != "sum":
        return
    if at.dampening:
        yield "dampening is left out", replace(rule.at(dampening=0.0), seeded=False)
        whole = "the first gradient is dampened too"
        yield whole, replace(rule, seeded=not rule.seeded)


def denominators(rule: Rule) -> Iterator[Neighbour]:
    """What else the step may be divided by."""
    if rule.second == "one":
        return
    yield "the square root is left out", replace(rule, root=1.0)
    yield "the gradients are not squared", replace(rule, power=1.0)
    if rule.second == "average":
        yield "the gradients are averaged first and then squared", replace(rule, second="mean")
        yield "the squared gradients are summed, without decay", replace(rule, second="sum")
    if rule.second in ("average", "max", "raw max", "min"):
        largest = "the largest second moment so far is used (as in AMSGrad)"
        if rule.second == "raw max":
            largest = "the largest second moment is taken after its bias correction"
        yield largest, replace(rule, second="max")
        yield "the smallest second moment so far is used", replace(rule, second="min")
        raw = "the largest second moment is taken before its bias correction"
        yield raw, replace(rule, second="raw max")
        itself = "the second moment itself is used, not the largest so far"
        yield itself, replace(rule, second="average")
    if rule.second in ("average", "sum"):
        leaky = "the factor 1 - decay of the squared gradients is left out"
        yield leaky, replace(rule, second="leaky")
    if rule.second in ("sum", "leaky"):
        averaged = "the squared gradients are averaged (times 1 - decay)"
        yield averaged, replace(rule, second="average")
    if rule.second == "belief":
        late = "the mean taken off the gradient is that of the step before"
        yield late, replace(rule, second="late belief")
    before = "the second moment is used before this step's gradient enters it"
    yield before, replace(rule, old_second=True)


def clipped(rule: Rule) -> Iterator[Neighbour]:
    """The step clipped, before the learning rate."""
    if rule.second != "one" and not np.isfinite(rule.numbers.clip):
        for bound in (1.0, 0.1):
            yield f"steps are clipped to {bound:g} learning rates", rule.at(clip=bound)


def starts(rule: Rule) -> Iterator[Neighbour]:
    """Where the accumulator may start from."""
    if rule.second != "one":
        for start in (0.0,) if rule.numbers.initial else (0.1, 1.0):
            yield f"the accumulator starts from {start:g}", rule.at(initial=start)


def momenta(rule: Rule) -> Iterator[Neighbour]:
    """Momentum of another form, left out, applied twice."""
    if rule.along == "gradient":
        momentum = replace(rule.at(b1=0.9), along="moment", first="average")
        yield "momentum is applied", momentum
    if not has_moment(rule):
        return
    if rule.first == "average":
        summed = "the gradients are summed (the factor 1 - b1 is left out)"
        yield summed, replace(rule, first="sum")
    if rule.first == "sum":
        yield "the gradients are averaged (times 1 - b1)", replace(rule, first="average")
    if rule.along == "nesterov":
        yield "the Nesterov form is not used", replace(rule, along="moment")
    if rule.along == "nesterov" and rule.correct_first.times:
        at_t = "the look ahead is corrected by t, not by t + 1"
        yield at_t, replace(rule, along="nesterov at t")
    if rule.along == "nesterov" and rule.first == "sum":
        yield "the look ahead leaves this step's gradient out", replace(rule, along="ahead")
    if rule.along == "moment":
        yield "the Nesterov form is used", replace(rule, along="nesterov")
    before = "the first moment is used before this step's gradient enters it"
    yield before, replace(rule, along="old moment")
    yield "momentum is applied twice", rule.at(outer=rule.numbers.b1)
    alone = replace(rule, along="gradient", correct_first=Correction(0, "b1"))
    yield "momentum is left out", alone


def corrections(rule: Rule) -> Iterator[Neighbour]:
    """The suspects among the bias corrections."""
    first, second = rule.correct_first, rule.correct_second
    for times, words in enumerate(("is not applied to", "is applied to", "is applied twice to")):
        one, two = replace(first, times=times), replace(second, times=times)
        fits = (has_moment(rule), averages(rule) and rule.second != "leaky")
        if fits[0]:
            yield f"bias correction {words} the first moment", replace(rule, correct_first=one)
        if fits[1]:
            yield f"bias correction {words} the second moment", replace(rule, correct_second=two)
        if all(fits) and times not in (first.times, second.times):
            yield f"bias correction {words} both moments", corrected(rule, one, two)
    if first.times or second.times:
        for words, shift, stride in (
            ("use t + 1", 1, 1),
            ("use t - 1", -1, 1),
            ("use 2 t", 0, 2),
            ("stay at t = 1", 1, 0),
        ):
            both = (replace(each, shift=shift, stride=stride) for each in (first, second))
            yield f"the bias corrections {words}", corrected(rule, *both)
        if has_moment(rule) and (rule.first == "average" or second.times):
            yield "the corrected moments are put back", replace(rule, stores_corrected=True)
    if first.times:
        c1 = replace(rule.at(c1=rule.numbers.b1), correct_first=replace(first, decay="c1"))
        yield "the first moment's bias correction has a decay of its own", c1
    if second.times:
        c2 = replace(rule.at(c2=rule.numbers.b2), correct_second=replace(second, decay="c2"))
        yield "the second moment's bias correction has a decay of its own", c2
    if first.times and second.times:
        b1, b2 = replace(second, decay="b1"), replace(first, decay="b2")
        yield "bias correction uses b1 for both moments", corrected(rule, first, b1)
        yield "bias correction uses b2 for both moments", corrected(rule, b2, second)
        yield "b1 and b2 are exchanged in the bias correction", corrected(rule, b2, b1)


def corrected(rule: Rule, first: Correction, second: Correction) -> Rule:
    """The rule with other bias corrections."""
    return replace(rule, correct_first=first, correct_second=second)
