"""Judgments that several families share: of signatures, of sequences, of how leaves relate."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.outcome import Outcome, failed, passed
from lecture_opt.check.subject import Subject

ROUNDING = 1e-6  # of params of size 1 to 3, for rules that return new params minus old
STEPS = 3
WATCHED = 40  # steps before a rule counts as dead: some sum gradients over many steps


def compare_signature(updates: Any, params: Any) -> Outcome:
    """Pass where two trees agree in structure, shape and dtype, else say where they part."""
    got, wanted = probes.structure(updates), probes.structure(params)
    if got != wanted:
        return failed(
            f"The updates' tree is {got}, the parameters' is {wanted}.",
            got=str(got),
            wanted=str(wanted),
        )
    for leaf, param, update in probes.named(params, updates):
        got_type = f"{jnp.asarray(update).dtype}{list(jnp.shape(update))}"
        wanted_type = f"{param.dtype}{list(param.shape)}"
        if got_type != wanted_type:
            return failed(
                f"The update of leaf {leaf} is {got_type}, the parameter is {wanted_type}.",
                leaf=leaf,
                got=got_type,
                wanted=wanted_type,
            )
    return passed()


def signature(leaf: Any) -> str:
    """Shape, dtype and weak type of a leaf: what a compiled program depends on."""
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return f"a Python {type(leaf).__name__}"
    weak = " (weakly typed)" if getattr(leaf, "weak_type", False) else ""
    return f"{leaf.dtype}{list(leaf.shape)}{weak}"


def changed(before: Any, after: Any) -> tuple[str, str, str] | None:
    """The first leaf whose signature an update changes, or the two structures if those differ."""
    old, new = probes.structure(before), probes.structure(after)
    if old != new:
        return "structure", str(old), str(new)
    for name, first, second in probes.named(before, after):
        if signature(first) != signature(second):
            return name, signature(first), signature(second)
    return None


def equal(got: list[Any], wanted: list[Any], what: str, tolerance: float = 1e-4) -> Outcome:
    """Pass where two sequences of updates agree."""
    for step, (a, b) in enumerate(zip(got, wanted, strict=True)):
        gap = probes.worst_difference(a, b)
        if gap.error > tolerance and abs(gap.got - gap.wanted) > ROUNDING:
            return failed(f"{what} at step {step}: {gap}.", step=step, leaf=gap.leaf)
    return passed()


def leaves_independent(subject: Subject) -> bool:
    """Whether the gradients of one leaf leave alone the updates of the others and all scalars."""
    if subject.needs_loss:  # of which every leaf is a part
        return False
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    wanted, state = subject.updates_over(grads, params, follow=True)
    scalars = [leaf for leaf in jax.tree.leaves(state) if np.shape(leaf) == ()]
    for factor in (-30.0, 1e12):
        other = [g | {"kernel": factor * g["kernel"]} for g in grads]
        got, after = subject.updates_over(other, params, follow=True)
        if not probes.same_bits([s for s in jax.tree.leaves(after) if np.shape(s) == ()], scalars):
            return False
        for a, b in zip(got, wanted, strict=True):
            gap = probes.worst_difference(a | {"kernel": 0}, b | {"kernel": 0})
            if gap.error > 1e-5:
                return False
    return True


def splitting_changes(subject: Subject) -> tuple[int, float] | None:
    """The first step and relative error at which a leaf split in two gets another update."""
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)

    def split(tree: Any) -> Any:
        return {"top": tree["kernel"][:2], "rest": tree["kernel"][2:]}

    def only(tree: Any) -> Any:
        return {"kernel": tree["kernel"]}

    whole, _ = subject.updates_over([only(g) for g in grads], only(params))
    parts, _ = subject.updates_over([split(g) for g in grads], split(params))
    for step in range(STEPS):
        joined = np.concatenate([parts[step]["top"], parts[step]["rest"]])
        gap = probes.leaf_difference("kernel", joined, whole[step]["kernel"])
        if gap.error > 1e-4:
            return step, gap.error
    return None
