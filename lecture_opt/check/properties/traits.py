"""Traits: what kind of rule this is. Reported, never judged."""

from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.needs import DETERMINISTIC, needs
from lecture_opt.check.outcome import Outcome, skipped, trait
from lecture_opt.check.subject import Subject

STEPS, WARM = 5, 60


def updates_for(subject: Subject, factor: float = 1.0, params: Any = None) -> Any:
    """The canonical updates, with the gradients multiplied by a factor."""
    grads = [jax.tree.map(lambda g: factor * g, tree) for tree in probes.grads_trees(STEPS)]
    return subject.updates_over(grads, probes.params_tree() if params is None else params)[0]


def gap(got: Any, wanted: Any) -> float:
    """The worst relative difference over all steps."""
    return probes.worst_difference(got, wanted).error


def gradient_scale(subject: Subject) -> Outcome:
    """How the step answers to gradients a thousand times larger.

    Why: scale-invariant rules do not need the loss to be normalised; others do.
    Usual cause: a division by a moment of the gradient makes a rule invariant.
    """
    once, scaled = updates_for(subject), updates_for(subject, 1024.0)
    if gap(scaled, once) < 1e-2:
        return trait("Invariant to the scale of the gradients.", invariant=True)
    linear = jax.tree.map(lambda u: 1024.0 * u, once)
    if gap(scaled, linear) < 1e-3:
        return trait("Linear in the scale of the gradients.", invariant=False)
    return trait("Neither linear in the scale of the gradients nor invariant to it.")


def bounded_step(subject: Subject) -> Outcome:
    """The largest element of any update for gradients from 1e-3 to 1e6.

    Why: a bounded step survives an exploding gradient.
    Usual cause: normalisation by the second moment, a sign, or clipping.
    """
    sizes = []
    for factor in (1e-3, 1.0, 1e3, 1e6):
        sizes.append(probes.largest(updates_for(subject, factor)))
    bounded = sizes[3] < 2 * max(sizes[1], 1e-30)
    says = "bounded" if bounded else "not bounded"
    return trait(
        f"Step {says}: the largest element is {sizes[1]:.3g} for gradients of 1 and {sizes[3]:.3g} "
        "for gradients of 1e6.",
        bounded=bounded,
        largest=sizes,
    )


@needs(DETERMINISTIC)
def sign_symmetry(subject: Subject) -> Outcome:
    """Whether opposite gradients give opposite updates, at params of zero.

    Why: a rule that prefers one direction is rarely meant.
    Usual cause: a clip from one side, noise.
    """
    zero = probes.full_tree(0.0, probes.params_tree())
    once, mirrored = updates_for(subject, 1.0, zero), updates_for(subject, -1.0, zero)
    symmetric = gap(jax.tree.map(lambda u: -u, mirrored), once) < 1e-5
    return trait(
        f"Opposite gradients give {'opposite' if symmetric else 'other than opposite'} updates.",
        symmetric=symmetric,
    )


def uses_params(subject: Subject) -> Outcome:
    """Whether the updates depend on the parameters.

    Why: weight decay and trust ratios do; the rule then needs `update(grads, state, params)`.
    Usual cause: weight decay, a norm of the parameters, averaging of iterates.
    """
    far = jax.tree.map(lambda p: 3 * p + 1, probes.params_tree())
    uses = gap(updates_for(subject, 1.0, far), updates_for(subject)) > 1e-6
    return trait(f"Updates {'depend' if uses else 'do not depend'} on the params.", uses=uses)


def memory(subject: Subject) -> Outcome:
    """Bytes of state per float32 parameter, on a matrix of 256 by 256.

    Why: the state of Adam is twice the model.
    Usual cause: each moment costs 4 bytes per parameter.
    """
    params = {"w": jax.ShapeDtypeStruct((256, 256), np.float32)}
    leaves = jax.tree.leaves(jax.eval_shape(subject.init, params))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves if hasattr(leaf, "dtype"))
    each = size / 256**2
    return trait(f"{each:.3g} bytes of state per parameter.", bytes_per_parameter=each)


def half_life(subject: Subject) -> Outcome:
    """After how many steps the echo of one gradient has fallen to a half, late in a run.

    Why: it is the memory of the momentum, whatever the hyperparameter is called.
    Usual cause: a momentum of 0.9 gives 6.6 steps.
    """
    params = probes.full_tree(0.0, probes.params_tree())
    warm, after = probes.grads_trees(WARM), [probes.full_tree(0.0, params)] * 60
    runs = []
    for factor in (1.0, 1.001):
        bump = [jax.tree.map(lambda g: factor * g, warm[-1])]  # noqa: B023
        updates, _ = subject.updates_over([*warm[:-1], *bump, *after], params)
        runs.append([probes.float64(leaf) for u in updates for leaf in jax.tree.leaves(u)])
    leaves = len(jax.tree.leaves(params))
    gaps = [float(np.abs(a - b).sum()) for a, b in zip(*runs, strict=True)]
    sizes = np.add.reduceat(gaps, range(0, len(gaps), leaves))[WARM - 1 :]
    first = sizes[0]
    if not np.all(np.isfinite(sizes)) or first == 0:
        return skipped("a little more of one gradient changes nothing, or not finitely")
    if sizes[1] < 1e-4 * first:
        return trait("No momentum: a gradient moves the params in its own step alone.", steps=0)
    below = next((step for step, size in enumerate(sizes) if size < first / 2), None)
    if below is None:
        return trait("The echo of one gradient has not halved after 60 steps.")
    before, later = sizes[below - 1], max(sizes[below], 1e-300)
    steps = below - 1 + np.log(2 * before / first) / np.log(before / later)
    return trait(f"The echo of one gradient halves in {steps:.3g} steps.", steps=float(steps))


def first_step(subject: Subject) -> Outcome:
    """The mean size of the first update for standard normal gradients, in learning rates.

    Why: Adam's is 1; without its bias corrections it is 3.2, with one of them alone 0.1 or 32.
    Usual cause: a factor here is a factor on the learning rate in the first steps.
    """
    leaves = jax.tree.leaves(updates_for(subject)[0])
    size = float(np.mean(np.concatenate([np.abs(probes.float64(u)).ravel() for u in leaves])))
    rate = subject.learning_rate
    relative = f", {size / rate:.3g} times the learning rate {rate:g}" if rate else ""
    return trait(f"First step: {size:.3g} per parameter on average{relative}.", size=size)
