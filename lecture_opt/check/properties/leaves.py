"""How leaves relate: names, order, twins, one leaf more, splitting one in two."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import STEPS, leaves_independent, splitting_changes
from lecture_opt.check.needs import DETERMINISTIC, needs
from lecture_opt.check.outcome import Outcome, failed, passed, skipped, trait
from lecture_opt.check.subject import Subject

MANY = 12  # more than ten, so that the order of numbers is not the order of their text


@needs(DETERMINISTIC)
def names_and_order(subject: Subject) -> Outcome:
    """Renaming leaves, so that they are also visited in another order, changes nothing.

    The params come in an order of their own, the gradients by the alphabet, as from `jax.grad`.

    Why: a model's result must not depend on the alphabet.
    Usual cause: state kept from one leaf to the next, a name tested for ("bias"), leaves that
    share a buffer by shape, `zip(state, grads.values())`.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    names = {"bias": "z", "gain": "y", "kernel": "x"}

    def rename(tree: Any) -> Any:
        return {names[key]: leaf for key, leaf in tree.items()}

    def by_alphabet(tree: Any) -> Any:
        return dict(sorted(rename(tree).items()))

    wanted, _ = subject.updates_over(grads, params)
    got, _ = subject.updates_over([by_alphabet(g) for g in grads], rename(params))
    back = [{key: updates[name] for key, name in names.items()} for updates in got]
    found = probes.first_difference(back, wanted, 1e-4)
    if found is None:
        return passed()
    step, gap = found
    frozen = {gap.got, gap.wanted} & {0.0} and not probes.largest([u[gap.leaf[2:-2]] for u in back])
    if frozen or not probes.largest([u[gap.leaf[2:-2]] for u in wanted]):
        return trait(f"Leaf {gap.leaf} moves under one name and never under another: frozen.")
    return failed(
        f"Leaves renamed {names}: at step {step} the update differs: {gap}. The rule depends on "
        "the names of the leaves or on their order.",
        step=step,
        **gap._asdict(),
    )


@needs(DETERMINISTIC)
def order_of_leaves(subject: Subject) -> Outcome:
    """Twelve leaves of one shape, given in another order, get the same updates in that order.

    Why: each leaf must meet its own moments again, in a model of any depth.
    Usual cause: state paired with the gradients by size, by norm, in the order of a set, or by the
    text of the path ("[10]" comes before "[2]").
    """
    rng = np.random.default_rng(12)
    trees = [
        [jnp.asarray(row, jnp.float32) for row in rng.normal(size=(MANY, 3))]
        for _ in range(STEPS + 1)
    ]
    wanted, _ = subject.updates_over(trees[1:], trees[0])
    order = [int(index) for index in rng.permutation(MANY)]
    turned = [[tree[index] for index in order] for tree in trees]
    got, _ = subject.updates_over(turned[1:], turned[0])
    back = [[updates[order.index(index)] for index in range(MANY)] for updates in got]
    found = probes.first_difference(back, wanted, 1e-4)
    if found is None:
        return passed()
    step, gap = found
    return failed(
        f"In a list of {MANY} leaves of one shape, the order changed from 0, 1, 2, ... to {order}, "
        f"step {step} differs: {gap}. A leaf's update depends on its place.",
        step=step,
        **gap._asdict(),
        order=order,
    )


@needs(DETERMINISTIC)
def equal_leaves(subject: Subject) -> Outcome:
    """Two leaves with the same values and gradients get the same updates.

    Why: the rule is a function of the numbers, not of where they stand.
    Usual cause: an accumulator shared by leaves of one shape, a counter advanced per leaf.
    """

    def twins(leaf: Any) -> Any:
        return {"a": leaf, "b": leaf, "c": leaf}

    params = twins(probes.params_tree()["bias"])
    grads = [twins(probes.normal_tree(step)["bias"]) for step in range(STEPS)]
    updates, _ = subject.updates_over(grads, params)
    for step, update in enumerate(updates):
        for name in ("b", "c"):
            gap = probes.leaf_difference(name, update[name], update["a"])
            if gap.error > 1e-5:
                return failed(
                    f"Leaves a and {name} have equal values and gradients but at step {step} get "
                    f"different updates: {gap} as in a.",
                    step=step,
                    leaf=name,
                    element=gap.element,
                )
    return passed()


@needs(DETERMINISTIC)
def number_of_leaves(subject: Subject) -> Outcome:
    """A leaf whose values do not matter to the others does not matter by being there either.

    Why: the step would depend on how a model happens to be cut into leaves.
    Usual cause: a division by `len(jax.tree.leaves(grads))`.
    """
    if not leaves_independent(subject):
        return skipped("the rule looks at all leaves together, so another leaf may matter")
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)

    def more(tree: Any) -> Any:
        return tree | {"z_more": tree["gain"]}

    wanted, _ = subject.updates_over(grads, params)
    got, _ = subject.updates_over([more(g) for g in grads], more(params))
    others = [{name: update[name] for name in params} for update in got]
    found = probes.first_difference(others, wanted, 1e-4)
    if found is None:
        return passed()
    step, gap = found
    return failed(
        f"One more leaf changes the updates of the others at step {step} ({gap}), though the "
        "values in that leaf do not: the rule counts leaves.",
        step=step,
        **gap._asdict(),
    )


