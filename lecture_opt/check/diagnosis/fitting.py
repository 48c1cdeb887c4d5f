"""Measuring a rule from its responses: which point of the family gives these updates."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lecture_opt.check.diagnosis.rates import beside_sums, sums, unit
from lecture_opt.check.diagnosis.rules import KNOWN, Array, Rule, free, simulate
from lecture_opt.check.diagnosis.suspects import neighbours
from lecture_opt.check.outcome import in_words
from lecture_opt.check.subject import Subject
from lecture_opt.environment import enable_x64

STEPS, SIZES = 40, 12
EQUAL = 1e-4
DECAYS = (
    "b1",
    "b2",
    "c1",
    "c2",
    "outer",
    "b1_decay",
    "dampening",
)  # between 0 and 1, often close to 1


@dataclass(frozen=True)
class Responses:
    """The updates of an optimizer, in float64, for gradients from 1 down to 1e-9.

    Attributes:
        grads: The gradients, of shape (steps, elements).
        updates: The updates, of the same shape.
        runs: How many runs lie side by side, each with a learning rate of its own at each step, so
            that a rule need only explain how the elements of a step relate; 0 for a fixed rate.
        every: Over how many steps of the rule an update is the sum. The learning rate may then
            change within an update, up to its curvature.
    """

    grads: Array
    updates: Array
    runs: int = 0
    every: int = 1


def probe(steps: int, seed: int) -> Array:
    """Normal gradients whose standard deviation falls from 1 to 1e-9 over the elements."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, SIZES)) * np.geomspace(1, 1e-9, SIZES)


def respond(subject: Subject, params: Any, *, steps: int = STEPS, seed: int = 0) -> Responses:
    """What the optimizer answers to the probe, with its parameters held at `params`."""
    grads = probe(steps, seed)
    with enable_x64(True):
        trees = [{"w": jnp.asarray(g, jnp.float64)} for g in grads]
        at = {"w": jnp.full(SIZES, params, jnp.float64)}
        updates, _ = subject.updates_over(trees, at)
        return Responses(grads, np.stack([np.asarray(u["w"], np.float64) for u in updates]))


def error(rule: Rule, responses: Responses) -> float:
    """The largest difference, relative to the root mean square of the element's updates."""
    return float(np.max(np.abs(residuals(rule, responses))))


