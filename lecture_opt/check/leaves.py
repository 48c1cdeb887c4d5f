"""How leaves relate: names, order, twins, one leaf more, splitting one in two."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.outcome import Outcome, failed, passed, skipped, trait
from lecture_opt.check.subject import Subject
from lecture_opt.check.trees import STEPS, run_eagerly

MANY = 12  # more than ten, so that the order of numbers is not the order of their text


def names_and_order(subject: Subject) -> Outcome:
    """Renaming leaves, so that they are also visited in another order, changes nothing.

    The params come in an order of their own, the gradients by the alphabet, as from `jax.grad`.

    Why: a model's result must not depend on the alphabet.
    Usual cause: state kept from one leaf to the next, a name tested for ("bias"), leaves that
    share a buffer by shape, `zip(state, grads.values())`.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: noise is drawn leaf by leaf in order")
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    names = {"bias": "z", "gain": "y", "kernel": "x"}

    def rename(tree: Any) -> Any:
        return {names[key]: leaf for key, leaf in tree.items()}

    def by_alphabet(tree: Any) -> Any:
        return dict(sorted(rename(tree).items()))

    wanted, _ = run_eagerly(subject, grads, params)
    got, _ = run_eagerly(subject, [by_alphabet(g) for g in grads], rename(params))
    for step in range(STEPS):
        gap = probes.worst_difference(
            {key: got[step][name] for key, name in names.items()}, wanted[step]
        )
        if gap is not None and gap.error > 1e-4:
            return failed(
                f"Leaves renamed {names}: at step {step} the update differs: {gap}. The rule "
                "depends on the names of the leaves or on their order.",
                step=step,
                leaf=gap.leaf,
                element=gap.element,
            )
    return passed()


def order_of_leaves(subject: Subject) -> Outcome:
    """Twelve leaves of one shape, given in another order, get the same updates in that order.

    Why: each leaf must meet its own moments again, in a model of any depth.
    Usual cause: state paired with the gradients by size, by norm, in the order of a set, or by the
    text of the path ("[10]" comes before "[2]").
    """
    if subject.random:
        return skipped("the state holds a PRNG key: noise is drawn leaf by leaf in order")
    rng = np.random.default_rng(12)
    trees = [
        [jnp.asarray(row, jnp.float32) for row in rng.normal(size=(MANY, 3))]
        for _ in range(STEPS + 1)
    ]
    wanted, _ = run_eagerly(subject, trees[1:], trees[0])
    order = [int(index) for index in rng.permutation(MANY)]
    turned = [[tree[index] for index in order] for tree in trees]
    got, _ = run_eagerly(subject, turned[1:], turned[0])
    for step in range(STEPS):
        back = [got[step][order.index(index)] for index in range(MANY)]
        gap = probes.worst_difference(back, wanted[step])
        if gap is not None and gap.error > 1e-4:
            return failed(
                f"In a list of {MANY} leaves of one shape, the order changed from 0, 1, 2, ... to "
                f"{order}, step {step} differs: {gap}. A leaf's update depends on its place.",
                step=step,
                leaf=gap.leaf,
                element=gap.element,
                order=order,
            )
    return passed()


def equal_leaves(subject: Subject) -> Outcome:
    """Two leaves with the same values and gradients get the same updates.

    Why: the rule is a function of the numbers, not of where they stand.
    Usual cause: an accumulator shared by leaves of one shape, a counter advanced per leaf.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: each leaf draws its own noise")

    def twins(leaf: Any) -> Any:
        return {"a": leaf, "b": leaf, "c": leaf}

    params = twins(probes.params_tree()["bias"])
    grads = [twins(probes.normal_tree(step)["bias"]) for step in range(STEPS)]
    updates, _ = run_eagerly(subject, grads, params)
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


def number_of_leaves(subject: Subject) -> Outcome:
    """A leaf whose values do not matter to the others does not matter by being there either.

    Why: the step would depend on how a model happens to be cut into leaves.
    Usual cause: a division by `len(jax.tree.leaves(grads))`.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: another leaf shifts the noise")
    if not leaves_independent(subject):
        return skipped("the rule looks at all leaves together, so another leaf may matter")
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)

    def more(tree: Any) -> Any:
        return tree | {"z_more": tree["gain"]}

    wanted, _ = run_eagerly(subject, grads, params)
    got, _ = run_eagerly(subject, [more(g) for g in grads], more(params))
    for step in range(STEPS):
        got[step].pop("z_more")
        gap = probes.worst_difference(got[step], wanted[step])
        if gap is not None and gap.error > 1e-4:
            return failed(
                f"One more leaf changes the updates of the others at step {step} ({gap}), though "
                "the values in that leaf do not: the rule counts leaves.",
                step=step,
                leaf=gap.leaf,
            )
    return passed()


