"""Hostile gradients: zeros, denormals, huge values, NaN and inf, sudden changes of scale."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import leaves_independent
from lecture_opt.check.outcome import Outcome, failed, passed, trait
from lecture_opt.check.subject import Subject

STEPS = 3
GIANT = 1e9


def stays_finite(subject: Subject, value: float, dtype: Any, what: str) -> Outcome:
    """Pass where gradients that all equal `value` give finite updates, fresh and warmed up."""
    params = probes.params_tree(dtype)
    hostile = probes.full_tree(value, params)
    warm = probes.grads_trees(2, dtype=dtype)
    for start, before in (("a fresh state", []), ("two ordinary steps", warm)):
        updates, _ = subject.updates_over([*before, hostile, hostile, hostile], params)
        bad = probes.first_not_finite(updates)
        if bad:
            return failed(
                f"After {start}, gradients of {what} give an update of {bad.value} at step "
                f"{bad.step}, leaf {bad.leaf} (params of {jnp.dtype(dtype).name}).",
                gradient=value,
                **bad._asdict(),
            )
    return passed()


def zero_gradients(subject: Subject) -> Outcome:
    """Zero gradients in float32 give finite updates.

    Why: dead units, frozen branches and padded rows have a gradient of exactly zero.
    Usual cause: a division by `sqrt(v)` or by a norm without an epsilon.
    """
    return stays_finite(subject, 0.0, jnp.float32, "exactly 0")


def zero_gradients_bfloat16(subject: Subject) -> Outcome:
    """Zero gradients in bfloat16 give finite updates.

    Why: as in float32, in the type large models train in.
    Usual cause: `1 - b2**t` rounded to 0 in 8 bits of mantissa, then 0/0.
    """
    return stays_finite(subject, 0.0, jnp.bfloat16, "exactly 0")


def zero_gradients_float16(subject: Subject) -> Outcome:
    """Zero gradients in float16 give finite updates.

    Why: one padded row makes the whole model NaN.
    Usual cause: an epsilon of 1e-8, which float16 rounds to 0, so that 0/0 is divided.
    """
    return stays_finite(subject, 0.0, jnp.float16, "exactly 0")


def tiny_gradients(subject: Subject) -> Outcome:
    """Gradients of 1e-30 and denormals (1e-40) give finite updates.

    Why: their squares underflow to 0, so a quotient that is fine for 0 may blow up here.
    Usual cause: no epsilon; `where(v == 0, ...)` guarding only the exact zero of the gradient.
    """
    for value in (1e-30, 1e-40):
        outcome = stays_finite(subject, value, jnp.float32, f"{value:g}")
        if outcome.status == "fail":
            return outcome
    return passed()


def huge_gradients(subject: Subject) -> Outcome:
    """A gradient of 1e20, whose square overflows float32, gives no NaN.

    Why: one exploding batch must not end the run.
    Usual cause: inf/inf or inf - inf after squaring.
    """
    params = probes.params_tree()
    grads = [probes.normal_tree(0), probes.full_tree(1e20, params), *probes.grads_trees(3)]
    updates, state = subject.updates_over(grads, params)
    for step, update in enumerate(updates):
        for leaf in jax.tree.leaves(update):
            if np.any(np.isnan(probes.float64(leaf))):
                return failed(
                    f"One gradient of 1e20 at step 1 makes the update of step {step} NaN.",
                    step=step,
                    gradient=1e20,
                )
    bad = probes.not_finite(state)
    after = f" The state then holds {bad.value} at {bad.leaf}." if bad else ""
    return trait(f"A gradient of 1e20 gives no NaN.{after}") if bad else passed()


def overflow_float16(subject: Subject) -> Outcome:
    """What float16 gradients of 300, whose squares overflow, do; reported, not judged.

    Why: it says whether losses may be scaled up in float16, and whether clipping must come first.
    Usual cause: a moment or a sum of squares kept in float16 becomes inf, the step 0.
    """
    params = probes.params_tree(jnp.float16)
    hostile = probes.full_tree(300.0, params)
    updates, _ = subject.updates_over([hostile, *probes.grads_trees(3, dtype=jnp.float16)], params)
    bad, still = probes.first_not_finite(updates), [not probes.largest(u) for u in updates]
    if bad:
        return trait(f"After float16 gradients of 300, update {bad.step} is {bad.value}.")
    if any(still):
        return trait(f"After float16 gradients of 300, update {still.index(True)} is all zero.")
    return passed()


def largest_gradients(subject: Subject) -> Outcome:
    """What the largest finite gradient (3.4e38) does; reported, not judged.

    Why: it says whether clipping is needed before this rule.
    Usual cause: any square or sum of such numbers overflows.
    """
    params = probes.params_tree()
    grads = [probes.full_tree(float(np.finfo(np.float32).max), params), *probes.grads_trees(2)]
    updates, _ = subject.updates_over(grads, params)
    bad = probes.not_finite(updates)
    says = f"updates of {bad.value}" if bad else "finite updates"
    return trait(f"Gradients of 3.4e38 give {says}.", update=bad.value if bad else None)


def infinite_gradient(subject: Subject) -> Outcome:
    """An infinite gradient gives NaN, inf or a step of ordinary size, not a finite giant.

    Where NaN gradients give finite updates, infinite ones do too.

    Why: NaN and inf are seen, and `optax.apply_if_finite` skips them; 3e36 is added to the weights.
    Usual cause: `jnp.nan_to_num`, which turns inf into 3.4e38; a guard of `isnan` alone.
    """
    params, longest = probes.params_tree(), []
    for value in (1.0, np.nan, np.inf):
        grads = [probes.normal_tree(0), probes.full_tree(value, params)]
        updates, _ = subject.updates_over(grads, params)
        longest.append(probes.largest(updates[1]))
    ordinary, after_nan, after_inf = longest
    evidence = {"ordinary": ordinary, "after_nan": after_nan, "after_inf": after_inf}
    if np.isfinite(after_inf) and after_inf > GIANT * ordinary > 0:
        return failed(
            f"Gradients of inf give finite updates of {after_inf:.4g}, where gradients of 1 gave "
            f"{ordinary:.4g}: is inf replaced by the largest number?",
            **evidence,
        )
    if np.isfinite(after_nan) and not np.isfinite(after_inf):
        return failed(
            f"Gradients of NaN give updates up to {after_nan:.4g}, gradients of inf give "
            f"{after_inf}: what guards against NaN lets inf through.",
            **evidence,
        )
    return passed()


def bad_leaf_stays_alone(subject: Subject) -> Outcome:
    """NaN or inf in the gradient of one leaf does not reach the others of a leafwise rule.

    Why: one broken head should not destroy the trunk.
    Usual cause: a global sum, norm or check multiplied into every leaf.
    """
    params = probes.params_tree()
    for value in (np.nan, np.inf):
        grads = [g | {"kernel": jnp.full_like(g["kernel"], value)} for g in probes.grads_trees(2)]
        updates, _ = subject.updates_over(grads, params)
        bad = probes.first_not_finite([{**update, "kernel": jnp.zeros(1)} for update in updates])
        if bad:
            says = f"A gradient of {value} in ['kernel'] makes the update of {bad.leaf} {bad.value}"
            if leaves_independent(subject):
                never = "though finite values in ['kernel'] never touch the other leaves"
                return failed(f"{says}, {never}.", gradient=value, **bad._asdict())
            return trait(f"{says}: the rule looks at all leaves together.")
    return passed()


def recovers_from_nan(subject: Subject) -> Outcome:
    """Whether updates recover within 50 steps after one NaN gradient, and what is forgotten then.

    A trait, and a failure where the guard against NaN forgets moments or stops the rule for good.

    Why: most rules keep a NaN for ever in their moments; those need `optax.apply_if_finite`.
    Usual cause: an average with a NaN in it stays NaN; a guard that puts the first state back, or
    multiplies by a flag that never returns.
    """
    params, warm = probes.params_tree(), probes.grads_trees(6)
    nan = probes.full_tree(np.nan, params)
    updates, state = subject.updates_over([*warm, nan, *probes.grads_trees(50, seed=1)], params)
    clean = [probes.not_finite(update) is None for update in updates[7:]]
    if not clean[-1]:
        return trait(
            "After one NaN gradient every later update is NaN; wrap it in apply_if_finite."
        )
    if any(map(probes.largest, updates[:6])) and not any(map(probes.largest, updates[7:])):
        rests = "After one NaN gradient all of 50 updates are exactly 0"
        if probes.not_finite(state):
            return trait(f"{rests}, as the state holds it; wrap it in apply_if_finite.")
        return failed(f"{rests}, though the state is finite: the rule stands still.")
    if lost := forgotten(subject, warm, nan, params):
        return failed(
            f"A NaN gradient leaves less than half of state{' and state'.join(lost)}: the bad step "
            "is not skipped, it also forgets the moments.",
            leaves=lost,
        )
    return trait(f"Step {clean.index(True) + 1} after a NaN gradient is finite again.")


def forgotten(subject: Subject, warm: Any, nan: Any, params: Any) -> list[str]:
    """The arrays of the state of which a NaN gradient leaves less than half of what a zero does."""
    _, before = subject.updates_over(warm, params)
    _, bad = subject.step(nan, before, params)
    _, rested = subject.step(probes.full_tree(0.0, params), before, params)
    lost = []
    for name, old, *others in probes.named(before, bad, rested):
        if np.ndim(old) and not probes.is_key(old):
            kept, after, usual = (np.abs(probes.float64(leaf)).sum() for leaf in (old, *others))
            if np.isfinite(after) and after < 0.5 * min(kept, usual):
                lost.append(name)
    return lost


def change_of_scale(subject: Subject) -> Outcome:
    """Gradients a million times larger for one step, then back, give finite updates.

    Why: a spike in the loss is an ordinary event.
    Usual cause: a difference of squares below zero under a root, a ratio of old to new scale.
    """
    params = probes.params_tree()
    scales = (1.0, 1.0, 1e6, 1.0, 1e-6, 1e-6, 1.0, 1e6)
    grads = [probes.normal_tree(step, scale=scale) for step, scale in enumerate(scales)]
    updates, _ = subject.updates_over(grads, params)
    bad = probes.first_not_finite(updates)
    if bad is None:
        return passed()
    return failed(
        f"Gradients of scales {scales}: update {bad.step} is {bad.value} at {bad.leaf}.",
        **bad._asdict(),
    )
