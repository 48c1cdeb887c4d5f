"""Composition with optax's wrappers and Flax's TrainState."""

from typing import Any

import jax
import numpy as np
import optax

from lecture_opt.check import probes
from lecture_opt.check.judgments import equal
from lecture_opt.check.needs import DETERMINISTIC, installed, needs
from lecture_opt.check.outcome import Outcome, failed, passed
from lecture_opt.check.subject import Subject, add

STEPS = 3


def wrapped(subject: Subject) -> optax.GradientTransformation:
    """The optimizer as optax's wrappers take it."""
    return optax.GradientTransformation(
        subject.init, lambda grads, state, params=None: subject.update(grads, state, params)
    )


def run(optimizer: Any, grads: list[Any], params: Any) -> list[Any]:
    """The updates of an optimizer for a sequence of gradients."""
    return Subject("composed", optimizer).updates_over(grads, params)[0]


def part(tree: Any) -> Any:
    """The leaves that a mask or a label gives to the optimizer."""
    return {name: tree[name] for name in ("gain", "kernel")}


@needs(DETERMINISTIC)
def chain(subject: Subject) -> Outcome:
    """In `optax.chain`, between loose clipping and weight decay, it does what it does alone.

    Why: chains are how optax users build everything.
    Usual cause: state or params taken by position, an `update` without a params argument.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    together = optax.chain(
        optax.clip_by_global_norm(1e9), wrapped(subject), optax.add_decayed_weights(1e-2)
    )
    got = run(together, grads, params)

    def decayed(u: Any) -> Any:
        return jax.tree.map(lambda x, p: x + 1e-2 * p, u, params)

    wanted = [decayed(update) for update in run(subject.optimizer, grads, params)]
    return equal(got, wanted, "In a chain the update differs")


@needs(DETERMINISTIC)
def masked(subject: Subject) -> Outcome:
    """Under `optax.masked`, the masked-in leaves get what they get alone; the rest passes through.

    Why: biases and norms are masked out of many rules.
    Usual cause: leaves listed at construction, `len(leaves)` kept in the state, params by name.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    mask = {"bias": False, "gain": True, "kernel": True}
    got = run(optax.masked(wrapped(subject), mask), grads, params)
    alone = run(subject.optimizer, [part(g) for g in grads], part(params))
    wanted = [{"bias": g["bias"]} | update for g, update in zip(grads, alone, strict=True)]
    return equal(got, wanted, "Under optax.masked the update differs")


@needs(DETERMINISTIC)
def multi_transform(subject: Subject) -> Outcome:
    """Under `optax.multi_transform`, its leaves get what they get alone, the others their own rule.

    Why: fine-tuning gives each part of a model its own optimizer.
    Usual cause: as for masked.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    labels = {"bias": "zero", "gain": "rule", "kernel": "rule"}
    both = {"zero": optax.set_to_zero(), "rule": wrapped(subject)}
    got = run(optax.multi_transform(both, labels), grads, params)
    alone = run(subject.optimizer, [part(g) for g in grads], part(params))
    zero = np.zeros_like(params["bias"])
    wanted = [{"bias": zero} | update for update in alone]
    return equal(got, wanted, "Under optax.multi_transform the update differs")


@needs(DETERMINISTIC)
def multi_steps(subject: Subject) -> Outcome:
    """Under `optax.MultiSteps(k=2)`, two half batches give what their mean gives.

    Why: gradient accumulation is how large batches fit.
    Usual cause: an update that does not trace in `lax.cond`, a state that changes type.
    """
    params, grads = probes.params_tree(), probes.grads_trees(4)
    got = run(optax.MultiSteps(wrapped(subject), 2), grads, params)
    means = [
        jax.tree.map(lambda a, b: (a + b) / 2, grads[step], grads[step + 1]) for step in (0, 2)
    ]
    wanted, _ = subject.updates_over(means, params)
    return equal([got[1], got[3]], wanted, "Under optax.MultiSteps the update differs", 1e-3)


@needs(DETERMINISTIC)
def apply_if_finite(subject: Subject) -> Outcome:
    """Under `optax.apply_if_finite`, a NaN gradient is skipped and training goes on as before.

    Why: it is the standard guard against bad batches.
    Usual cause: an update that does not trace in `lax.cond`, a state that changes type.
    """
    params, grads = probes.params_tree(), probes.grads_trees(3)
    nan = probes.full_tree(float("nan"), params)
    guarded = optax.apply_if_finite(wrapped(subject), 5)
    got = run(guarded, [grads[0], nan, *grads[1:]], params)
    wanted, _ = subject.updates_over(grads, params)
    return equal([got[0], *got[2:]], wanted, "Under optax.apply_if_finite the update differs", 1e-3)


@needs(DETERMINISTIC, installed("flax", "flax"))
def train_state(subject: Subject) -> Outcome:
    """Inside Flax's `TrainState`, `apply_gradients` makes the same steps.

    Why: most Flax code trains through it.
    Usual cause: state that is not a pytree of arrays, updates of another structure.
    """
    from flax.training.train_state import TrainState

    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    holder = TrainState.create(apply_fn=lambda *_: None, params=params, tx=wrapped(subject))
    state = subject.init(params)
    for step, gradient in enumerate(grads):
        holder = holder.apply_gradients(grads=gradient)
        updates, state = subject.update(gradient, state, params)
        params = add(params, updates)
        gap = probes.worst_difference(holder.params, params)
        if gap.error > 1e-5:
            return failed(f"In a TrainState the parameters differ at step {step}: {gap}.")
    return passed()
