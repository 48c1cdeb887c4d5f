"""The inspection of an optimizer on a model's parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lecture_opt import files
from lecture_opt.check.subject import Subject
from lecture_opt.environment import environment
from lecture_opt.inspect import findings, measuring, probing, trees
from lecture_opt.inspect.findings import Finding
from lecture_opt.inspect.leaf import Clip, Leaf, Piece

MASKED_DECAY = re.compile(r"MaskedState\], \[CustomNode\(namedtuple\[EmptyState")


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
            words = path in theirs and findings.difference(leaf, theirs[path])
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
        "state": [piece._asdict() | {"bytes": piece.size} for piece in leaf.state],
    }


def run(optimizer: Any, params: Any, *, steps: int = 1000) -> Inspection:
    """Measure what an optimizer does to each leaf of params.

    >>> import jax, optax
    >>> from lecture_opt import inspect
    >>> params = {"dense": {"bias": jax.ShapeDtypeStruct((4,), "float32")}}
    >>> inspect.run(optax.adamw(1e-3), params, steps=10)["dense/bias"].weight_decay
    0.0001

    Args:
        optimizer: An `(init, update)` pair.
        params: Arrays, or shapes of arrays as from `jax.eval_shape`; nothing of their size is made.
        steps: The length of the schedule.

    Raises:
        TypeError: `optimizer` is not a pair, or params hold no floating leaf.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(f"inspect: optimizer must have init and update, got {optimizer!r:.60}")
    places = trees.places(params)
    if not any(place.floating for place in places):
        raise TypeError("inspect: params hold no floating leaf")
    with environment():
        asked = Subject("the optimizer", optimizer)  # which gives the loss to one that needs it
        small = trees.to_probe(optimizer, params, "float64")
        leaves = measured(asked, small, places, steps)
        dtypes = update_dtypes(asked, params)
        states = state_pieces(optimizer, params, places)
    leaves = tuple(
        replace(leaf, update_dtype=dtype, state=pieces)
        for leaf, dtype, pieces in zip(leaves, dtypes, states, strict=True)
    )
    trained = [leaf for leaf, place in zip(leaves, places, strict=True) if place.floating]
    with environment():
        in_vain = asks_in_vain(optimizer, params, trained)
    found = findings.judge(trained, steps=steps, asks_in_vain=in_vain)
    serious = sorted((f for f in found if f.serious), key=lambda f: -f.weight)
    notes = tuple(f for f in found if not f.serious)
    return Inspection(tuple(trained), tuple(serious), notes, steps)


def measured(
    optimizer: Any, small: Any, places: Sequence[trees.Place], steps: int
) -> tuple[Leaf, ...]:
    """The leaves with all that the probes tell."""
    asked = probing.probe(optimizer, small)
    _, first = probing.over_amplitudes(asked)
    micro = measuring.period(first)
    motions = measuring.motions(asked, micro)
    rates = measuring.schedules(asked, motions, steps, micro)
    rules = [motion.text for motion in motions]
    restless = any("without a gradient" in rule for rule in rules)
    clips = measuring.clips(asked, [rule != "frozen" and not restless for rule in rules], micro)
    if "unknown" in rules:
        for index, text in measuring.matrices(asked, micro).items():
            rules[index] = text if rules[index] == "unknown" else rules[index]
    members = [clip.group for clip in clips if clip]

    def together(clip: Clip | None, motion: measuring.Motion) -> Clip | None:
        alone = clip is not None and members.count(clip.group) == 1
        return None if alone and motion.identity is None else clip

    measures = zip(places, rules, rates, motions, clips, strict=True)
    return tuple(
        Leaf(
            path=place.path,
            role=trees.role_of(place),
            kind=trees.kind_of(place.path),
            shape=place.shape,
            dtype=str(place.dtype),
            rule=rule,
            rates=rate,
            decay=motion.decay,
            clip=together(clip, motion),
            every=micro,
            update_dtype="",
            state=(),
        )
        for place, rule, rate, motion, clip in measures
    )


def update_dtypes(optimizer: Any, params: Any) -> list[str]:
    """The dtype of each leaf's update, for gradients of the dtype of the params."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)

    def update(grads: Any) -> Any:
        return optimizer.update(grads, optimizer.init(grads), grads)[0]

    return [str(leaf.dtype) for leaf in jax.tree.leaves(jax.eval_shape(update, shapes))]


def state_pieces(
    optimizer: Any, params: Any, places: Sequence[trees.Place]
) -> list[tuple[Piece, ...]]:
    """The arrays of the state that belong to each leaf: those whose path ends in the leaf's."""
    state = jax.eval_shape(optimizer.init, params)
    named = [
        (keys, leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(state)
        if hasattr(leaf, "shape") and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    return [
        tuple(
            Piece(trees.path_of(keys[: -len(place.keys)]), str(leaf.dtype), tuple(leaf.shape))
            for keys, leaf in named
            if len(keys) > len(place.keys) and keys[-len(place.keys) :] == place.keys
        )
        if place.keys
        else ()
        for place in places
    ]


def asks_in_vain(optimizer: Any, params: Any, leaves: Sequence[Leaf]) -> bool:
    """Whether a masked optimizer asks for params although no leaf's update depends on them."""
    if any(leaf.decay.kind != "no" or not leaf.rule.endswith(")") for leaf in leaves):
        return False
    state = jax.eval_shape(optimizer.init, params)
    masked = MASKED_DECAY.search(str(jax.tree.structure(state))) is not None

    def update(grads: Any) -> Any:
        return optimizer.update(grads, optimizer.init(grads))[0]

    try:
        jax.eval_shape(update, params)
    except Exception as error:  # what it says is the answer
        return masked and "param" in str(error).lower()
    return False
