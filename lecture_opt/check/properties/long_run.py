"""Long runs: counters at their end, a million steps behind, thousands of steps in a row."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED
from lecture_opt.check.needs import JITS, RATE, needs
from lecture_opt.check.outcome import Outcome, failed, passed, skipped, trait
from lecture_opt.check.subject import Subject

MILLION = 1_000_000
COUNTS = (31, 107, 331, 1_009, 3_301, 10_007, 33_013, 100_003, 330_017, MILLION)  # no common period
GIANT = 1000


def counters(subject: Subject) -> list[tuple[int, Any]]:
    """(leaf index, dtype) of every scalar of the state that grew by one in each of many steps."""
    params = probes.params_tree()
    state, seen = subject.init(params), []
    for grads in [None, *probes.grads_trees(WATCHED)]:
        if grads is not None:
            _, state = subject.step(grads, state, params)
        seen.append(jax.tree.leaves(state))
    found = []
    for index, leaves in enumerate(zip(*seen, strict=True)):
        if any(probes.is_key(leaf) or np.shape(leaf) != () for leaf in leaves):
            continue
        values = [float(leaf) for leaf in leaves]
        if np.allclose(np.diff(values), 1.0, atol=0):
            found.append((index, jnp.asarray(leaves[0]).dtype))
    return found


def sums_rates(subject: Subject) -> bool:
    """Whether what grows by one is a sum of rates, which another rate changes, not a counter."""
    if not RATE.met(subject):
        return False
    other = counters(subject.with_rate(lambda rate: 0.37 * rate))
    return not any(jnp.issubdtype(dtype, jnp.floating) for _, dtype in other)


def with_counters(state: Any, found: list[tuple[int, Any]], values: list[float]) -> Any:
    """The state with its counters set."""
    leaves, structure = jax.tree.flatten(state)
    for (index, dtype), value in zip(found, values, strict=True):
        leaves[index] = jnp.asarray(value, dtype)
    return jax.tree.unflatten(structure, leaves)


def last_value(dtype: Any) -> float:
    """Where a counter of this dtype ends: its maximum, or where x + 1 == x for floats."""
    if jnp.issubdtype(dtype, jnp.integer):
        return int(jnp.iinfo(dtype).max)
    return float(2 ** (jnp.finfo(dtype).nmant + 1))


def counter_at_maximum(subject: Subject) -> Outcome:
    """A step counter at its maximum saturates; the update after it is an ordinary one.

    Why: a wrapped counter is negative, its bias correction NaN and its schedule anywhere.
    Usual cause: `count + 1` without `optax.safe_increment`; int8, int16 or float counters (a
    float32 stops counting at 16,777,216, a bfloat16 at 256).
    """
    found = counters(subject)
    if not found:
        return skipped("the state has no step counter")
    for _, dtype in found:
        if jnp.issubdtype(dtype, jnp.floating) and not sums_rates(subject):
            return failed(
                f"The step counter is {dtype}: it stops at {last_value(dtype):.0f}, where adding "
                "1 changes nothing. Count in int32.",
                dtype=str(dtype),
                last=last_value(dtype),
            )
        if last_value(dtype) < MILLION:
            return failed(
                f"The step counter is {dtype} and ends after {last_value(dtype):.0f} steps.",
                dtype=str(dtype),
            )
    params = probes.params_tree()
    grads = probes.grads_trees(4)
    _, state = subject.updates_over(grads[:3], params)
    ends = [last_value(dtype) for _, dtype in found]
    updates, after = subject.step(grads[3], with_counters(state, found, ends), params)
    leaves = jax.tree.leaves(after)
    for (index, dtype), end in zip(found, ends, strict=True):
        if float(leaves[index]) < end:
            return failed(
                f"The {dtype} step counter at its maximum {end:.0f} becomes "
                f"{int(leaves[index])} after one more update.",
                before=end,
                after=int(leaves[index]),
            )
    bad = probes.not_finite(updates)
    if bad:
        return failed(f"With the counter at its maximum the update is {bad.value} at {bad.leaf}.")
    return passed()


def after_a_million_steps(subject: Subject) -> Outcome:
    """With 30 to a million steps behind, an ordinary update is finite, goes down and is no giant.

    Only the counter is set; the moments are those of ten steps. At a million the next counts give
    nearly the same update. A schedule that ends at zero and stays there is a trait.

    Why: long runs and resumed ones get there.
    Usual cause: a power of the count that overflows (`b1**-t`), a schedule that is not clamped at
    its end (a cosine or a line that goes below zero), a warm-up that never ends.
    """
    found = counters(subject)
    if not found:
        return skipped("the state has no step counter")
    params, grads = probes.params_tree(), [probes.normal_tree(0)] * 10
    _, state = subject.updates_over(grads, params)

    def after(count: int) -> Any:
        return subject.step(grads[0], with_counters(state, found, [count] * len(found)), params)[0]

    down, size = along(subject.step(grads[0], state, params)[0], grads[0])
    for count, before in zip(COUNTS, (1, *COUNTS), strict=False):
        updates = after(count)
        bad = probes.not_finite(updates)
        if bad:
            message = f"After {count} steps the update of leaf {bad.leaf} is {bad.value}."
            return failed(message, count=count, leaf=bad.leaf)
        now, length = along(updates, grads[0])
        if size and not length:
            return says_where_it_ends(after, before, count, size)
        if down < 0 < now and not subject.random:
            return failed(
                f"After {count} steps the update goes along a gradient that it went against after "
                f"10: their product is {now:.4g}, it was {down:.4g}.",
                count=count,
                product=now,
            )
        if length > GIANT * size > 0:
            return failed(
                f"After {count} steps the same gradient gets a step {length / size:.4g} times as "
                "long as after 10.",
                count=count,
                times=length / size,
            )
    gap = probes.worst_difference(after(MILLION + 2), updates)
    if gap.error > 0.05 and not subject.random:
        return failed(
            f"The same gradient and moments give at count {MILLION + 2} another update than at "
            f"{MILLION}: {gap}.",
            error=gap.error,
        )
    return passed()


def says_where_it_ends(after: Callable[[int], Any], low: int, high: int, size: float) -> Outcome:
    """Where updates become zero: a trait where they shrink to it, a failure where they stop."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if probes.largest(after(middle)) else (low, middle)
    says = f"From count {high} on, an ordinary gradient gives an update of exactly zero"
    before = after(low)
    last = math.sqrt(probes.product(before, before))
    if last < 0.2 * size and not probes.largest(after(MILLION)):
        return trait(f"{says}: the schedule ends there.", count=high)
    return failed(f"{says}; the one before it has {last / size:.2g} of its usual length.", at=high)


