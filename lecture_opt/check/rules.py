"""One family of elementwise rules in NumPy float64; each known optimizer is a point in it.

With g the gradient, m and v the moments, t from 1, a step is

    m  = b1 * m + (1 - b1) * g             first="average" ("sum" leaves 1 - b1 out)
    v  = b2 * v + (1 - b2) * g**2          second="average" ("leaky" leaves 1 - b2 out, "sum" b2)
    u  = m_hat / (sqrt(v_hat + eps_root) + eps)
    update = -learning_rate * u

where the hats divide by `1 - b**t`. The usual bugs are moves between neighbouring points, so
naming a bug is a search among the neighbours.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Rule:
    """A point of the family.

    Attributes:
        name: The call that makes it, without arguments, as in `optax.adam`.
        first: "none" (the gradient itself), "average", "sum", or "lion".
        second: "none", "average", "sum", "leaky", "max" (AMSGrad), "belief", "centered",
            "infinity" (Adamax) or "adadelta".
        correct_first: How many times the first moment is bias-corrected; `correct_second` too.
        shift: What is added to t in the bias corrections.
        nesterov: Look ahead by one more decay of the first moment.
        sign: Take the sign of the numerator.
        root: The power of v in the denominator, 0.5 as a rule.
        stale: "first" or "second" for a moment used before this step's gradient enters it.
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
    shift: int = 0
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
)


def simulate(rule: Rule, grads: Array) -> Array:
    """The updates of a rule for gradients of shape (steps, n).

    Hyperparameters may be arrays of shape (k, 1); the updates are then (steps, k, n).
    """
    m = v = mean = largest = steps = deltas = np.zeros(1)
    v = v + rule.initial
    seen = []
    with np.errstate(all="ignore"):
        for t, g in enumerate(grads, start=1):
            old_m, old_v = m, v
            m = first_moment(rule, m, g)
            gap = g - m if rule.second == "belief" else g
            v = second_moment(rule, v, np.abs(gap))
            if rule.second == "centered":
                mean = rule.b2 * mean + (1 - rule.b2) * g
            u = numerator(rule, old_m if rule.stale == "first" else m, old_m, g, t)
            hat = (old_v if rule.stale == "second" else v) / correction(
                rule.b2, t + rule.shift, rule.correct_second
            )
            largest = np.maximum(largest, hat)
            hat = {"max": largest, "centered": hat - mean**2}.get(rule.second, hat)
            if rule.second == "adadelta":
                u = u * np.sqrt(deltas + rule.eps_root) / np.sqrt(hat + rule.eps_root)
                deltas = rule.b2 * deltas + (1 - rule.b2) * u**2
            elif rule.second == "infinity":
                u = u / hat
            elif rule.second != "none":
                u = u / ((hat + rule.eps_root) ** rule.root + rule.eps)
            steps = rule.outer * steps + u
            seen.append(-rule.learning_rate * steps)
    shape = np.broadcast_shapes(*(each.shape for each in seen))
    return np.stack([np.broadcast_to(each, shape) for each in seen])


def correction(decay: Any, t: int, times: int) -> Any:
    """What a moment is divided by to remove its bias towards zero."""
    return (1 - decay**t) ** times if times else 1.0


def first_moment(rule: Rule, m: Any, g: Any) -> Any:
    """The moment of the gradient after this step."""
    decay = rule.b2 if rule.first == "lion" else rule.b1
    return {
        "none": lambda: g,
        "sum": lambda: decay * m + g,
        "average": lambda: decay * m + (1 - decay) * g,
        "lion": lambda: decay * m + (1 - decay) * g,
    }[rule.first]()


def second_moment(rule: Rule, v: Any, size: Any) -> Any:
    """The moment of the squared gradient after this step."""
    if rule.second == "sum":
        return v + size**2
    if rule.second == "leaky":
        return rule.b2 * v + size**2
    if rule.second == "infinity":
        return np.maximum(rule.b2 * v, size + rule.eps)
    extra = rule.eps_root if rule.second == "belief" else 0.0
    return rule.b2 * v + (1 - rule.b2) * size**2 + extra


def numerator(rule: Rule, m: Any, old: Any, g: Any, t: int) -> Any:
    """What is divided by the root of the second moment."""
    t, times = t + rule.shift, rule.correct_first
    if rule.first == "lion":
        u = rule.b1 * old + (1 - rule.b1) * g
    elif rule.nesterov and rule.first == "average":
        ahead = rule.b1 * m / correction(rule.b1, t + 1, times)
        u = ahead + (1 - rule.b1) * g / correction(rule.b1, t, times)
    elif rule.nesterov:
        u = rule.b1 * m + g
    else:
        u = m / correction(rule.b1, t, times)
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
    return names


def neighbours(rule: Rule) -> list[tuple[str, Rule]]:
    """The usual suspects: each what one would have to do to the rule, and the rule then."""
    found: list[tuple[str, Rule]] = []

    def suspect(words: str, **changes: Any) -> None:
        found.append((words, replace(rule, **changes)))

    suspect("its sign is flipped", learning_rate=-rule.learning_rate)
    if rule.second != "none":
        if rule.eps and not rule.eps_root:
            suspect("eps is moved inside the square root", eps=0.0, eps_root=rule.eps)
        if rule.eps_root and not rule.eps:
            suspect("eps is moved outside the square root", eps=rule.eps_root, eps_root=0.0)
        if rule.eps or rule.eps_root:
            suspect("eps is left out", eps=0.0, eps_root=0.0)
        suspect("the square root is left out", root=1.0)
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
        suspect("the first moment is used before this step's gradient enters it", stale="first")
        suspect("momentum is applied twice", outer=rule.b1)
        suspect("momentum is left out", first="none", correct_first=0)
    if rule.first == "none":
        suspect("momentum is applied", first="average", b1=0.9)
    return found + corrections(rule)


def corrections(rule: Rule) -> list[tuple[str, Rule]]:
    """The suspects among the bias corrections."""
    has = {
        "first": rule.first in ("average", "sum"),
        "second": rule.second in ("average", "max", "belief"),
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
    return found


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
    if rule.name == "optax.rmsprop":
        given |= {"momentum": rule.outer} if rule.outer else {}
        given |= {"eps_in_sqrt": False} if rule.eps else {}
        given |= {"centered": True} if rule.second == "centered" else {}
        given |= {"bias_correction": True} if rule.correct_second else {}
    if rule.nesterov and rule.name == "optax.sgd":
        given["nesterov"] = True
    shown = ", ".join(
        f"{key}={value:.6g}" if type(value) is not bool else f"{key}={value}"
        for key, value in given.items()
    )
    return f"{rule.name}({shown})"
