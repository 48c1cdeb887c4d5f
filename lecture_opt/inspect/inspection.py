"""The inspection of an optimizer on a model's parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lecture_opt import files
from lecture_opt.environment import environment
from lecture_opt.inspect import findings, judging, parts, probing, states, trees
from lecture_opt.inspect.findings import Finding
from lecture_opt.inspect.leaf import Leaf
from lecture_opt.inspect.measured import measured


@dataclass(frozen=True)
class Inspection:
    """What an optimizer does to each leaf.

    Attributes:
        leaves: The leaves, in the order of the params.
        findings: What is probably not meant, most serious first.
        notes: Choices that many make on purpose.
        steps: The length of the schedule that was looked at.
    """

    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    steps: int

    @property
    def ok(self) -> bool:
        """Whether there is no finding."""
        return not self.findings

    def __getitem__(self, path: str) -> Leaf:
        """The leaf at a path, as in `inspection["encoder/bias"]`."""
        for leaf in self.leaves:
            if leaf.path == path:
                return leaf
        raise KeyError(f"{path}: the leaves are {', '.join(leaf.path for leaf in self.leaves)}")

    def groups(self) -> list[tuple[Leaf, ...]]:
        """The leaves that are treated alike, the groups with most bytes first."""
        groups: dict[Any, list[Leaf]] = {}
        for leaf in self.leaves:
            groups.setdefault(leaf.treatment, []).append(leaf)
        return sorted(
            map(tuple, groups.values()), key=lambda g: -sum(findings.bytes_of(x) for x in g)
        )

    def differences(self, other: "Inspection") -> list[str]:
        """Leaf by leaf, in words, how another optimizer treats the same params."""
        theirs = {leaf.path: leaf for leaf in other.leaves}
        mine = {leaf.path: leaf for leaf in self.leaves}
        lines = [f"{path}: only in the first" for path in mine.keys() - theirs.keys()]
        lines += [f"{path}: only in the second" for path in theirs.keys() - mine.keys()]
        for path, leaf in mine.items():
            words = path in theirs and parts.difference(leaf, theirs[path])
            lines += [f"{path}: {words}"] if words else []
        return lines

    def as_data(self) -> dict[str, Any]:
        """The inspection as plain data."""
        return {
            "ok": self.ok,
            "steps": self.steps,
            "findings": [finding._asdict() for finding in self.findings],
            "notes": [note._asdict() for note in self.notes],
            "leaves": [as_data(leaf) for leaf in self.leaves],
        }

    def write_json(self, path: Any) -> None:
        """Write the inspection, whole or not at all."""
        files.write_json(path, self.as_data())


def as_data(leaf: Leaf) -> dict[str, Any]:
    """A leaf as plain data."""
    fields = {name: getattr(leaf, name) for name in leaf.__dataclass_fields__}
    return fields | {
        "rates": [float(rate) for rate in leaf.rates],
        "shape": list(leaf.shape),
        "decay": leaf.decay._asdict(),
        "clip": leaf.clip._asdict() if leaf.clip else None,
        "limit": leaf.limit if math.isfinite(leaf.limit) else None,
        "state": [piece._asdict() | {"bytes": piece.size} for piece in leaf.state],
    }


def run(
    optimizer: Any, params: Any, *, steps: int = 1000, full: bool = False, state: Any = None
) -> Inspection:
    """Measure what an optimizer does to each leaf of params.

    >>> import jax, optax
    >>> from lecture_opt import inspect
    >>> params = {"dense": {"bias": jax.ShapeDtypeStruct((4,), "float32")}}
    >>> inspect.run(optax.adamw(1e-3), params, steps=10)["dense/bias"].weight_decay
    0.0001

    Args:
        optimizer: An `(init, update)` pair.
        params: Arrays, or shapes of arrays as from `jax.eval_shape`; nothing of their size is made.
        steps: The length of the run in gradients.
        full: Probe leaves of their real sizes, in float64 and eight times over.
        state: The optimizer's state for these params, to see how it lies on the devices; without
            it that of small params is looked at, which are cut as the real ones are.

    Raises:
        TypeError: `optimizer` is not a pair, or params hold no floating leaf.
        ValueError: `steps` is not positive.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(f"inspect: optimizer must have init and update, got {optimizer!r:.60}")
    places = trees.places(params)
    if not any(place.floating for place in places):
        raise TypeError("inspect: params hold no floating leaf")
    if steps < 1:
        raise ValueError(f"inspect: steps={steps}; wanted 1 at least")
    with environment():
        small = trees.to_probe(optimizer, params, "float64", full=full)
        leaves = measured(optimizer, small, places, steps)
        dtypes = update_dtypes(optimizer, params)
        pieces = states.pieces(optimizer, params, small, places, state)
        trained = [
            replace(leaf, update_dtype=dtype, state=some, sharding=states.cut(real))
            for leaf, dtype, some, real, place in zip(
                leaves, dtypes, pieces, jax.tree.leaves(params), places, strict=True
            )
            if place.floating
        ]
        found = judge(trained, steps) + in_vain(optimizer, params, small, trained)
    serious = sorted((f for f in found if f.serious), key=lambda f: -f.weight)
    notes = tuple(f for f in found if not f.serious)
    return Inspection(tuple(trained), tuple(serious), notes, steps)


