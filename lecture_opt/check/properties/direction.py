"""Direction: steps go down, rest where they should, and prefer no side."""

import itertools
from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED
from lecture_opt.check.needs import DETERMINISTIC, needs
from lecture_opt.check.outcome import Outcome, failed, passed, trait
from lecture_opt.check.subject import Subject

QUIET = 200  # at 120 the longest step of Adam passes 1


def goes_down(subject: Subject) -> Outcome:
    """Under a constant gradient the parameters move against it, in every leaf.

    Why: the sign is the first thing to get wrong.
    Usual cause: a missing minus: optax adds updates, so they must already be negative.
    """
    params = jax.tree.map(lambda p: 0.1 * p, probes.params_tree())
    grads = probes.normal_tree(0)
    updates, _ = subject.updates_over([grads] * WATCHED, params, follow=True)
    resting = [name for name in params if not probes.largest([u[name] for u in updates])]
    for name, gradient in grads.items():
        if name in resting:
            continue
        total = sum(probes.float64(update[name]) for update in updates)
        along = probes.product(total, gradient)
        if not along < 0:
            first = probes.float64(updates[0][name]).ravel()[0]
            return failed(
                f"{WATCHED} updates under the constant gradient of leaf ['{name}'] sum to a move "
                f"whose product with the gradient is {along:.4g}; a negative number is wanted. "
                f"Its first element: gradient {probes.float64(gradient).ravel()[0]:.4g}, first "
                f"update {first:.4g}.",
                leaf=name,
                product=along,
            )
    return still(resting, list(params)) if resting else passed()


def still(resting: list[str], names: list[str]) -> Outcome:
    """What it means that some leaves never move: a trait where others do, else a failure."""
    says = f"{' and '.join(resting)} got updates of exactly zero in all of {WATCHED} steps"
    if len(resting) == len(names):
        return failed(f"{says}: nothing moves.")
    return trait(f"{says}, the other leaves move: frozen by name or by shape.", leaves=resting)


def decay_shrinks(subject: Subject) -> Outcome:
    """Where parameters move under zero gradients, they shrink, each element of them.

    Why: weight decay with the wrong sign makes the weights grow without end.
    Usual cause: the decay added after the minus sign was applied; the sum or norm of a leaf where
    the leaf itself was meant.
    """
    params = probes.full_tree(10.0, probes.params_tree())
    zeros = probes.full_tree(0.0, params)
    updates, _ = subject.updates_over([zeros] * 3, params)
    total = {name: sum(probes.float64(u[name]) for u in updates) for name in params}
    largest = probes.largest(total)
    means = [float(np.mean(leaf)) for leaf in total.values()]
    if subject.random or largest == 0 or not np.isfinite(largest):
        return passed()
    if min(means) > 1e-9 and min(means) > 0.5 * largest:
        return failed(
            f"With zero gradients and all parameters 10, three updates add {largest:.4g}: the "
            "decay pushes the weights away from zero.",
            updates=largest,
        )
    return shrinks_everywhere(subject)


def shrinks_everywhere(subject: Subject) -> Outcome:
    """Pass where zero gradients move no element of ordinary parameters away from zero.

    What moves parameters of zero as well is not a decay, and is left out.
    """
    params = probes.params_tree()
    zeros = probes.full_tree(0.0, params)
    moved, drift = (subject.updates_over([zeros] * 3, start)[0] for start in (params, zeros))
    for name, leaf in params.items():
        total = sum(
            probes.float64(one[name]) - probes.float64(other[name])
            for one, other in zip(moved, drift, strict=True)
        )
        away = total * np.sign(probes.float64(leaf))
        worst = np.unravel_index(int(np.argmax(away)), away.shape)
        if away[worst] > 0.1 * np.max(np.abs(total)) and away[worst] > 1e-9:
            return failed(
                f"With zero gradients, three updates move the parameter {leaf[worst]:.4g} of leaf "
                f"['{name}'] by {total[worst]:.4g}, away from zero: the decay of an element looks "
                "at other elements.",
                leaf=name,
                element=tuple(int(index) for index in worst),
                update=float(total[worst]),
            )
    return passed()


@needs(DETERMINISTIC)
def rests_without_gradient(subject: Subject) -> Outcome:
    """From a fresh state, zero gradients at parameters of zero move nothing.

    Why: a drift without a reason ends wherever it likes.
    Usual cause: a constant or noise added to the gradient or to the update.
    """
    zeros = probes.full_tree(0.0, probes.params_tree())
    updates, _ = subject.updates_over([zeros] * 3, zeros)
    for step, update in enumerate(updates):
        gap = probes.worst_difference(update, zeros)
        if np.isfinite(gap.got) and gap.got != 0:
            return failed(
                f"With zero gradients at parameters of zero, update {step} of leaf {gap.leaf} is "
                f"{gap.got:.4g}.",
                step=step,
                **gap._asdict(),
            )
    return passed()


