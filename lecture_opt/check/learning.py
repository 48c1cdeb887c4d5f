"""Learning: the loss goes down, at some rate; the rate and its schedule are honoured.

A rate that suits one rule is absurd for another, so the tasks multiply the updates by each of
a grid of factors at once (one compiled program) and ask whether any of them learns. What no
factor can repair is not the rate's fault.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, skipped, trait
from lecture_opt.check.subject import Subject, add

FACTORS = tuple(10.0 ** (power / 2) for power in range(-8, 9))


class Task(NamedTuple):
    """A loss of a tree, where to start, and the share of the first loss that is asked for."""

    loss: Callable[[Any], Any]
    start: Any
    steps: int
    target: float


def learns(subject: Subject, task: Task, what: str) -> Outcome:
    """Pass where some factor, on the updates or else on the rate, brings the loss below target."""
    if subject.jit_problem is not None:
        return skipped("needs an update that jits (see transforms.jit_equals_eager)")
    first, last = train(task, lambda _: subject, times_updates=True)
    where = "the updates"
    rate, name = subject.learning_rate, subject.rate_name
    if not np.nanmin(last) < task.target * first and rate is not None and name:

        def build(factor: Any) -> Any:
            return subject.rebuilt(**{name: rate * factor})

        try:
            first, last = train(task, build, times_updates=False)
            where = "the updates or the learning rate"
        except Exception:  # the rate cannot be traced; composition.inject_hyperparams says so
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
            updates, state = subject.update(jax.grad(task.loss)(params), state, params)
            return (add(params, jax.tree.map(lambda u: scale * u, updates)), state), None

        start = (task.start, subject.init(task.start))
        (params, _), _ = jax.lax.scan(body, start, None, length=task.steps)
        return task.loss(params)

    last = jax.jit(lambda factors: jax.lax.map(one, factors))(jnp.asarray(FACTORS, jnp.float32))
    return float(task.loss(task.start)), np.asarray(last, np.float64)


def quadratic(condition: float) -> Callable[[Any], Any]:
    """Half a sum of squares of 12 numbers with curvatures from 1 to `condition`."""
    curvatures = jnp.asarray(np.geomspace(1.0, condition, 12).reshape(4, 3), jnp.float32)
    return lambda params: 0.5 * jnp.sum(curvatures * params["w"] ** 2)


def goes_down(subject: Subject) -> Outcome:
    """Under a constant gradient the parameters move against it, in every leaf.

    Why: the sign is the first thing to get wrong.
    Usual cause: a missing minus: optax adds updates, so they must already be negative.
    """
    params = jax.tree.map(lambda p: 0.1 * p, probes.params_tree())
    grads = probes.normal_tree(0)
    updates, _ = subject.updates_over([grads] * 12, params, follow=True)
    for path, gradient in jax.tree_util.tree_leaves_with_path(grads):
        name = path[0].key
        total = sum(probes.float64(update[name]) for update in updates)
        along = float(np.sum(total * probes.float64(gradient)))
        if not along < 0:
            first = probes.float64(updates[0][name]).ravel()[0]
            return failed(
                f"Twelve updates under the constant gradient of leaf ['{name}'] sum to a move "
                f"whose product with the gradient is {along:.4g}; a negative number is wanted. "
                f"Its first element: gradient {probes.float64(gradient).ravel()[0]:.4g}, first "
                f"update {first:.4g}.",
                leaf=name,
                product=along,
            )
    return passed()


def decay_shrinks(subject: Subject) -> Outcome:
    """Where parameters move under zero gradients, they shrink.

    Why: weight decay with the wrong sign makes the weights grow without end.
    Usual cause: the decay added after the minus sign was applied.
    """
    params = probes.full_tree(10.0, probes.params_tree())
    zeros = probes.full_tree(0.0, params)
    updates, _ = subject.updates_over([zeros] * 3, params)
    total = {name: sum(probes.float64(u[name]) for u in updates) for name in params}
    largest = max(float(np.max(np.abs(leaf))) for leaf in total.values())
    means = [float(np.mean(leaf)) for leaf in total.values()]
    if subject.random or largest == 0 or not np.isfinite(largest):
        return passed()
    if min(means) > 1e-9 and min(means) > 0.5 * largest:
        return failed(
            f"With zero gradients and all parameters 10, three updates add {largest:.4g}: the "
            "decay pushes the weights away from zero.",
            updates=largest,
        )
    return passed()


def rests_without_gradient(subject: Subject) -> Outcome:
    """From a fresh state, zero gradients at parameters of zero move nothing.

    Why: a drift without a reason ends wherever it likes.
    Usual cause: a constant or noise added to the gradient or to the update.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: the rule may add noise")
    zeros = probes.full_tree(0.0, probes.params_tree())
    updates, _ = subject.updates_over([zeros] * 3, zeros)
    for step, update in enumerate(updates):
        gap = probes.worst_difference(update, zeros)
        if gap is not None and np.isfinite(gap.got) and gap.got != 0:
            return failed(
                f"With zero gradients at parameters of zero, update {step} of leaf {gap.leaf} is "
                f"{gap.got:.4g}.",
                step=step,
                leaf=gap.leaf,
                update=gap.got,
            )
    return passed()


def convex_quadratic(subject: Subject) -> Outcome:
    """A quadratic of condition 4 falls to a hundredth of its first loss in 1,000 steps.

    Why: a rule that cannot do this, at any rate, cannot learn.
    Usual cause: the sign, arguments swapped, state that is never updated.
    """
    start = {"w": probes.params_tree()["kernel"]}
    return learns(subject, Task(quadratic(4.0), start, 1000, 1e-2), "Convex quadratic")


