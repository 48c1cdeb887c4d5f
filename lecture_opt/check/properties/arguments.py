"""The constructor's arguments: each does something, may be traced, and the rate is honoured."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED, equal
from lecture_opt.check.needs import NUMBERS, RATE, needs
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, skipped, trait
from lecture_opt.check.subject import RATE_NAMES, Subject
from lecture_opt.environment import fast_jit

USUAL = (
    *RATE_NAMES,
    *("b1", "b2", "beta", "beta1", "beta2", "momentum", "decay", "rho"),
    *("eps", "epsilon", "weight_decay"),
)


@needs(RATE)
def rate_scales_the_step(subject: Subject) -> Outcome:
    """Twice the learning rate gives twice the first step.

    Why: every schedule and every table of rates relies on it.
    Usual cause: the rate ignored, or applied twice (then the step is four times as long).
    """
    rate, params, grads = subject.learning_rate, probes.params_tree(), probes.grads_trees(WATCHED)
    assert rate is not None
    sizes = []
    for factor in (1.0, 2.0):
        updates, _ = subject.with_rate(lambda r: factor * r).updates_over(grads, params)  # noqa: B023
        size = [sum(np.abs(probes.float64(x)).sum() for x in jax.tree.leaves(u)) for u in updates]
        sizes.append(np.asarray(size))
    moved = np.flatnonzero(sizes[0])
    if not moved.size:
        return skipped(f"the first {WATCHED} updates are zero")
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


@needs(RATE)
def schedule_at_the_right_count(subject: Subject) -> Outcome:
    """A schedule is called with 0 at the first update, 1 at the second.

    Why: off by one, warm-up starts too late and a restart resumes at the wrong rate.
    Usual cause: the count incremented before the schedule is called.
    """
    bump, params, grads = 3, probes.params_tree(), probes.grads_trees(6)

    def tripled(when: Callable[[Any], Any]) -> list[Any]:
        def schedule(rate: float) -> Callable[[Any], Any]:
            return lambda count: jnp.where(when(count), 3.0 * rate, rate)

        return subject.with_rate(schedule).updates_over(grads, params)[0]

    try:
        runs = tripled(lambda count: count == -1), tripled(lambda count: count == bump)
    except Exception as error:  # a constructor may take numbers only
        return skipped(f"the learning rate cannot be a schedule ({in_words(error)})")
    gaps = [probes.worst_difference(a, b) for a, b in zip(*runs, strict=True)]
    parted = [step for step, gap in enumerate(gaps) if gap.error > 1e-5]
    if not parted:
        gap = probes.worst_difference(tripled(lambda count: count > -1), runs[0])
        moves = any(np.any(leaf) for leaf in jax.tree.leaves(runs[0][bump]))
        if moves and gap.error > 1e-5:
            return failed(
                "A schedule that changes its value at count 3 alone leaves six updates alone; "
                "one that is three times as large everywhere changes them: it is always called "
                "with the same count."
            )
        return trait("A change of the schedule's value at count 3 does not show in six updates.")
    if parted[0] == bump:
        return passed()
    called = "count + 1" if parted[0] < bump else "count - 1"
    return failed(
        f"A schedule that changes its value at count {bump} alone changes update {parted[0]} "
        f"first (counting from 0): it is called with {called}.",
        wanted=bump,
        got=parted[0],
    )


@needs(NUMBERS)
def inject_hyperparams(subject: Subject) -> Outcome:
    """Every floating argument may be traced, as `optax.inject_hyperparams` does.

    Why: sweeps by vmap, and rates changed in the middle of a run, pass arrays.
    Usual cause: `if learning_rate > 0`, `float(b1)`, `math.sqrt`, NumPy on a hyperparameter.
    """
    values = subject.floats
    try:
        got = updates_with_traced(subject, values)
    except Exception as error:  # then find which argument it is
        refused, said = [], in_words(error)
        for name in values:
            try:
                updates_with_traced(subject, {name: values[name]})
            except Exception as alone:  # this one
                refused.append(name)
                said = in_words(alone)
        return failed(
            f"With {', '.join(refused or values)} traced, the optimizer raises {said}",
            arguments=refused or list(values),
        )
    if subject.random:
        return passed()
    wanted, _ = subject.updates_over(unlike_grads(), probes.params_tree())
    return equal(got, wanted, f"With {', '.join(values)} traced the update differs", 2e-2)


@needs(NUMBERS)
def each_matters(subject: Subject) -> Outcome:
    """Every usual argument changes something: another value gives another update.

    Why: a number that does nothing is tuned in vain, and hides another one used in its place.
    Usual cause: a constant written out in the formula, `b1` where `b2` was meant.
    """
    values = subject.floats
    try:
        base, ask = updates_with_traced(subject, values), updates_with_traced
    except Exception:  # inject_hyperparams says so
        base, ask = updates_with(subject, values), updates_with
    dead = []
    for name, value in values.items():
        others = other_values(value)
        if all(probes.same_bits(ask(subject, values | {name: other}), base) for other in others):
            dead += [] if matters_later(subject, name, value, others) else [(name, value, others)]
    if not dead:
        return passed()
    judged = [each for each in dead if each[0] in USUAL and each[1] != 0 and moves(base[1:4])]
    name, value, others = (judged or dead)[0]
    text = (
        f"{name}={value:g} may as well be {' or '.join(f'{other:g}' for other in others)}: "
        f"{len(late_grads())} updates, for gradients of size 1e-6, 1 and 1000, stay the same "
        "bit for bit."
    )
    names = [each[0] for each in judged or dead]
    return failed(text, arguments=names) if judged else trait(text, arguments=names)


def other_values(value: float) -> tuple[float, ...]:
    """Values far from this one, on both sides; for a decay also one much closer to 1."""
    if 0.01 < value < 1:
        return 0.5 * value, 0.5 + 0.5 * value, 1 - 0.01 * (1 - value)
    return 0.5 * value, 100 * value, 0.1 + value


def unlike_grads() -> list[Any]:
    """Gradients of size 1e-6, 1 (three of them) and 1000: to some step each argument matters."""
    sizes = (1e-6, 1, 1, 1, 1e3)
    return [probes.normal_tree(step, scale=size) for step, size in enumerate(sizes)]


def moves(updates: list[Any]) -> bool:
    """Whether some step is more than the rounding of ordinary params in float32."""
    return probes.largest(updates) > 1e-6


def late_grads() -> list[Any]:
    """Twenty gradients of size 1e-6 (some rules start as another), three of 1, one of 1000."""
    sizes = (*[1e-6] * 20, 1, 1, 1, 1e3)
    return [probes.normal_tree(step, scale=size) for step, size in enumerate(sizes)]


def matters_later(subject: Subject, name: str, value: float, others: tuple[float, ...]) -> bool:
    """Whether an argument that changes nothing at first does so in a longer run."""
    params, grads = probes.params_tree(), late_grads()
    base, *runs = (
        subject.rebuilt(**{name: each}).updates_over(grads, params)[0] for each in (value, *others)
    )
    return not all(probes.same_bits(run, base) for run in runs)


def updates_with(subject: Subject, values: dict[str, Any]) -> list[Any]:
    """The updates for unlike gradients, of the optimizer built with these arguments."""
    rebuilt = subject.rebuilt(**values)
    return rebuilt.updates_over(unlike_grads(), probes.params_tree(), jit=False)[0]


@functools.lru_cache(maxsize=1)
def compiled(subject: Subject) -> Callable[..., list[Any]]:
    """`updates_with` for one optimizer as a compiled function of the arguments."""
    return fast_jit(functools.partial(updates_with, subject))


def updates_with_traced(subject: Subject, values: dict[str, float]) -> list[Any]:
    """The same in one compiled program, which the arguments enter as tracers."""
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    return compiled(subject)(arrays)