def residuals(rule: Rule, responses: Responses) -> Array:
    """Rule minus responses, each element in units of its own root mean square."""
    wanted = responses.updates
    scale = np.sqrt(np.mean(wanted**2, axis=0)) + 1e-300
    got = simulate(rule, responses.grads)
    if got.ndim == 3:
        wanted = wanted[:, None, :]
    if responses.every > 1:
        return beside_sums(got / scale, wanted / scale, responses.every)
    if responses.runs:
        cut = (*wanted.shape[:-1], responses.runs, -1)
        rests = np.all(wanted.reshape(cut) == 0, axis=-1)  # a rate of 0 says nothing of the rule
        rests = np.repeat(rests, wanted.shape[-1] // responses.runs, axis=-1)
        got = unit(np.where(rests, 0.0, got / scale), responses.runs)
        wanted = unit(wanted / scale, responses.runs)
        scale = np.ones_like(scale)
    gap = (np.broadcast_to(got, np.broadcast_shapes(got.shape, wanted.shape)) - wanted) / scale
    clipped: Array = np.nan_to_num(np.clip(gap, -1e6, 1e6), nan=1e6)
    return clipped


def to_line(name: str, value: float) -> float:
    """A hyperparameter on the whole line, where it can be searched for."""
    if name in DECAYS:
        return float(np.log(value / (1 - value)))
    return float(np.log(abs(value)))


def from_line(name: str, value: Any) -> Any:
    """The inverse of `to_line`, for arrays too."""
    if name in DECAYS:
        return 1 / (1 + np.exp(-np.clip(value, -12, 25)))
    return np.exp(np.clip(value, -70, 20))


def fit(rule: Rule, responses: Responses, iterations: int = 25) -> tuple[Rule, float]:
    """The rule of the same structure nearest to the responses, and its error.

    Levenberg-Marquardt; the Jacobian's columns come from one batched simulation.
    """
    rule = with_rate(rule, responses)
    if error(plain := rounded(rule, responses), responses) < 1e-9:
        return plain, error(plain, responses)
    if rule.sign and rule.along != "gradient":
        return among_usual(rule, responses)
    names, sign = free(rule), np.sign(rule.numbers.learning_rate) or 1.0
    at = np.array([to_line(name, getattr(rule.numbers, name)) for name in names])

    def moved(points: Any) -> Rule:
        values = {name: from_line(name, points[..., i]) for i, name in enumerate(names)}
        values["learning_rate"] = sign * values["learning_rate"]
        shape = (lambda value: value[:, None]) if points.ndim > 1 else float
        return rule.at(**{name: shape(value) for name, value in values.items()})

    width, damping = 1e-6, 1e-3
    now = residuals(moved(at), responses).ravel()
    for _ in range(iterations):
        batch = residuals(moved(at + width * np.eye(len(names))), responses)
        steps, size = responses.updates.shape
        columns = np.moveaxis(np.broadcast_to(batch, (steps, len(names), size)), 1, 0)
        jacobian = (columns.reshape(len(names), -1) - now).T / width
        normal, slope = jacobian.T @ jacobian, jacobian.T @ now
        for _ in range(6):
            step = np.linalg.lstsq(
                normal + damping * np.diag(np.diag(normal) + 1e-12), -slope, rcond=None
            )[0]
            trial = at + np.clip(step, -2, 2)
            then = residuals(moved(trial), responses).ravel()
            if then @ then < now @ now:
                gain = 1 - (then @ then) / (now @ now)
                at, now, damping = trial, then, damping / 10
                break
            damping *= 10
        else:
            break
        if gain < 1e-9 or np.max(np.abs(now)) < 1e-12:
            break
    found = rounded(moved(at), responses)
    return found, error(found, responses)


def among_usual(rule: Rule, responses: Responses) -> tuple[Rule, float]:
    """A rule of signs, which have no slope, with the best decays of those that people write."""
    names = [name for name in free(rule) if name in DECAYS]
    usual = 1 - np.array([0.1, 0.05, 0.02, 0.01, 0.03, 0.04, 0.2, 0.15, 0.3, 0.4, 0.5, 5e-3, 1e-3])
    grid = np.stack(np.meshgrid(*[usual] * len(names), indexing="ij"), -1).reshape(-1, len(names))
    batch = rule.at(**{name: grid[:, [i]].round(12) for i, name in enumerate(names)})
    gaps = np.abs(residuals(batch, responses)).mean(axis=(0, 2))
    best = dict(zip(names, grid[int(gaps.argmin())].round(12).tolist(), strict=True))
    found = rounded(with_rate(rule.at(**best), responses), responses)
    return found, error(found, responses)


def with_rate(rule: Rule, responses: Responses) -> Rule:
    """The rule with the learning rate that fits best, all else fixed."""
    scale = np.sqrt(np.mean(responses.updates**2, axis=0)) + 1e-300
    steps = sums(simulate(rule.at(learning_rate=1.0), responses.grads), responses.every) / scale
    wanted = responses.updates / scale
    steps = np.nan_to_num(np.clip(steps, -1e12, 1e12))
    rate = float(np.sum(steps * wanted) / (np.sum(steps**2) + 1e-300))
    return rule.at(learning_rate=rate if rate else 1e-12)


def rounded(rule: Rule, responses: Responses) -> Rule:
    """The same rule with hyperparameters of few digits, as people write them, where those fit."""
    reached = max(error(rule, responses), 1e-9)
    for name in free(rule):
        value = getattr(rule.numbers, name)
        for digits in (1, 2, 3, 4):
            plain = float(f"{value:.{digits}g}")
            if name in DECAYS:
                plain = round(1 - float(f"{1 - value:.{digits}g}"), 12)
            trial = rule.at(**{name: plain})
            if error(trial, responses) < 3 * reached + 1e-7:
                rule = trial
                break
    return rule


def nearest(responses: Responses) -> list[tuple[float, Rule]]:
    """Every known rule fitted to the responses, nearest first; the most usual among equals.

    Where rules with their usual hyperparameters are exact already, only these.
    """
    fitted = []
    rates = [rounded(with_rate(known, responses), responses) for known in KNOWN]
    exact = [
        known for known, rule in zip(KNOWN, rates, strict=True) if error(rule, responses) < 1e-9
    ]
    for known in exact or KNOWN:
        rule, gap = fit(known, responses)
        unusual = sum(
            not np.isclose(
                getattr(rule.numbers, name), getattr(known.numbers, name), rtol=1e-6, atol=0
            )
            for name in free(known)
            if name != "learning_rate"
        )
        fitted.append(((max(gap, 1e-6), unusual, len(free(known))), gap, rule))
    return [(gap, rule) for _, gap, rule in sorted(fitted, key=lambda each: each[0])]


def name_the_change(base: Rule, responses: Responses) -> tuple[str, Rule, float] | None:
    """The smallest change of `base` that gives the responses: its words, the rule, the error.

    First one hyperparameter or one suspect, all that do; then several hyperparameters, then one
    suspect with other hyperparameters, then two suspects.
    """
    suspects = neighbours(base)
    fitted, gap = fit(base, responses)
    refit = differing(base, fitted) if gap < EQUAL else ""
    found = [(words, rule) for words, rule in suspects if error(rule, responses) < EQUAL]
    if refit and (not found or (" and " not in refit and "dampening" not in refit)):
        found.insert(0, (refit, fitted))
    if found:
        words = ", or if ".join(words for words, _ in found)
        return words, found[0][1], error(found[0][1], responses)
    for words, suspect in suspects:
        rule, gap = fit(suspect, responses)
        turned = rule.numbers.learning_rate * suspect.numbers.learning_rate < 0  # turned back
        if gap < EQUAL and not turned:
            others = differing(suspect, rule)
            return f"{words}, and {others}" if others else words, rule, gap
    return two_suspects(base, responses)


def two_suspects(base: Rule, responses: Responses) -> tuple[str, Rule, float] | None:
    """Two of the usual suspects at once, the learning rate fitted."""
    for first, suspect in neighbours(base):
        for second, rule in neighbours(suspect):
            scaled = with_rate(rule, responses)
            gap = error(scaled, responses)
            if gap < EQUAL:
                others = differing(suspect, rounded(scaled, responses))
                return ", and ".join(filter(None, (first, second, others))), scaled, gap
    return None


def known_but_for(responses: Responses) -> tuple[str, Rule, float] | None:
    """A known rule with its usual hyperparameters, one suspect changed: words, rule, error.

    The cheap question first, with the rate alone fitted; then all hyperparameters of the four
    rules most often rewritten by hand; then two suspects in Adam.
    """
    for base in KNOWN:
        for words, suspect in neighbours(base):
            rule = rounded(with_rate(suspect, responses), responses)
            if error(rule, responses) < EQUAL:
                return words, rule, error(rule, responses)
    often = ("optax.adam", "optax.rmsprop", "optax.adagrad", "optax.sgd")
    first = {rule.name: rule for rule in reversed(KNOWN)}
    for name in often:
        for words, suspect in neighbours(first[name]):
            rule, gap = fit(suspect, responses)
            if gap < EQUAL:
                return words, rule, gap
    return two_suspects(first["optax.adam"], responses)


def differing(base: Rule, rule: Rule) -> str:
    """In words, the hyperparameters of a rule that are not those of the base."""
    changed = [
        f"{name} is {getattr(rule.numbers, name):.4g} instead of {getattr(base.numbers, name):.4g}"
        for name in free(rule)
        if name in free(base)
        and not np.isclose(
            getattr(rule.numbers, name), getattr(base.numbers, name), rtol=3e-4, atol=0
        )
    ]
    return " and ".join(changed)


def try_respond(subject: Subject, params: float) -> Responses | str:
    """The responses, or in words why the optimizer gives no usable ones."""
    try:
        responses = respond(subject, params)
    except Exception as error:  # an optimizer that raises has no identity
        return in_words(error)
    if not np.all(np.isfinite(responses.updates)):
        return "its updates are not finite for gradients between 1 and 1e-9"
    return responses