def ill_conditioned(subject: Subject) -> Outcome:
    """A quadratic of condition 100 falls to a tenth of its first loss in 600 steps.

    Why: real losses are ill-conditioned; plain gradient descent still manages this one.
    Usual cause: moments that forget at once or never, a denominator that only grows.
    """
    start = {"w": probes.params_tree()["kernel"]}
    return learns(subject, Task(quadratic(100.0), start, 600, 0.1), "Ill-conditioned quadratic")


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


def logistic_regression(subject: Subject) -> Outcome:
    """Logistic regression on the breast cancer data gets below half its first loss.

    Why: the smallest real problem: 569 tumours, 30 measurements, convex.
    Usual cause: as for the quadratics; scales between leaves (weights, one bias) mixed up.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        return skipped("needs scikit-learn: pip install 'lecture_opt[judge]'")
    inputs, labels = load_breast_cancer(return_X_y=True)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    x, y = jnp.asarray(inputs, jnp.float32), jnp.asarray(labels, jnp.float32)
    start = {"bias": jnp.zeros(1, jnp.float32), "w": jnp.full(30, 1e-2, jnp.float32)}

    def loss(params: Any) -> Any:
        logits = x @ params["w"] + params["bias"][0]
        return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits)

    return learns(subject, Task(loss, start, 150, 0.5), "Logistic regression on real data")


def rate_scales_the_step(subject: Subject) -> Outcome:
    """Twice the learning rate gives twice the first step.

    Why: every schedule and every table of rates relies on it.
    Usual cause: the rate ignored, or applied twice (then the step is four times as long).
    """
    rate = subject.learning_rate
    if subject.constructor is None or rate is None or not subject.rate_name:
        return skipped("needs a constructor that takes a learning rate")
    params = probes.params_tree()
    grads = probes.grads_trees(5)
    sizes = []
    for factor in (1.0, 2.0):
        rebuilt = subject.rebuilt(**{subject.rate_name: rate * factor})
        updates, _ = rebuilt.updates_over(grads, params)
        size = [sum(np.abs(probes.float64(x)).sum() for x in jax.tree.leaves(u)) for u in updates]
        sizes.append(np.asarray(size))
    moved = np.flatnonzero(sizes[0])
    if not moved.size:
        return skipped("the first five updates are zero")
    first = int(moved[0])
    ratio = float(sizes[1][first] / sizes[0][first])
    evidence: dict[str, Any] = {"ratio": ratio, "step": first, "learning_rate": rate}
    if abs(ratio - 2) < 0.02:
        return passed(**evidence)
    if abs(ratio - 1) < 1e-6 and np.allclose(sizes[0], sizes[1]):
        return failed(f"Learning rates {rate:g} and {2 * rate:g} give the same steps.", **evidence)
    if abs(ratio - 4) < 0.04 or ratio < 0.99:
        return failed(
            f"Twice the learning rate multiplies step {first} by {ratio:.4g}; 2 is wanted.",
            **evidence,
        )
    return trait(f"Twice the learning rate multiplies step {first} by {ratio:.4g}.", **evidence)


def schedule_at_the_right_count(subject: Subject) -> Outcome:
    """A schedule is called with 0 at the first update, 1 at the second.

    Why: off by one, warm-up starts too late and a restart resumes at the wrong rate.
    Usual cause: the count incremented before the schedule is called.
    """
    rate, bump = subject.learning_rate, 3
    if subject.constructor is None or rate is None or not subject.rate_name:
        return skipped("needs a constructor that takes a learning rate")
    params, grads = probes.params_tree(), probes.grads_trees(6)
    runs = []
    try:
        for at in (-1, bump):

            def schedule(count: Any) -> Any:
                return jnp.where(count == at, 3.0 * rate, rate)  # noqa: B023

            updates, _ = subject.rebuilt(**{subject.rate_name: schedule}).updates_over(
                grads, params
            )
            runs.append(updates)
    except Exception as error:  # a constructor may take numbers only
        return skipped(f"the learning rate cannot be a schedule ({in_words(error)})")
    gaps = [probes.worst_difference(a, b) for a, b in zip(*runs, strict=True)]
    parted = [step for step, gap in enumerate(gaps) if gap is not None and gap.error > 1e-5]
    if not parted:
        tripled = subject.rebuilt(**{subject.rate_name: lambda _: 3.0 * rate})
        updates, _ = tripled.updates_over(grads, params)
        gap = probes.worst_difference(updates, runs[0])
        moves = any(np.any(leaf) for leaf in jax.tree.leaves(runs[0][bump]))
        if moves and gap is not None and gap.error > 1e-5:
            return failed(
                "A schedule that changes its value at count 3 alone changes none of six updates, "
                "though one that is three times as large everywhere does: it is always called "
                "with the same count."
            )
        return trait("A change of the schedule's value at count 3 shows in none of six updates.")
    if parted[0] == bump:
        return passed()
    called = "count + 1" if parted[0] < bump else "count - 1"
    return failed(
        f"A schedule that changes its value at count {bump} alone changes update {parted[0]} "
        f"first (counting from 0): it is called with {called}.",
        wanted=bump,
        got=parted[0],
    )


PROPERTIES = (
    goes_down,
    decay_shrinks,
    rests_without_gradient,
    convex_quadratic,
    ill_conditioned,
    rosenbrock,
    logistic_regression,
    rate_scales_the_step,
    schedule_at_the_right_count,
)