@needs(DETERMINISTIC)
def mirrored(subject: Subject) -> Outcome:
    """Gradients and parameters of opposite sign get updates of opposite sign, at every scale.

    Also for a spike after many quiet steps, where steps are longest.

    Why: nothing tells plus from minus in a weight; a rule that does trains a mirrored model worse.
    Usual cause: a clip from one side (`jnp.minimum(g, 1)`), `w**2` or `abs(w)` in the decay, `//`.
    """
    params = probes.params_tree()
    mirrored_params = jax.tree.map(lambda p: -p, params)
    quiet = [*probes.grads_trees(QUIET, scale=1e-3), *probes.grads_trees(3)]
    runs = {f"of size {scale:g}": probes.grads_trees(3, scale=scale) for scale in (1.0, 1e-3, 1e3)}
    for what, grads in (runs | {f"of size 1 after {QUIET} of size 0.001": quiet}).items():
        wanted, _ = subject.updates_over(grads, params)
        minus = jax.tree.map(lambda g: -g, grads)
        got, _ = subject.updates_over(minus, mirrored_params)
        for step in range(len(grads) - 3, len(grads)):
            gap = probes.worst_difference(jax.tree.map(lambda u: -u, got[step]), wanted[step])
            if gap.error > 1e-3:
                return failed(
                    f"Gradients {what} at ordinary params: the update of step {step} at "
                    f"{gap.leaf}{list(gap.element)} is {gap.wanted:.6g}; with the signs of all "
                    f"gradients and params changed it is {-gap.got:.6g}, not {-gap.wanted:.6g}.",
                    step=step,
                    **gap._asdict(),
                )
    return passed()


@needs(DETERMINISTIC)
def echo_does_not_swing(subject: Subject) -> Outcome:
    """After one gradient, then zeros, the steps do not swing from side to side.

    Why: momentum is to carry on; one that turns round at every step brakes instead.
    Usual cause: the sign of the momentum (`g - momentum * v`).
    """
    zeros = probes.full_tree(0.0, probes.params_tree())
    first = probes.normal_tree(0)
    updates, _ = subject.updates_over([first] + [zeros] * 4, zeros)
    echoes = [probes.product(update, first) for update in updates]
    turns = all(a * b < 0 for a, b in itertools.pairwise(echoes))
    if turns and abs(echoes[-1]) > 0.1 * abs(echoes[0]):
        sizes = ", ".join(f"{echo / abs(echoes[0]):.2g}" for echo in echoes)
        return failed(
            f"One gradient, then zeros: along that gradient the steps are {sizes} of the first.",
            echoes=echoes,
        )
    return passed()


def small_gradients_move(subject: Subject) -> Outcome:
    """Gradients of 1e-4 move most elements of every leaf within 40 steps.

    Why: late in training all gradients are small; a rule that ignores them stops early.
    Usual cause: a threshold (`where(abs(g) > 1e-3, ...)`), rounding, an integer division, `//`.
    """
    params = probes.params_tree()
    return moves_every_leaf(
        subject, probes.grads_trees(WATCHED, scale=1e-4), params, "gradients of size 1e-4"
    )


def small_gradients_no_giants(subject: Subject) -> Outcome:
    """Gradients of 1e-4 give no step a hundred times as long as gradients of 1 do.

    Why: late in training all gradients are small, and a giant step undoes what was learned.
    Usual cause: squares kept in float16 become 0 and leave the epsilon alone to divide; a root
    left out, so that the step grows as the gradient shrinks.
    """
    params, longest = probes.params_tree(), []
    for scale in (1.0, 1e-4):
        updates, _ = subject.updates_over(probes.grads_trees(12, scale=scale), params)
        longest.append(probes.largest(updates))
    ordinary, small = longest
    if small > 100 * ordinary > 0:
        return failed(
            f"Gradients of size 1e-4 give updates up to {small:.4g}, of size 1 up to "
            f"{ordinary:.4g}: smaller gradients give longer steps.",
            small=small,
            ordinary=ordinary,
        )
    return passed()


def leaves_zero(subject: Subject) -> Outcome:
    """Parameters of zero with ordinary gradients move within 40 steps.

    Why: biases, and the last layers of many models, start from zero.
    Usual cause: a step multiplied by the norm of the parameters (a trust ratio without a guard).
    """
    params = probes.full_tree(0.0, probes.params_tree())
    return moves_every_leaf(
        subject, probes.grads_trees(WATCHED), params, "params of zero and ordinary gradients"
    )


def moves_every_leaf(subject: Subject, grads: Any, params: Any, what: str) -> Outcome:
    """Pass where some update is not zero, in at least half the elements of each leaf that moves."""
    updates, _ = subject.updates_over(grads, params)
    usual, _ = subject.updates_over(probes.grads_trees(WATCHED), probes.params_tree())
    for name in params:
        seen = np.stack([probes.float64(update[name]) for update in updates])
        share = float(np.mean(np.any(seen != 0, axis=0)))
        if share < 0.5 and probes.largest([update[name] for update in usual]):
            return failed(
                f"With {what}, {1 - share:.0%} of the elements of leaf ['{name}'] get updates of "
                f"exactly zero in all of {len(updates)} steps.",
                leaf=name,
                share_that_moves=share,
            )
    return passed()