def leaves_independent(subject: Subject) -> bool:
    """Whether the gradients of one leaf leave alone the updates of the others and all scalars."""
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    wanted, state = run_eagerly(subject, grads, params, follow=True)
    scalars = [leaf for leaf in jax.tree.leaves(state) if np.shape(leaf) == ()]
    for factor in (-30.0, 1e12):
        other = [g | {"kernel": factor * g["kernel"]} for g in grads]
        got, after = run_eagerly(subject, other, params, follow=True)
        if not probes.same_bits([s for s in jax.tree.leaves(after) if np.shape(s) == ()], scalars):
            return False
        for a, b in zip(got, wanted, strict=True):
            gap = probes.worst_difference(a | {"kernel": 0}, b | {"kernel": 0})
            if gap is not None and gap.error > 1e-5:
                return False
    return True


def splitting(subject: Subject) -> Outcome:
    """Splitting a leaf in two changes nothing for elementwise rules; a trait for the others.

    A failure where the values of the other half do not matter, only that it is there.

    Why: it tells whether the rule may be applied to any slice of the parameters.
    Usual cause: norms, means and factored moments are taken per leaf; a division by `g.size`.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: noise is drawn per leaf")
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)

    def split(tree: Any) -> Any:
        return {"top": tree["kernel"][:2], "rest": tree["kernel"][2:]}

    def only(tree: Any) -> Any:
        return {"kernel": tree["kernel"]}

    whole, _ = run_eagerly(subject, [only(g) for g in grads], only(params))
    parts, _ = run_eagerly(subject, [split(g) for g in grads], split(params))
    for step in range(STEPS):
        joined = np.concatenate([parts[step]["top"], parts[step]["rest"]])
        gap = probes.leaf_difference("kernel", joined, whole[step]["kernel"])
        if gap.error > 1e-4 and halves_independent(subject, params["kernel"], grads):
            return failed(
                f"Splitting a leaf in two changes its update at step {step} by {gap.error:.2g} of "
                "the largest element, though the values in one half never touch the other: the "
                "rule looks at the size of the leaf.",
                step=step,
                error=gap.error,
            )
        if gap.error > 1e-4:
            return trait(
                f"Not elementwise: splitting a leaf in two changes its update at step {step} by "
                f"{gap.error:.2g} of the largest element.",
                error=gap.error,
            )
    return passed("Splitting a leaf changes nothing: the rule is elementwise.")


def halves_independent(subject: Subject, kernel: Any, grads: list[Any]) -> bool:
    """Whether gradients and values in the last rows of a leaf leave its first rows alone."""
    runs = []
    for factor in (1.0, -30.0, 1e12):
        weight = jnp.asarray([1.0, 1.0, factor, factor], jnp.float32)[:, None]
        turned = [{"kernel": weight * g["kernel"]} for g in grads]
        updates, _ = run_eagerly(subject, turned, {"kernel": weight * kernel})
        runs.append([np.asarray(update["kernel"])[:2] for update in updates])
    gaps = [probes.worst_difference(run, runs[0]) for run in runs[1:]]
    return all(gap is not None and gap.error <= 1e-5 for gap in gaps)


PROPERTIES = (names_and_order, order_of_leaves, equal_leaves, number_of_leaves, splitting)
