"""Any pytree of parameters: containers, empty and odd leaves, names, order, splitting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.interface import compare_signature
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, skipped, trait
from lecture_opt.check.probes import Tree
from lecture_opt.check.subject import Subject, add

STEPS = 3


class Layer(NamedTuple):
    """The canonical leaves as a NamedTuple."""

    bias: Any
    gain: Any
    kernel: Any


@jax.tree_util.register_dataclass
@dataclass
class Block:
    """The canonical leaves as a registered dataclass."""

    bias: Any
    gain: Any
    kernel: Any


CONTAINERS: dict[str, Callable[[Tree], Tree]] = {
    "a list": lambda t: [t["bias"], t["gain"], t["kernel"]],
    "a tuple": lambda t: (t["bias"], t["gain"], t["kernel"]),
    "a NamedTuple": lambda t: Layer(**t),
    "a dataclass": lambda t: Block(**t),
    "a nested tree": lambda t: {
        "a": ({"b": t["bias"]}, [t["gain"]]),
        "c": {"d": {"e": t["kernel"]}},
    },
}


def run_eagerly(
    subject: Subject, grads: list[Tree], params: Tree, *, follow: bool = False
) -> tuple[list[Tree], Tree]:
    """The updates for a sequence of gradients outside jit, where a new tree costs no compile."""
    state, seen = subject.init(params), []
    for gradient in grads:
        updates, state = subject.update(gradient, state, params)
        params = add(params, updates) if follow else params
        seen.append(updates)
    return seen, state


def runs_well(subject: Subject, kind: str, params: Tree, grads: list[Tree]) -> Outcome:
    """Pass where an odd tree runs and updates keep its shape and stay finite."""
    try:
        updates, _ = run_eagerly(subject, grads, params)
    except Exception as error:  # an odd tree must not raise
        return failed(f"With {kind}, update raised {in_words(error)}", raised=in_words(error))
    outcome = compare_signature(updates[-1], params)
    if outcome.status == "fail":
        return outcome._replace(message=f"With {kind}: {outcome.message}")
    bad = probes.not_finite(updates)
    if bad:
        return failed(f"With {kind}, the updates hold {bad[1]} at {bad[0]}.", leaf=bad[0])
    return passed()


def containers(subject: Subject) -> Outcome:
    """Lists, tuples, NamedTuples, dataclasses and nested trees give what a dict gives.

    Why: Flax, Equinox, Haiku and hand-written models each use another container.
    Usual cause: `params.items()`, a lookup by name, rebuilding every container as a dict or list.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    wanted, _ = run_eagerly(subject, grads, params)
    for kind, wrap in CONTAINERS.items():
        try:
            got, _ = run_eagerly(subject, [wrap(g) for g in grads], wrap(params))
        except Exception as error:  # what it raises is the verdict
            return failed(
                f"Parameters in {kind}: {in_words(error)}", container=kind, raised=in_words(error)
            )
        for step in range(STEPS):
            outcome = compare_signature(got[step], wrap(params))
            if outcome.status == "fail":
                return outcome._replace(message=f"Parameters in {kind}: {outcome.message}")
            gap = probes.worst_difference(got[step], wrap(wanted[step]))
            if gap is not None and gap.error > 1e-4:
                return failed(
                    f"Parameters in {kind} get another update than in a dict at step {step}: "
                    f"{gap}.",
                    container=kind,
                    step=step,
                    leaf=gap.leaf,
                )
    return passed()


def empty_tree(subject: Subject) -> Outcome:
    """A tree without leaves is legal and stays as it is.

    Why: modules without parameters, and everything masked away, are empty trees.
    Usual cause: `max()` or `jnp.concatenate` of no leaves, a division by their number.
    """
    try:
        updates, _ = subject.update({}, subject.init({}), {})
    except Exception as error:  # what it raises is the verdict
        return failed(f"With params = {{}}: {in_words(error)}", raised=in_words(error))
    return passed() if updates == {} else failed(f"With params = {{}}, updates are {updates!r:.80}")


def none_leaves(subject: Subject) -> Outcome:
    """`None` in the tree (a layer without bias) stays where it is.

    Why: `None` is how Equinox and optax mark what is not trained.
    Usual cause: `is_leaf=lambda x: x is None` without handling it, lists rebuilt without the gap.
    """
    params = {"a": probes.params_tree()["bias"], "b": None}
    grads = [{"a": probes.normal_tree(step)["bias"], "b": None} for step in range(STEPS)]
    return runs_well(subject, "a None leaf", params, grads)


def scalar_leaves(subject: Subject) -> Outcome:
    """Parameters without dimensions keep their shape.

    Why: a temperature or a log-variance is a scalar.
    Usual cause: `leaf.shape[0]`, `len(leaf)`, a result reshaped to (1,).
    """
    params = {"scale": jnp.asarray(0.5, jnp.float32), "w": probes.params_tree()["bias"]}
    grads = [
        {"scale": jnp.asarray(1.0 + step, jnp.float32), "w": probes.normal_tree(step)["bias"]}
        for step in range(STEPS)
    ]
    return runs_well(subject, "a scalar leaf", params, grads)


def bare_array(subject: Subject) -> Outcome:
    """One array, without any container, is a tree too.

    Why: small problems and tests optimise one array.
    Usual cause: iterating over params as if it were a dict or list.
    """
    params = probes.params_tree()["kernel"]
    grads = [probes.normal_tree(step)["kernel"] for step in range(STEPS)]
    return runs_well(subject, "a bare array", params, grads)


def zero_size_leaves(subject: Subject) -> Outcome:
    """A leaf of shape (0, 3) changes nothing and brings no NaN to the others.

    Why: an empty expert or vocabulary makes one.
    Usual cause: `max` or `mean` over no elements.
    """
    params = {"empty": jnp.zeros((0, 3), jnp.float32), "w": probes.params_tree()["bias"]}
    grads = [
        {"empty": jnp.zeros((0, 3), jnp.float32), "w": probes.normal_tree(step)["bias"]}
        for step in range(STEPS)
    ]
    return runs_well(subject, "a zero-size leaf", params, grads)


def names_and_order(subject: Subject) -> Outcome:
    """Renaming leaves, so that they are also visited in another order, changes nothing.

    Why: a model's result must not depend on the alphabet.
    Usual cause: state kept from one leaf to the next, a name tested for ("bias"), leaves that
    share a buffer by shape.
    """
    if subject.random:
        return skipped("the state holds a PRNG key: noise is drawn leaf by leaf in order")
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    names = {"bias": "z", "gain": "y", "kernel": "x"}

    def rename(tree: Any) -> Any:
        return {names[key]: leaf for key, leaf in tree.items()}

    wanted, _ = run_eagerly(subject, grads, params)
    got, _ = run_eagerly(subject, [rename(g) for g in grads], rename(params))
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

    Why: it tells whether the rule may be applied to any slice of the parameters.
    Usual cause: norms, means and factored moments are taken per leaf.
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
        if gap.error > 1e-4:
            return trait(
                f"Not elementwise: splitting a leaf in two changes its update at step {step} by "
                f"{gap.error:.2g} of the largest element.",
                error=gap.error,
            )
    return passed("Splitting a leaf changes nothing: the rule is elementwise.")


PROPERTIES = (
    containers,
    empty_tree,
    none_leaves,
    scalar_leaves,
    bare_array,
    zero_size_leaves,
    names_and_order,
    equal_leaves,
    number_of_leaves,
    splitting,
)