def along(updates: Any, grads: Any) -> tuple[float, float]:
    """The product of updates and gradients, and the length of the updates."""
    return probes.product(updates, grads), math.sqrt(probes.product(updates, updates))


@needs(JITS)
def thousands_of_steps(subject: Subject) -> Outcome:
    """Updates and state stay finite over 2,000 steps of ordinary gradients.

    Why: a slow leak to infinity ends a run overnight.
    Usual cause: a sum or product that only grows (`count` in an exponent, moments not averaged).
    """
    params = probes.params_tree()
    rng = np.random.default_rng(3)
    grads = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(200, *p.shape)), p.dtype), params)
    return scan_stays_finite(subject, params, grads, repeats=10, what="standard normal gradients")


@needs(JITS)
def constant_gradients(subject: Subject) -> Outcome:
    """A gradient that soon stops changing, of 0.001 to 1000, keeps updates finite for 400 steps.

    Why: linear losses and saturated clipping do this.
    Usual cause: a variance `v - m**2` that rounds below zero under the square root.
    """
    scale = np.where(np.arange(400) < 10, 10.0, 1.0)  # moments then settle from above
    values = np.outer(scale, np.geomspace(1e-3, 1e3, 64))
    params = {"w": jnp.asarray(np.ones(64), jnp.float32)}
    grads = {"w": jnp.asarray(values, jnp.float32)}
    return scan_stays_finite(
        subject, params, grads, repeats=1, what="constant gradients", may_grow=True
    )


def scan_stays_finite(
    subject: Subject, params: Any, grads: Any, *, repeats: int, what: str, may_grow: bool = False
) -> Outcome:
    """Pass where repeated scans over stacked gradients leave everything finite.

    The parameters stay where they are: whether a run diverges is a matter of its rate.
    """

    @jax.jit
    def epoch(carry: Any, grads: Any) -> Any:
        def body(carry: Any, gradient: Any) -> Any:
            updates, state = subject.update(gradient, carry, params)
            sizes = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(updates)]
            return state, jnp.stack(sizes).max()

        return jax.lax.scan(body, carry, grads)

    carry, sizes = subject.init(params), np.zeros(0)
    for _ in range(repeats):
        carry, more = epoch(carry, grads)
        sizes = np.concatenate([sizes, probes.float64(more)])
    done = len(sizes)
    if not np.all(np.isfinite(sizes)):
        step = int(np.argmin(np.isfinite(sizes)))
        if may_grow and sizes[:step].max(initial=0.0) > 1e15:
            return trait(f"With {what}, steps grow beyond 1e15 before step {step}.", step=step)
        return failed(f"With {what}, the update of step {step} is not finite.", step=step)
    bad = probes.not_finite(carry)
    if bad:
        return failed(
            f"After {done} steps of {what} the state holds {bad.value} at {bad.leaf}.",
            leaf=bad.leaf,
        )
    return passed()
