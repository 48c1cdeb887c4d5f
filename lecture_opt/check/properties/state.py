"""The state is a fixed point: an update changes its numbers and nothing else."""

from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import changed
from lecture_opt.check.needs import DETERMINISTIC, JITS, needs
from lecture_opt.check.outcome import Outcome, failed, passed, raised, trait
from lecture_opt.check.subject import Subject, add
from lecture_opt.environment import fast_jit

STEPS = 100
LONG = 130  # a reset after 100 or 128 steps shows
STILL = 25  # so many steps without a change, at the end, are no accident
STUCK = 0.1  # the share of a moment that may stand still by chance


def is_fixed_point(subject: Subject) -> Outcome:
    """An update leaves the state's structure, shapes, dtypes and weak types as `init` made them.

    Why: otherwise every jitted loop compiles twice and `lax.scan` refuses the carry.
    Usual cause: a Python number in `init`; `jnp.array(0)` plus a typed array; a float32 constant
    that promotes; a list that becomes a tuple.
    """
    params = probes.params_tree()
    state = subject.init(params)
    for step in range(2):
        _, after = subject.step(probes.normal_tree(step), state, params)
        found = changed(state, after)
        if found:
            where, old, new = found
            return failed(
                f"Update {step} changes the state: {where} was {old} and becomes {new}.",
                step=step,
                leaf=where,
                before=old,
                after=new,
            )
        state = after
    return passed()


@needs(JITS)
def traced_once(subject: Subject) -> Outcome:
    """A jitted update is traced once for 100 steps.

    Why: a retrace is a recompile, seconds on a real model, and it may happen at every step.
    Usual cause: a Python number or a step count kept outside the arrays of the state.
    """
    traces: list[int] = []

    def counted(grads: Any, state: Any, params: Any) -> Any:
        traces.append(len(traces))
        return subject.update(grads, state, params)

    step, params = fast_jit(counted), probes.params_tree()
    state, grads = subject.init(params), probes.normal_tree(0)
    for _ in range(STEPS):
        updates, state = step(grads, state, params)
        params = add(params, updates)
    if len(traces) == 1:
        return passed()
    return failed(
        f"{STEPS} jitted steps traced the update {len(traces)} times; once is wanted.",
        traces=len(traces),
        steps=STEPS,
    )


@needs(JITS)
def scans(subject: Subject) -> Outcome:
    """The state is a legal carry of `lax.scan`, and the scan gives what a loop gives.

    Why: compiled training loops are scans.
    Usual cause: a state that changes type; values computed in Python at trace time.
    """
    params, grads = probes.params_tree(), probes.grads_trees(5)
    stacked = probes.stack(grads)

    def body(state: Any, gradient: Any) -> Any:
        updates, state = subject.update(gradient, state, params)
        return state, updates

    try:
        _, scanned = fast_jit(lambda s, g: jax.lax.scan(body, s, g))(subject.init(params), stacked)
    except Exception as error:  # what scan says is the verdict
        return raised("lax.scan over the update raised", error)
    found = probes.first_difference(
        probes.unstack(scanned), subject.updates_over(grads, params)[0], 1e-3
    )
    if found is None:
        return passed()
    step, gap = found
    return failed(f"Step {step} of a scan differs from a loop: {gap}.", step=step, **gap._asdict())


def moments_move(subject: Subject) -> Outcome:
    """Moments that start from zero move, and so does one counter at least.

    Where every step moves the parameters, the state never becomes again what `init` made it.

    Why: a moment that stays zero is memory for nothing, and the rule is not the one meant.
    Usual cause: `update` returns the old state, or the old count in a new one; a reset meant
    for the end of an epoch that comes every few steps.
    """
    params = probes.params_tree()
    state = subject.init(params)
    moved: set[int] = set()
    shapes = {leaf.shape for leaf in jax.tree.leaves(params)}
    zeros = {
        index: (name, leaf)
        for index, (name, leaf) in enumerate(probes.named(state))
        if not probes.is_key(leaf) and not np.any(np.asarray(leaf))
    }
    moments = {index: name for index, (name, leaf) in zeros.items() if np.shape(leaf) in shapes}
    counts = {index: name for index, (name, leaf) in zeros.items() if is_count(leaf)}
    first, always = state, bool(zeros)
    for step, grads in enumerate(probes.grads_trees(LONG)):
        updates, state = subject.step(grads, state, params)
        params = add(params, updates)
        always = always and any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(updates))
        if step and always and moved and probes.same_bits(state, first):
            return failed(f"After update {step} the whole state is again as init made it.")
        leaves = jax.tree.leaves(state)
        moved |= {index for index in zeros if np.any(np.asarray(leaves[index]))}
    stuck = [name for index, name in moments.items() if index not in moved]
    if counts and not moved & counts.keys():
        _, state = subject.step(probes.full_tree(np.nan, params), state, params)
        leaves = jax.tree.leaves(state)
        counts_bad_steps = any(np.any(np.asarray(leaves[index])) for index in counts)
        if not counts_bad_steps:
            stuck += counts.values()
    if not stuck:
        return passed()
    return failed(
        f"After {LONG} updates with ordinary gradients state{stuck[0]} is still zero: is the new "
        "state returned?",
        leaves=stuck,
    )


def precise(subject: Subject) -> Outcome:
    """For float32 parameters every scalar of the state has 32 bits or more.

    Arrays in fewer bits, which do save memory, are a trait.

    Why: a power of a decay, or a distance, in 16 bits makes every step wrong by percents.
    Usual cause: a constant or a product made in float16 or bfloat16.
    """
    state = subject.init(probes.params_tree())
    short = [
        (name, leaf.dtype.name, np.shape(leaf))
        for name, leaf in probes.named(state)
        if hasattr(leaf, "dtype")
        and not probes.is_key(leaf)
        and jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
        and leaf.dtype.itemsize < 4
    ]
    for name, dtype, shape in short:
        if shape == ():
            return failed(f"For float32 parameters state{name} is one number of {dtype}.")
    if short:
        return trait(f"For float32 parameters state{short[0][0]} is kept in {short[0][1]}.")
    return passed()