@needs(DETERMINISTIC)
def splitting(subject: Subject) -> Outcome:
    """Splitting a leaf in two changes nothing for elementwise rules; a trait for the others.

    A failure where the values of the other half do not matter, only that it is there.

    Why: it tells whether the rule may be applied to any slice of the parameters.
    Usual cause: norms, means and factored moments are taken per leaf; a division by `g.size`.
    """
    found = splitting_changes(subject)
    if found is None:
        return passed("Splitting a leaf changes nothing: the rule is elementwise.")
    step, error = found
    says = f"plitting a leaf in two changes its update at step {step} by {error:.2g} of the largest"
    if halves_independent(subject):
        return failed(
            f"S{says} element, though the values in one half never touch the other: the rule "
            "looks at the size of the leaf.",
            step=step,
            error=error,
        )
    return trait(f"Not elementwise: s{says} element.", error=error)


def halves_independent(subject: Subject) -> bool:
    """Whether gradients and values in the last rows of a leaf leave its first rows alone."""
    kernel, grads, runs = probes.params_tree()["kernel"], probes.grads_trees(STEPS), []
    other = probes.grads_trees(STEPS, seed=9)
    for factor, source in ((1.0, grads), (-30.0, grads), (1e12, grads), (1.0, other)):
        weight = np.asarray([[1.0], [1.0], [factor], [factor]], np.float32)
        turned = [
            {"kernel": jnp.asarray(weight * np.concatenate([g["kernel"][:2], o["kernel"][2:]]))}
            for g, o in zip(grads, source, strict=True)
        ]
        updates, _ = subject.updates_over(turned, {"kernel": jnp.asarray(weight * kernel)})
        runs.append([np.asarray(update["kernel"])[:2] for update in updates])
    return all(probes.worst_difference(run, runs[0]).error <= 1e-5 for run in runs[1:])


RICH = {
    "block_0": {"conv": {"kernel": (3, 3, 2, 2)}, "dense": {"bias": (3,), "kernel": (5, 3)}},
    "block_1": {"conv": {"kernel": (3, 3, 2, 2)}, "dense": {"bias": (3,), "kernel": (5, 3)}},
    "head": [{"deep": {"deeper": ((7,), {"kernel": (1, 17)})}}, (11, 2)],
}


@needs(DETERMINISTIC)
def like_one_vector(subject: Subject) -> Outcome:
    """An elementwise rule treats every leaf of a deep model as it treats the same numbers in a row.

    The model has two alike blocks, kernels of four axes, odd sizes and deep nests. Gradients are
    at parameters of zero, so that a decay that leaves out biases does not matter; a leaf with a
    constant factor to the vector (another rate, frozen) is a trait.

    Why: what passes on a small tree is used on a model.
    Usual cause: state looked up by the last name of a path, leaves padded or cut to blocks, a case
    for leaves of four axes that forgets something.
    """
    if splitting_changes(subject) is not None:
        return skipped("the rule is not elementwise (see leaves.splitting)")
    leaves, structure = jax.tree.flatten(RICH, is_leaf=is_shape)
    sizes = np.cumsum([math.prod(shape) for shape in leaves])
    rng = np.random.default_rng(20)
    flat = [rng.normal(size=sizes[-1]).astype(np.float32) for _ in range(2 * STEPS)]

    def tree(vector: Any) -> Any:
        parts = np.split(vector, sizes[:-1])
        shaped = [jnp.asarray(p.reshape(s)) for p, s in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    zero = np.zeros_like(flat[0])
    wanted, _ = subject.updates_over([{"w": jnp.asarray(g)} for g in flat], {"w": zero})
    got, _ = subject.updates_over([tree(g) for g in flat], tree(zero))
    as_vectors = [tree(np.asarray(update["w"])) for update in wanted]
    for index, (name, _) in enumerate(probes.named(got[0])):
        mine, other = (
            np.stack([probes.float64(jax.tree.leaves(u)[index]).ravel() for u in run])
            for run in (got, as_vectors)
        )
        factor = float(np.sum(mine * other) / max(np.sum(other**2), 1e-300))
        gap = np.abs(mine - factor * other).max()
        if gap > 1e-4 * np.abs(other).max():
            step = int(np.argmax(np.abs(mine - other).max(axis=1) > 1e-4 * np.abs(other).max()))
            return failed(
                f"In a deep model leaf {name} of shape {leaves[index]} gets other updates from "
                f"step {step} on than the same numbers in a vector.",
                step=step,
                leaf=name,
            )
        if abs(factor - 1) > 1e-3:
            return trait(f"Leaf {name} of a deep model gets {factor:.4g} times the vector's step.")
    return passed()


def is_shape(value: Any) -> bool:
    """Whether a node of `RICH` is the shape of a leaf."""
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)