def judge(leaves: Sequence[Leaf], steps: int) -> list[Finding]:
    """All findings and notes."""
    looks = (
        judging.frozen, judging.uphill, judging.rules, judging.rates, judging.decays,
        parts.clipping, parts.dtypes, parts.tables, parts.transposed, parts.devices, parts.others,
    )  # fmt: skip
    found = [finding for look in looks for finding in look(leaves)]
    return found + list(parts.schedule(leaves, steps))


def update_dtypes(optimizer: Any, params: Any) -> list[str]:
    """The dtype of each leaf's update, for gradients of the dtype of the params."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)

    def update(grads: Any) -> Any:
        return probing.updated(optimizer, grads, optimizer.init(grads), grads)[0]

    return [str(leaf.dtype) for leaf in jax.tree.leaves(jax.eval_shape(update, shapes))]


def in_vain(optimizer: Any, params: Any, small: Any, leaves: Sequence[Leaf]) -> list[Finding]:
    """A weight decay that is said and never applied: a mask of no leaf, a number without use."""
    if any(leaf.decay.kind != "no" or not leaf.known for leaf in leaves if leaf.moves):
        return []
    cause = "a weight decay whose mask leaves out every leaf"
    state = real_state(optimizer, small)
    said = {
        trees.path_of(keys): float(value)
        for keys, value in jax.tree_util.tree_leaves_with_path(state)
        if "weight_decay" in trees.path_of(keys) and jnp.ndim(value) == 0
    }
    for name, value in said.items():
        if value:
            text = f"the state says {name.rpartition('/')[2]} {value:g}, and no leaf decays"
            return [Finding(text, cause, findings.paths(leaves), 6)]
    masked = "Masked" in str(jax.tree.structure(state))  # a decay of 0 asks in vain too
    if masked and asks_in_vain(optimizer, params):
        text = "the optimizer asks for params, and no leaf's update depends on them"
        return [Finding(text, cause, findings.paths(leaves), 6)]
    return []


def real_state(optimizer: Any, small: Any) -> Any:
    """The state for small params of 1; empty where it can't be made."""
    try:
        return optimizer.init(jax.tree.map(lambda leaf: jnp.ones(leaf.shape), small))
    except Exception:  # what asks for the user's own mesh
        return ()


def asks_in_vain(optimizer: Any, params: Any) -> bool:
    """Whether an optimizer asks for params, and then does not look at any of them."""

    def update(grads: Any) -> Any:
        return optimizer.update(grads, optimizer.init(grads))[0]

    try:
        jax.eval_shape(update, params)
    except Exception as error:  # what it says is the answer
        return "param" in str(error).lower() and not looks_at(optimizer, params)
    return False


def looks_at(optimizer: Any, params: Any) -> bool:
    """Whether an operation of an update takes some of the params."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    state = jax.eval_shape(optimizer.init, shapes)
    traced = jax.make_jaxpr(lambda p, g, s: probing.updated(optimizer, g, s, p))(
        shapes, shapes, state
    ).jaxpr
    own = {id(variable) for variable in traced.invars[: len(jax.tree.leaves(shapes))]}
    used = [variable for step in traced.eqns for variable in step.invars] + traced.outvars
    return any(id(variable) in own for variable in used)
