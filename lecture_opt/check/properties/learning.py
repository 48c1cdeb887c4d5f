"""Learning: the loss goes down, at some rate; the rate and its schedule are honoured.

A rate that suits one rule is absurd for another, so the tasks multiply the updates by each of
a grid of factors at once (one compiled program) and ask whether any of them learns. What no
factor can repair is not the rate's fault.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.needs import JITS, RATE, installed, needs
from lecture_opt.check.outcome import Outcome, failed, passed
from lecture_opt.check.subject import Subject, add
from lecture_opt.environment import fast_jit

FACTORS = tuple(10.0 ** (power / 2) for power in range(-8, 9))


class Task(NamedTuple):
    """A loss of a tree, where to start, and the share of the first loss that is asked for."""

    loss: Callable[[Any], Any]
    start: Any
    steps: int
    target: float


def learns(subject: Subject, task: Task, what: str) -> Outcome:
    """Pass where some factor, on the updates or else on the rate, brings the loss below target."""
    first, last = train(task, lambda _: subject, times_updates=True)
    where = "the updates"
    if not np.nanmin(last) < task.target * first and RATE.met(subject):

        def build(factor: Any) -> Any:
            return subject.with_rate(lambda rate: rate * factor)

        try:
            first, last = train(task, build, times_updates=False)
            where = "the updates or the learning rate"
        except Exception:  # the rate cannot be traced; arguments.inject_hyperparams says so
            where = "the updates"
    shares = np.where(np.isfinite(last), last / first, np.inf)
    best = int(np.argmin(shares))
    evidence = {
        "first_loss": first,
        "best_last_loss": last[best],
        "factor": FACTORS[best],
        "steps": task.steps,
    }
    if shares[best] < task.target:
        return passed(f"{what}: {shares[best]:.2g} of the first loss is left.", **evidence)
    return failed(
        f"{what}: in {task.steps} steps the loss goes from {first:.4g} to {last[best]:.4g} at "
        f"best ({shares[best]:.2g} of it; {task.target:g} wanted), with {where} multiplied "
        f"by any of {len(FACTORS)} factors from {FACTORS[0]:g} to {FACTORS[-1]:g}.",
        **evidence,
    )


def train(task: Task, build: Callable[[Any], Subject], *, times_updates: bool) -> tuple[float, Any]:
    """The first loss, and the last one for each factor, all factors in one compiled program."""

    def one(factor: Any) -> Any:
        subject = build(factor)
        scale = factor if times_updates else 1.0

        def body(carry: Any, _: None) -> Any:
            params, state = carry
            grads = jax.grad(task.loss)(params)
            updates, state = subject.update(grads, state, params, task.loss)
            return (add(params, jax.tree.map(lambda u: scale * u, updates)), state), None

        start = (task.start, subject.init(task.start))
        (params, _), _ = jax.lax.scan(body, start, None, length=task.steps)
        return task.loss(params)

    def every(factors: Any) -> Any:
        return task.loss(task.start), jax.lax.map(one, factors)

    first, last = fast_jit(every)(jnp.asarray(FACTORS, jnp.float32))
    return float(first), np.asarray(last, np.float64)


def quadratic(condition: float) -> Callable[[Any], Any]:
    """Half a sum of squares of 12 numbers with curvatures from 1 to `condition`."""
    curvatures = jnp.asarray(np.geomspace(1.0, condition, 12).reshape(4, 3), jnp.float32)
    return lambda params: 0.5 * jnp.sum(curvatures * params["w"] ** 2)


@needs(JITS)
def convex_quadratic(subject: Subject) -> Outcome:
    """A quadratic of condition 4 falls to a hundredth of its first loss in 1,000 steps.

    Why: a rule that cannot do this, at any rate, cannot learn.
    Usual cause: the sign, arguments swapped, state that is never updated.
    """
    start = {"w": probes.params_tree()["kernel"]}
    return learns(subject, Task(quadratic(4.0), start, 1000, 1e-2), "Convex quadratic")


@needs(JITS)
def ill_conditioned(subject: Subject) -> Outcome:
    """A quadratic of condition 100 falls to 3% of its first loss in 600 steps.

    Why: real losses are ill-conditioned; plain gradient descent still manages this one.
    Usual cause: moments that forget at once or never, a denominator that only grows.
    """
    start = {"w": probes.params_tree()["kernel"]}
    return learns(subject, Task(quadratic(100.0), start, 600, 0.03), "Ill-conditioned quadratic")


@needs(JITS)
def rosenbrock(subject: Subject) -> Outcome:
    """From (-1.2, 1), Rosenbrock's loss of 24.2 falls to a third in 600 steps.

    Why: a curved valley shows steps that go astray when the curvature changes.
    Usual cause: a step that does not shrink or turn with the gradient.
    """
    start = {"x": jnp.asarray([-1.2], jnp.float32), "y": jnp.asarray([1.0], jnp.float32)}

    def loss(params: Any) -> Any:
        x, y = params["x"], params["y"]
        return jnp.sum((1 - x) ** 2 + 100 * (y - x**2) ** 2)

    return learns(subject, Task(loss, start, 600, 1 / 3), "Rosenbrock")


def tumours() -> tuple[Any, Any]:
    """The measurements and labels of scikit-learn's breast cancer data.

    They are read from its file: an import of scikit-learn takes longer than this whole family.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("scikit-learn is not installed")
    path = Path(found.origin).parent / "datasets" / "data" / "breast_cancer.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1]


@needs(JITS, installed("sklearn", "'lecture_opt[judge]'"))
def logistic_regression(subject: Subject) -> Outcome:
    """Logistic regression on the breast cancer data gets below half its first loss.

    Why: the smallest real problem: 569 tumours, 30 measurements, convex.
    Usual cause: as for the quadratics; scales between leaves (weights, one bias) mixed up.
    """
    inputs, labels = tumours()
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    x, y = jnp.asarray(inputs, jnp.float32), jnp.asarray(labels, jnp.float32)
    start = {"bias": jnp.zeros(1, jnp.float32), "w": jnp.full(30, 1e-2, jnp.float32)}

    def loss(params: Any) -> Any:
        logits = x @ params["w"] + params["bias"][0]
        return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits)

    return learns(subject, Task(loss, start, 150, 0.5), "Logistic regression on real data")
