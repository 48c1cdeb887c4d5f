"""One family of elementwise rules in NumPy float64; each known optimizer is a point in it.

With g the gradient, m and v the moments, t from 1, a step is

    m  = b1 * m + (1 - b1) * g             first="average" ("sum" leaves 1 - b1 out)
    v  = b2 * v + (1 - b2) * g**2          second="average" ("leaky" leaves 1 - b2 out, "sum" b2)
    u  = m_hat / (sqrt(v_hat + eps_root) + eps)
    update = -learning_rate * u

where the hats divide by `1 - b**t`; in the lecture's Adam b1 decays, as `b1 * b1_decay**(t-1)`.
The usual bugs are moves between neighbouring points, so
naming a bug is a search among the neighbours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Rule:
    """A point of the family.

    Attributes:
        name: The call that makes it, without arguments, as in `optax.adam`.
        first: "none" (the gradient itself), "average", "turned" (averaged with 1 - b1 for b1),
            "sum", or "lion".
        second: "none", "average", "turned", "sum", "leaky", "max" (AMSGrad), "min", "belief",
            "centered", "infinity" (Adamax), "adadelta" or "mean" (averaged, then squared).
        correct_first: How many times the first moment is bias-corrected; `correct_second` too.
        corrects: Whose decay corrects both moments, "first" or "second"; "" for each its own,
            "swapped" for the other's.
        shift: What is added to t in the bias corrections.
        stride: What t is multiplied by there.
        late_eps: Add eps to the root before it is bias-corrected.
        power: What the gradient is raised to in the second moment, 2 as a rule.
        nesterov: Look ahead by one more decay of the first moment.
        sign: Take the sign of the numerator.
        root: The power of v in the denominator, 0.5 as a rule.
        stale: "first" or "second" for a moment used before this step's gradient enters it,
            "mean" for the mean that AdaBelief takes off the gradient; "ahead" for a look ahead
            along the decayed velocity without this step's gradient.
        outer: Decay of a second momentum, over the finished steps.
        initial: What the second moment starts from.
    """

    name: str
    learning_rate: Any = 1e-3
    first: str = "none"
    second: str = "none"
    b1: Any = 0.9
    b2: Any = 0.999
    eps: Any = 0.0
    eps_root: Any = 0.0
    initial: Any = 0.0
    outer: Any = 0.0
    correct_first: int = 0
    correct_second: int = 0
    corrects: str = ""
    shift: int = 0
    stride: int = 1
    late_eps: bool = False
    power: float = 2.0
    b1_decay: Any = 1.0
    nesterov: bool = False
    sign: bool = False
    root: float = 0.5
    stale: str = ""


KNOWN = (
    Rule("optax.sgd"),
    Rule("optax.sgd", first="sum"),
    Rule("optax.sgd", first="sum", nesterov=True),
    Rule("optax.sign_sgd", sign=True),
    Rule("optax.signum", first="average", sign=True),
    Rule("optax.lion", first="lion", b2=0.99, sign=True),
    Rule("optax.adagrad", second="sum", eps_root=1e-6),
    Rule("optax.adagrad", second="sum", eps_root=1e-7, initial=0.1),
    Rule("optax.rmsprop", second="average", b2=0.9, eps_root=1e-8),
    Rule("optax.rmsprop", second="average", b2=0.9, eps=1e-8),
    Rule("optax.rmsprop", second="average", b2=0.9, eps_root=1e-8, outer=0.9),
    Rule("optax.rmsprop", second="average", b2=0.9, eps=1e-8, correct_second=1),
    Rule("optax.rmsprop", second="centered", b2=0.9, eps_root=1e-8),
    Rule("optax.adadelta", second="adadelta", b2=0.9, eps_root=1e-6, learning_rate=1.0),
    *(
        Rule(
            name,
            first="average",
            second=second,
            eps=1e-8,
            correct_first=1,
            correct_second=1,
            nesterov=nesterov,
        )
        for name, second, nesterov in (
            ("optax.adam", "average", False),
            ("optax.nadam", "average", True),
            ("optax.amsgrad", "max", False),
        )
    ),
    Rule(
        "optax.adam",
        first="average",
        second="average",
        eps=1e-8,
        eps_root=1e-12,
        correct_first=1,
        correct_second=1,
    ),
    Rule(
        "optax.adabelief",
        first="average",
        second="belief",
        eps=1e-16,
        eps_root=1e-16,
        correct_first=1,
        correct_second=1,
    ),
    Rule("optax.adamax", first="average", second="infinity", eps=1e-8, correct_first=1),
    Rule(
        "lecture_opt.adam",
        first="average",
        second="average",
        eps=1e-8,
        correct_first=1,
        correct_second=1,
        b1_decay=1 - 1e-8,
    ),
)


def simulate(rule: Rule, grads: Array) -> Array:
    """The updates of a rule for gradients of shape (steps, n).

    Hyperparameters may be arrays of shape (k, 1); the updates are then (steps, k, n).
    """
    m = v = mean = largest = steps = deltas = np.zeros(1)
    v, smallest = v + rule.initial, np.full(1, np.inf)
    seen = []
    with np.errstate(all="ignore"):
        for t, g in enumerate(grads, start=1):
            old_m, old_v = m, v
            m = first_moment(rule, m, g, t)
            gap = g - (m if rule.stale != "mean" else old_m) if rule.second == "belief" else g
            v = second_moment(rule, v, gap)
            if rule.second == "centered":
                mean = rule.b2 * mean + (1 - rule.b2) * g
            u = numerator(rule, old_m if rule.stale == "first" else m, old_m, g, t)
            unbias = correction(rule, "second", t)
            hat = (old_v if rule.stale == "second" else v) / unbias
            hat = hat**2 if rule.second == "mean" else hat
            largest, smallest = np.maximum(largest, hat), np.minimum(smallest, hat)
            kept = {"max": largest, "min": smallest, "centered": hat - mean**2}
            hat = kept.get(rule.second, hat)
            if rule.second == "adadelta":
                u = u * np.sqrt(deltas + rule.eps_root) / np.sqrt(hat + rule.eps_root)
                deltas = rule.b2 * deltas + (1 - rule.b2) * u**2
            elif rule.second == "infinity":
                u = u / hat
            elif rule.second != "none":
                eps = rule.eps / np.sqrt(unbias) if rule.late_eps else rule.eps
                inside = 0.0 if rule.second == "belief" else rule.eps_root  # it is in v already
                u = u / ((hat + inside) ** rule.root + eps)
            steps = rule.outer * steps + u
            seen.append(-rule.learning_rate * steps)
    shape = np.broadcast_shapes(*(each.shape for each in seen))
    return np.stack([np.broadcast_to(each, shape) for each in seen])


def correction(rule: Rule, moment: str, t: int) -> Any:
    """What a moment is divided by to remove its bias towards zero."""
    times = rule.correct_first if moment == "first" else rule.correct_second
    other = {"first": "second", "second": "first"}[moment]
    owner = {"": moment, "swapped": other}.get(rule.corrects, rule.corrects)
    decay = rule.b1 if owner == "first" else rule.b2
    return (1 - decay ** (t * rule.stride + rule.shift)) ** times if times else 1.0


def first_moment(rule: Rule, m: Any, g: Any, t: int) -> Any:
    """The moment of the gradient after this step."""
    decay = rule.b2 if rule.first == "lion" else rule.b1 * rule.b1_decay ** (t - 1)
    return {
        "none": lambda: g,
        "sum": lambda: decay * m + g,
        "average": lambda: decay * m + (1 - decay) * g,
        "turned": lambda: (1 - decay) * m + decay * g,
        "lion": lambda: decay * m + (1 - decay) * g,
    }[rule.first]()


def second_moment(rule: Rule, v: Any, g: Any) -> Any:
    """The moment of the squared gradient after this step."""
    new = g if rule.second == "mean" else np.abs(g) ** rule.power
    if rule.second == "sum":
        return v + new
    if rule.second == "leaky":
        return rule.b2 * v + new
    if rule.second == "turned":
        return (1 - rule.b2) * v + rule.b2 * new
    if rule.second == "infinity":
        return np.maximum(rule.b2 * v, np.abs(g) + rule.eps)
    extra = rule.eps_root if rule.second == "belief" else 0.0
    return rule.b2 * v + (1 - rule.b2) * new + extra


def numerator(rule: Rule, m: Any, old: Any, g: Any, t: int) -> Any:
    """What is divided by the root of the second moment."""
    if rule.first == "lion":
        u = rule.b1 * old + (1 - rule.b1) * g
    elif rule.nesterov and rule.first in ("average", "turned"):
        ahead = rule.b1 * m / correction(rule, "first", t + 1)
        u = ahead + (1 - rule.b1) * g / correction(rule, "first", t)
    elif rule.nesterov:
        u = rule.b1 * (m - g if rule.stale == "ahead" else m) + g
    else:
        u = m / correction(rule, "first", t)
    return np.sign(u) if rule.sign else u


def free(rule: Rule) -> list[str]:
    """The hyperparameters that a rule's structure uses."""
    used = {
        "learning_rate": True,
        "b1": rule.first != "none",
        "b2": rule.first == "lion" or rule.second not in ("none", "sum"),
    }
    names = [name for name in ("learning_rate", "b1", "b2") if used[name]]
    names += [name for name in ("eps", "eps_root", "initial", "outer") if getattr(rule, name) != 0]
    names += ["b1_decay"] if rule.b1_decay != 1 else []
    return names


