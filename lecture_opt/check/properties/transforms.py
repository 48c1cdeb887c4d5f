"""The update under JAX's transformations: jit, vmap, grad."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from lecture_opt.check import probes
from lecture_opt.check.needs import JITS, needs
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, raised, trait
from lecture_opt.check.subject import Subject, add
from lecture_opt.environment import enable_x64, fast_jit

DIVERGED = 1e40  # then the run itself has no finite limit to compare with
HINTS = {
    "TracerBoolConversionError": "a Python `if` on a traced value such as the step count; "
    "use jnp.where or lax.cond",
    "TracerIntegerConversionError": "a traced value used where Python wants an int",
    "ConcretizationTypeError": "float(), int() or a Python loop on a traced value",
    "TracerArrayConversionError": "NumPy applied to a traced array; use jnp",
    "UnexpectedTracerError": "a tracer was kept outside the function that made it",
}


def jit_equals_eager(subject: Subject) -> Outcome:
    """The update runs under `jax.jit` and gives what it gives outside.

    Why: everyone jits the training step.
    Usual cause: `if count > 1:`, `float(norm)`, NumPy on arrays; random or global values frozen
    at trace time.
    """
    error = subject.jit_problem
    if error is not None:
        hint = HINTS.get(type(error).__name__, "")
        return failed(
            f"jax.jit(update) raised {in_words(error)}" + (f" This is {hint}." if hint else ""),
            raised=in_words(error),
        )
    params = probes.params_tree()
    grads = probes.grads_trees(5)
    eager, _ = subject.updates_over(grads, params, jit=False)
    jitted, state = subject.updates_over(grads, params)
    found = probes.first_difference(jitted, eager, max(1e-3, rounding(state)))
    if found is None:
        return passed()
    step, gap = found
    within_rounding = abs(gap.got - gap.wanted) < 1e-7 * probes.largest(params)
    if within_rounding or gap.error < 10 * sensitivity(subject, grads, params, step):
        return passed()
    return failed(
        f"At step {step} the jitted update differs from the one outside jit: {gap}.",
        step=step,
        **gap._asdict(),
    )


def rounding(state: Any) -> float:
    """Ten times the rounding of the shortest floating type of a state."""
    types = [leaf.dtype for leaf in jax.tree.leaves(state) if hasattr(leaf, "dtype")]
    floating = [dtype for dtype in types if jnp.issubdtype(dtype, jnp.floating)]
    return max((10 * float(jnp.finfo(dtype).eps) for dtype in floating), default=0.0)


def sensitivity(subject: Subject, grads: list[Any], params: Any, step: int) -> float:
    """How far the update of a step moves where all params and gradients change by 1e-7."""
    nudged = [jax.tree.map(lambda leaf: leaf * (1 + 1e-7), tree) for tree in (params, *grads)]
    usual, other = (
        subject.updates_over(tree[1:], tree[0])[0][step] for tree in ([params, *grads], nudged)
    )
    return probes.worst_difference(other, usual).error


@needs(JITS)
def vmap_equals_loop(subject: Subject) -> Outcome:
    """`vmap` over three models (three seeds) gives what three separate runs give.

    Why: seeds and hyperparameters are swept with one compiled program.
    Usual cause: reductions over all axes of a reshaped leaf, Python shapes, side effects.
    """
    runs = [probes.normal_tree(seed) for seed in (50, 51, 52)]
    grads = [[probes.normal_tree(10 * seed + t) for seed in range(3)] for t in range(3)]

    batched, params = fast_jit(jax.vmap(subject.update)), probes.stack(runs)
    try:
        state = jax.vmap(subject.init)(params)
        together = []
        for gradient in grads:
            updates, state = batched(probes.stack(gradient), state, params)
            together.append(probes.unstack(updates))
    except Exception as error:  # what vmap says is the verdict
        return raised("vmap over three models raised", error)
    for run, model in enumerate(runs):
        alone, _ = subject.updates_over([gradient[run] for gradient in grads], model)
        found = probes.first_difference([models[run] for models in together], alone, 1e-3)
        if found:
            step, gap = found
            return failed(
                f"Model {run} of three under vmap differs from the same model alone at step "
                f"{step}: {gap}.",
                step=step,
                run=run,
                **gap._asdict(),
            )
    return passed()


@needs(JITS)
def differentiable(subject: Subject) -> Outcome:
    """The gradient through three training steps is finite and equals finite differences.

    Why: meta-learning and learned hyperparameters differentiate through the optimizer.
    Usual cause: `sqrt` at zero (its derivative is infinite), a hand-written derivative,
    `where` around a NaN.
    """
    with enable_x64(True):
        start = probes.params_tree(jnp.float64)
        target = probes.normal_tree(7, dtype=jnp.float64)

        def loss(params: Any) -> Any:
            gaps = jax.tree.map(lambda p, t: jnp.sum((p - t) ** 2 * (1 + p**2)), params, target)
            return sum(jax.tree.leaves(gaps))

        def after_training(shift: Any) -> Any:
            params = jax.tree.map(lambda p: p * (1 + shift), start)
            state = subject.init(params)
            for _ in range(3):
                updates, state = subject.update(jax.grad(loss)(params), state, params)
                params = add(params, updates)
            return loss(params)

        at = jnp.zeros([], jnp.float64)
        try:
            slope = float(fast_jit(jax.grad(after_training))(at))
        except Exception as error:  # some rules cannot be differentiated, and say so
            return trait(f"Not differentiable: {in_words(error)}")
        value = fast_jit(after_training)
        wide, narrow = (float(value(at + h) - value(at - h)) / (2 * h) for h in (1e-4, 1e-5))
    if not math.isfinite(slope) and abs(narrow) < DIVERGED:
        return failed(
            f"The gradient of the loss after three steps with respect to a scaling of the first "
            f"parameters is {slope}; finite differences give {narrow:.6g}.",
            gradient=slope,
            finite_difference=narrow,
        )
    noise = abs(wide - narrow) + 1e-6 * abs(narrow) + 1e-9
    if abs(slope - narrow) <= max(100 * noise, 1e-3 * abs(narrow)):
        return passed(gradient=slope, finite_difference=narrow)
    return trait(
        f"The gradient through three steps is {slope:.6g} where finite differences give "
        f"{narrow:.6g}: part of the rule is not differentiated (stop_gradient, rounding, sign).",
        gradient=slope,
        finite_difference=narrow,
    )
