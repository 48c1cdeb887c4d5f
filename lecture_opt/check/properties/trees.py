"""Any pytree of parameters: containers, empty and odd leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED, compare_signature
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, raised
from lecture_opt.check.probes import Tree
from lecture_opt.check.subject import Subject

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


def runs_well(subject: Subject, kind: str, params: Tree, grads: list[Tree]) -> Outcome:
    """Pass where an odd tree runs and updates keep its shape and stay finite."""
    try:
        updates, _ = subject.updates_over(grads, params)
    except Exception as error:  # an odd tree must not raise
        return raised(f"With {kind}, update raised", error)
    outcome = compare_signature(updates[-1], params)
    if outcome.status == "fail":
        return outcome._replace(message=f"With {kind}: {outcome.message}")
    bad = probes.not_finite(updates)
    if bad:
        return failed(f"With {kind}, the updates hold {bad.value} at {bad.leaf}.", leaf=bad.leaf)
    return passed()


def astray(subject: Subject, gradient: dict[str, Any]) -> dict[str, Outcome]:
    """A failure for each leaf that does not go down from zero under a constant gradient."""
    params = probes.full_tree(0.0, gradient)
    updates, _ = subject.updates_over([gradient] * WATCHED, params)
    found = {}
    for name, leaf in gradient.items():
        total = sum(probes.float64(update[name]) for update in updates)
        along = probes.product(total, leaf)
        if not along < 0:
            found[name] = failed(
                f"Under a constant gradient, {WATCHED} updates of leaf {name} of shape "
                f"{leaf.shape} sum to a move whose product with it is {along:.4g}; a negative "
                "number is wanted.",
                leaf=name,
            )
    return found


def containers(subject: Subject) -> Outcome:
    """Lists, tuples, NamedTuples, dataclasses and nested trees give what a dict gives.

    Why: Flax, Equinox, Haiku and hand-written models each use another container.
    Usual cause: `params.items()`, a lookup by name, rebuilding every container as a dict or list.
    """
    params, grads = probes.params_tree(), probes.grads_trees(STEPS)
    wanted, _ = subject.updates_over(grads, params)
    for kind, wrap in CONTAINERS.items():
        try:
            got, _ = subject.updates_over([wrap(g) for g in grads], wrap(params))
        except Exception as error:  # what it raises is the verdict
            return failed(
                f"Parameters in {kind}: {in_words(error)}", container=kind, raised=in_words(error)
            )
        for updates in got:
            outcome = compare_signature(updates, wrap(params))
            if outcome.status == "fail":
                return outcome._replace(message=f"Parameters in {kind}: {outcome.message}")
        found = probes.first_difference(got, [wrap(updates) for updates in wanted], 1e-4)
        if found:
            step, gap = found
            return failed(
                f"Parameters in {kind} get another update than in a dict at step {step}: {gap}.",
                container=kind,
                step=step,
                **gap._asdict(),
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
        return raised("With params = {}:", error)
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
    """Parameters without dimensions keep their shape, and go down where vectors do.

    Why: a temperature or a log-variance is a scalar.
    Usual cause: `leaf.shape[0]`, `len(leaf)`, a result reshaped to (1,).
    """
    params = {"scale": jnp.asarray(0.5, jnp.float32), "w": probes.params_tree()["bias"]}
    grads = [
        {"scale": jnp.asarray(1.0 + step, jnp.float32), "w": probes.normal_tree(step)["bias"]}
        for step in range(STEPS)
    ]
    outcome = runs_well(subject, "a scalar leaf", params, grads)
    if outcome.status == "fail":
        return outcome
    wrong = astray(subject, grads[0])
    return outcome if "w" in wrong else wrong.get("scale", outcome)


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


def many_axes(subject: Subject) -> Outcome:
    """Leaves of four and five axes and with axes of length 1 keep their shape and go down.

    Why: convolutions have kernels of four axes or five, a first layer (1, n), a last one (n, 1).
    Usual cause: `m, n = g.shape`, `g @ g.T` or `jnp.linalg.norm(g)` wherever `g.ndim > 1`;
    `squeeze`.
    """
    shapes = {"convolution": (2, 1, 4, 3), "film": (2, 1, 3, 2, 2), "first": (1, 5), "last": (3, 1)}
    params, *grads = (probes.normal_tree(seed, shapes=shapes) for seed in range(STEPS + 1))
    kind = f"leaves of shapes {', '.join(map(str, shapes.values()))}"
    outcome = runs_well(subject, kind, params, grads)
    if outcome.status == "fail":
        return outcome
    return next(iter(astray(subject, grads[0]).values()), passed())