def is_count(leaf: Any) -> bool:
    """Whether a leaf of the state is one integer."""
    return np.shape(leaf) == () and jax.numpy.issubdtype(jax.numpy.asarray(leaf).dtype, np.integer)


@needs(JITS)
def moments_fall(subject: Subject) -> Outcome:
    """A moment kept in 16 bits falls again when gradients become small.

    Why: what can only rise slows the model down for ever.
    Usual cause: `0.999 * v` in bfloat16 or float16 is rounded back to v. Keep moments that decay
    slowly in float32, or round at random.
    """
    params = probes.params_tree()
    quiet = [probes.full_tree(1e-6, params)] * STEPS
    _, before = subject.updates_over(probes.grads_trees(4), params)
    state = before
    for grads in quiet:
        _, state = subject.step(grads, state, params)
    for name, old, new in probes.named(before, state):
        if probes.is_key(old) or not jax.numpy.issubdtype(old.dtype, np.floating):
            continue
        short, old, new = old.dtype.itemsize < 4, probes.float64(old), probes.float64(new)
        stuck = (old == new) & (old != 0)
        if short and np.shape(old) and np.mean(stuck) > STUCK:
            return failed(
                f"state{name}, kept in 16 bits, is the same in {stuck.sum()} of "
                f"{stuck.size} elements after {STEPS} gradients of 1e-6 as before them: it can't "
                "fall."
            )
    return passed()


@needs(JITS)
def zeros_count(subject: Subject) -> Outcome:
    """A moment decays under a gradient of exactly zero as it does under one of 1e-12.

    Why: a moment that rests where the gradient is zero is too large when gradients come back.
    Usual cause: `where(g == 0, m, ...)`, meant for padded rows, a mask taken from the gradient, a
    product with it.
    """
    params = probes.params_tree()
    _, state = subject.updates_over(probes.grads_trees(4), params)
    after = [
        subject.step(probes.full_tree(value, params), state, params)[1] for value in (0.0, 1e-12)
    ]
    for name, old, zero, tiny in probes.named(state, *after):
        if probes.is_key(old) or np.ndim(old) == 0 or not np.all(probes.float64(old)):
            continue
        rest, decay = (probes.float64(new) / probes.float64(old) for new in (zero, tiny))
        even = np.ptp(decay) < 1e-4 and 0 <= np.mean(decay) < 1 - 1e-6
        if even and np.abs(rest - decay).max() > 1e-3 * max(1 - np.mean(decay), np.mean(decay)):
            return failed(
                f"state{name} is multiplied by {np.mean(decay):.4g} under a "
                f"gradient of 1e-12, and by {np.mean(rest):.4g} under a gradient of exactly 0.",
                decay=float(np.mean(decay)),
            )
    return passed()


@needs(JITS, DETERMINISTIC)
def repeats_count(subject: Subject) -> Outcome:
    """A gradient that comes twice moves as much as one that is almost the same.

    Why: full batches and long rests of a sparse model repeat their gradients exactly.
    Usual cause: `where(g == g_before, ...)`, meant for a step that is done twice.
    """
    params, warm = probes.params_tree(), probes.grads_trees(4)
    again, other, third = (
        jax.tree.map(lambda g, f=factor: f * g, warm[-1]) for factor in (1.0, 1 + 1e-5, 1 - 1e-5)
    )
    runs = [
        subject.updates_over([*warm, gradient, gradient_after], params)[0]
        for gradient, gradient_after in ((again, again), (other, third), (third, other))
    ]
    same, *near = (probes.stack(updates[4:]) for updates in runs)
    size = probes.largest(near[0])
    gaps = [
        max(np.abs(probes.float64(a) - probes.float64(b)).max() for a, b in zip(*pair, strict=True))
        for pair in (map(jax.tree.leaves, near), map(jax.tree.leaves, (same, near[0])))
    ]
    if gaps[0] < 1e-3 * size and gaps[1] > 0.05 * size:
        return failed(
            f"A gradient that is repeated exactly changes the updates by {gaps[1] / size:.2g} of "
            f"their size; one that is larger by 1e-5 changes them by {gaps[0] / size:.2g}."
        )
    return passed()


@needs(JITS)
def moments_go_on(subject: Subject) -> Outcome:
    """A moment that changes at each of the first 50 steps still does so after 100.

    Why: a moment that has stopped remembers gradients of long ago, in every later step.
    Usual cause: a condition on the count that ends an update of the state, a warm-up's branch.
    """
    params = probes.params_tree()
    state, shapes = subject.init(params), {leaf.shape for leaf in jax.tree.leaves(params)}
    changes: list[list[bool]] = []
    for grads in probes.grads_trees(LONG):
        _, after = subject.step(grads, state, params)
        pairs = zip(*map(jax.tree.leaves, (state, after)), strict=True)
        changes.append([probes.leaf_bits(old) != probes.leaf_bits(new) for old, new in pairs])
        state = after
    for index, (name, leaf) in enumerate(probes.named(state)):
        changed = [step[index] for step in changes]
        if np.shape(leaf) in shapes and all(changed[:50]) and not any(changed[-STILL:]):
            last = max(step for step, each in enumerate(changed) if each)
            return failed(
                f"state{name} changes at each of the first 50 updates, and not "
                f"at all from update {last + 1} to {LONG}.",
                step=last + 1,
            )
    return passed()