def call(rule: Rule) -> str:
    """The rule as the call that makes it."""
    given = {"learning_rate": rule.learning_rate}
    decay = {"optax.rmsprop": "decay", "optax.adadelta": "rho"}
    if rule.first != "none":
        name = {"optax.sgd": "momentum", "optax.signum": "beta"}.get(rule.name, "b1")
        given[name] = rule.b1
    if rule.first == "lion" or rule.second not in ("none", "sum"):
        given[decay.get(rule.name, "b2")] = rule.b2
    if rule.name == "optax.adagrad":
        given["initial_accumulator_value"] = rule.initial
    inside = rule.name in ("optax.rmsprop", "optax.adagrad", "optax.adadelta")
    if rule.second != "none":
        given["eps"] = rule.eps_root if inside and not rule.eps else rule.eps
        if rule.eps_root and not inside:
            given["eps_root"] = rule.eps_root
    if rule.b1_decay != 1:
        given["b1_decay"] = rule.b1_decay
    if rule.name == "optax.rmsprop":
        given |= {"momentum": rule.outer} if rule.outer else {}
        given |= {"eps_in_sqrt": False} if rule.eps else {}
        given |= {"centered": True} if rule.second == "centered" else {}
        given |= {"bias_correction": True} if rule.correct_second else {}
    if rule.nesterov and rule.name == "optax.sgd":
        given["nesterov"] = True
    shown = ", ".join(
        f"{key}={value:.9g}" if type(value) is not bool else f"{key}={value}"
        for key, value in given.items()
    )
    return f"{rule.name}({shown})"
