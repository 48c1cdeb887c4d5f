"""One family of elementwise rules in NumPy float64; each known optimizer is a point in it.

With g the gradient, m and v the moments, t from 1, a step is

    m  = b1 * m + (1 - b1) * g             first="average" ("sum" leaves 1 - b1 out)
    v  = b2 * v + (1 - b2) * g**2          second="average" ("leaky" leaves 1 - b2 out, "sum" b2)
    u  = m_hat / (sqrt(v_hat + eps_root) + eps)
    update = -learning_rate * u

where the hats divide by `1 - b**t`. In the lecture's Adam b1 decays, as `b1 * b1_decay**(t-1)`.
The usual bugs are moves between neighbouring points, so naming a bug is a search among the
neighbours.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Number = float | Array
Mixing = Literal["average", "turned", "sum"]
Direction = Literal[
    "gradient", "moment", "old moment", "nesterov", "nesterov at t", "ahead", "lion", "late lion",
]  # fmt: skip
Denominator = Literal[
    "one", "average", "turned", "sum", "leaky", "max", "raw max", "min", "belief", "late belief",
    "centered", "infinity", "adadelta", "mean", "yogi",
]  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """The hyperparameters of a rule, each one number, or k numbers as an array of shape (k, 1).

    Attributes:
        learning_rate: What the step is multiplied by.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added to the root of the second moment.
        eps_root: Added under the root.
        initial: What the second moment starts from.
        outer: Decay of a second momentum, over the finished steps.
        b1_decay: What b1 is multiplied by at each step.
        c1: Decay in the first moment's bias correction, where that is not b1.
        c2: Decay in the second moment's bias correction, where that is not b2.
        clip: What the step is clipped to before the learning rate.
        dampening: What of a gradient is kept out of the sum that is the first moment.
    """

    learning_rate: Number = 1e-3
    b1: Number = 0.9
    b2: Number = 0.999
    eps: Number = 0.0
    eps_root: Number = 0.0
    initial: Number = 0.0
    outer: Number = 0.0
    b1_decay: Number = 1.0
    c1: Number = 0.9
    c2: Number = 0.999
    clip: Number = np.inf
    dampening: Number = 0.0


@dataclass(frozen=True)
class Correction:
    """What removes a moment's bias towards zero: `(1 - decay ** (stride * t + shift)) ** times`.

    Attributes:
        times: How many times it divides the moment; 0 for a moment that is not corrected.
        decay: The hyperparameter that it is made of.
        shift: What is added to the step count.
        stride: What the step count is multiplied by.
    """

    times: int
    decay: Literal["b1", "b2", "c1", "c2"]
    shift: int = 0
    stride: int = 1

    def at(self, t: int, numbers: Numbers) -> Number:
        """The divisor at step t."""
        if not self.times:
            return 1.0
        decay: Number = getattr(numbers, self.decay)
        return (1 - decay ** (t * self.stride + self.shift)) ** self.times


@dataclass(frozen=True)
class Rule:
    """A point of the family.

    Attributes:
        name: The call that makes it, without arguments, as in `optax.adam`.
        numbers: Its hyperparameters.
        along: What the step goes along: the gradient, the first moment, the moment before this
            step's gradient entered it, Nesterov's look ahead ("at t" corrected as the moment is,
            "ahead" without this step's gradient), or Lion's mixture of the old moment and the
            gradient ("late" of the new one).
        first: How a gradient enters the first moment; "turned" has 1 - b1 in the place of b1.
        seeded: Whether the first gradient enters the first moment whole.
        sign: Take the sign of what the step goes along.
        second: What the step is divided by the root of: "max" is AMSGrad's ("raw max" taken before
            the bias correction), "belief" AdaBelief's ("late belief" takes off the mean of the
            step before), "infinity" Adamax's, "mean" the average of the gradients, squared
            afterwards, "yogi" Yogi's, whose first moment starts from `initial` too.
        old_second: Use the second moment before this step's gradient enters it.
        power: What the gradient is raised to in the second moment, 2 as a rule.
        root: The power of the second moment in the denominator, 0.5 as a rule.
        stores_corrected: Put the corrected moments back into the state.
        late_eps: Add eps to the root before it is bias-corrected.
        correct_first: The bias correction of the first moment.
        correct_second: The bias correction of the second moment.
    """

    name: str
    numbers: Numbers = Numbers()
    along: Direction = "gradient"
    first: Mixing = "average"
    seeded: bool = False
    sign: bool = False
    second: Denominator = "one"
    old_second: bool = False
    power: float = 2.0
    root: float = 0.5
    stores_corrected: bool = False
    late_eps: bool = False
    correct_first: Correction = Correction(0, "b1")
    correct_second: Correction = Correction(0, "b2")

    def at(self, **numbers: Any) -> "Rule":
        """The same rule with other hyperparameters."""
        return replace(self, numbers=replace(self.numbers, **numbers))


def adam_like(
    name: str, second: Denominator = "average", along: Direction = "moment", **numbers: float
) -> Rule:
    """A rule with both moments averaged and corrected."""
    return Rule(
        name,
        Numbers(**{"eps": 1e-8, **numbers}),
        along=along,
        second=second,
        correct_first=Correction(1, "b1"),
        correct_second=Correction(1, "b2"),
    )


RMS, SQRT_RMS = Numbers(b2=0.9, eps=1e-8), Numbers(b2=0.9, eps_root=1e-8)
KNOWN = (
    Rule("optax.sgd"),
    Rule("optax.sgd", along="moment", first="sum"),
    Rule("optax.sgd", along="nesterov", first="sum"),
    Rule("optax.sign_sgd", sign=True),
    Rule("optax.signum", along="moment", sign=True),
    Rule("optax.lion", Numbers(b2=0.99), along="lion", sign=True),
    Rule("optax.adagrad", Numbers(eps_root=1e-6), second="sum"),
    Rule("optax.adagrad", Numbers(eps_root=1e-7, initial=0.1), second="sum"),
    Rule("optax.rmsprop", SQRT_RMS, second="average"),
    Rule("optax.rmsprop", RMS, second="average"),
    Rule("optax.rmsprop", replace(SQRT_RMS, outer=0.9), second="average"),
    Rule("optax.rmsprop", RMS, second="average", correct_second=Correction(1, "b2")),
    Rule("optax.rmsprop", SQRT_RMS, second="centered"),
    Rule("optax.adadelta", Numbers(b2=0.9, eps_root=1e-6, learning_rate=1.0), second="adadelta"),
    adam_like("optax.adam"),
    adam_like("optax.nadam", along="nesterov"),
    adam_like("optax.amsgrad", second="max"),
    adam_like("torch.optim.Adam", second="raw max"),
    adam_like("optax.adam", eps_root=1e-12),
    adam_like("optax.adabelief", second="belief", eps=1e-16, eps_root=1e-16),
    replace(adam_like("optax.adamax", second="infinity"), correct_second=Correction(0, "b2")),
    adam_like("lecture_opt.adam", b1_decay=1 - 1e-8),
    replace(adam_like("keras.optimizers.Adam", eps=1e-7), late_eps=True),
    Rule("torch.optim.SGD", Numbers(dampening=0.1), along="moment", first="sum", seeded=True),
)
YOGI = adam_like("optax.yogi", second="yogi", eps=1e-3, initial=1e-6)


def simulate(rule: Rule, grads: Array) -> Array:
    """The updates of a rule for gradients of shape (steps, n).

    Hyperparameters may be arrays of shape (k, 1); the updates are then (steps, k, n).
    """
    at, second = rule.numbers, rule.second
    m = v = mean = largest = steps = deltas = np.zeros(1)
    v, smallest = v + at.initial, np.full(1, np.inf)
    m = v if second == "yogi" else m
    bounded, twice, seen = np.any(np.isfinite(at.clip)), np.any(at.outer), []
    with np.errstate(all="ignore"):
        for t, g in enumerate(grads, start=1):
            old_m, old_v = m, v
            m = first_moment(rule, m, g, t)
            u = numerator(rule, m, old_m, g, t)
            if second != "one":
                beliefs = {"belief": m, "late belief": old_m}
                v = second_moment(rule, v, g - beliefs[second] if second in beliefs else g)
                unbias = rule.correct_second.at(t, at)
                hat = (old_v if rule.old_second else v) / unbias
                if second == "max":
                    hat = largest = np.maximum(largest, hat)
                elif second == "raw max":
                    largest = np.maximum(largest, v)
                    hat = largest / unbias
                elif second == "min":
                    hat = smallest = np.minimum(smallest, hat)
                elif second == "mean":
                    hat = hat**2
                elif second == "centered":
                    mean = at.b2 * mean + (1 - at.b2) * g
                    hat = hat - mean**2
                if second == "adadelta":
                    u = u * np.sqrt(deltas + at.eps_root) / np.sqrt(hat + at.eps_root)
                    deltas = at.b2 * deltas + (1 - at.b2) * u**2
                elif second == "infinity":
                    u = u / hat
                else:
                    eps = at.eps / np.sqrt(unbias) if rule.late_eps else at.eps
                    inside = 0.0 if "belief" in second else at.eps_root  # it is in v already
                    hat = hat + inside
                    u = u / ((np.sqrt(hat) if rule.root == 0.5 else hat**rule.root) + eps)
            if rule.stores_corrected:
                m, v = m / rule.correct_first.at(t, at), v / rule.correct_second.at(t, at)
            u = np.clip(u, -at.clip, at.clip) if bounded else u
            steps = at.outer * steps + u if twice else u
            seen.append(-at.learning_rate * steps)
    shape = np.broadcast_shapes(*(each.shape for each in seen))
    return np.stack([np.broadcast_to(each, shape) for each in seen])


def first_moment(rule: Rule, m: Any, g: Any, t: int) -> Any:
    """The moment of the gradient after this step."""
    at = rule.numbers
    decay = at.b2 if "lion" in rule.along else at.b1 * at.b1_decay ** (t - 1)
    if rule.first == "turned":
        decay = 1 - decay
    if rule.seeded and t == 1:
        return g
    return decay * m + ((1 - at.dampening) * g if rule.first == "sum" else (1 - decay) * g)


def second_moment(rule: Rule, v: Any, g: Any) -> Any:
    """The moment of the squared gradient after this step."""
    at = rule.numbers
    new = g if rule.second == "mean" else g * g if rule.power == 2 else np.abs(g) ** rule.power
    if rule.second == "sum":
        return v + new
    if rule.second == "leaky":
        return at.b2 * v + new
    if rule.second == "turned":
        return (1 - at.b2) * v + at.b2 * new
    if rule.second == "yogi":
        return v - (1 - at.b2) * np.sign(v - new) * new
    if rule.second == "infinity":
        return np.maximum(at.b2 * v, np.abs(g) + at.eps)
    extra = at.eps_root if "belief" in rule.second else 0.0
    return at.b2 * v + (1 - at.b2) * new + extra


def numerator(rule: Rule, m: Any, old: Any, g: Any, t: int) -> Any:
    """What is divided by the root of the second moment."""
    at, unbias = rule.numbers, rule.correct_first.at(t, rule.numbers)
    if rule.along in ("nesterov", "ahead") and rule.first == "sum":
        u = at.b1 * (m - g if rule.along == "ahead" else m) + g
    elif rule.along == "nesterov":
        u = at.b1 * m / rule.correct_first.at(t + 1, at) + (1 - at.b1) * g / unbias
    elif rule.along == "nesterov at t":
        u = (at.b1 * m + (1 - at.b1) * g) / unbias
    elif rule.along in ("lion", "late lion"):
        u = at.b1 * (old if rule.along == "lion" else m) + (1 - at.b1) * g
    else:
        u = {"gradient": g, "moment": m, "old moment": old}[rule.along] / unbias
    return np.sign(u) if rule.sign else u


def averages(rule: Rule) -> bool:
    """Whether the squared gradients enter a decaying average."""
    return rule.second not in ("one", "sum")


def free(rule: Rule) -> list[str]:
    """The hyperparameters that a rule's structure uses."""
    used = {
        "learning_rate": True,
        "b1": rule.along != "gradient",
        "b2": "lion" in rule.along or averages(rule),
        "c1": rule.correct_first.decay == "c1",
        "c2": rule.correct_second.decay == "c2",
    }
    return [
        name
        for name, default in vars(Numbers()).items()
        if used.get(name, getattr(rule.numbers, name) != default)
    ]
