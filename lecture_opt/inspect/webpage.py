"""An inspection as a page: findings, the groups, their schedules drawn, and the tree to unfold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lecture_opt import files
from lecture_opt.inspect import table
from lecture_opt.inspect.findings import bytes_of
from lecture_opt.inspect.inspection import Inspection
from lecture_opt.inspect.leaf import Leaf, Piece
from lecture_opt.pages.render import render
from lecture_opt.pages.styles import COLOURS, DASHES, Style

POINTS = 400
"""Of a schedule at most: no screen shows more."""


@dataclass
class Node:
    """A part of the tree: a leaf, or what lies below a key.

    Attributes:
        name: The last key of its path.
        path: All keys, with slashes.
        below: The nodes below it, by name.
        leaf: The leaf that ends here, or `None`.
        leaves: Every leaf here or below.
    """

    name: str
    path: str
    below: "dict[str, Node]" = field(default_factory=dict)
    leaf: Leaf | None = None
    leaves: list[Leaf] = field(default_factory=list)


def write(inspection: Inspection, path: Path, title: str) -> Path:
    """Writes the page, whole or not at all; returns its path."""
    with files.whole(path) as file:
        file.write(html(inspection, title).encode())
    return path


def html(inspection: Inspection, title: str) -> str:
    """The page as text, which asks the network for nothing. The same inspection, the same text.

    Args:
        inspection: What was measured.
        title: What was inspected, as the user wrote it.
    """
    groups = inspection.groups()
    group_of = {leaf.path: i for i, group in enumerate(groups) for leaf in group}
    found = {leaf.path: [] for leaf in inspection.leaves}  # type: dict[str, list[str]]
    for one in inspection.findings:
        for path in one.leaves:
            found.setdefault(path, []).append(one.text)
    drawn = schedules(groups)
    return render(
        "lecture_opt.inspect",
        "inspect.html",
        scripts=["scales.js", "inspect.js"],
        styles=["inspect.css"],
        data={
            "groups": [{"style": _style(i)._asdict()} for i in range(len(groups))],
            "schedules": drawn,
        },
        title=f"What {title} does to each leaf",
        inspection=inspection,
        columns=table.COLUMNS,
        rows=[table.row(group) for group in groups],
        drawn=drawn,
        tree=tree(inspection.leaves),
        group_of=group_of,
        found=found,
        facts=facts,
        size=lambda leaves: table.in_bytes(sum(map(bytes_of, leaves))),
        state=table.in_bytes(sum(leaf.state_bytes for leaf in inspection.leaves)),
        groups_of=lambda leaves: sorted({group_of[leaf.path] for leaf in leaves}),
        marked=lambda leaves: sum(bool(found[leaf.path]) for leaf in leaves),
    )


def _style(i: int) -> Style:
    """The look of a group: colours first, then dashes."""
    return Style(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)])


def tree(leaves: Sequence[Leaf]) -> Node:
    """The leaves under the keys of their paths; a chain of keys with one child each is one node."""
    root = Node("", "")
    for leaf in leaves:
        node = root
        for key in leaf.path.split("/"):
            node.leaves.append(leaf)
            path = f"{node.path}/{key}".lstrip("/")
            node = node.below.setdefault(key, Node(key, path))
        node.leaves.append(leaf)
        node.leaf = leaf
    return _joined(root)


def _joined(node: Node) -> Node:
    while len(node.below) == 1 and node.leaf is None and node.name:
        (only,) = node.below.values()
        node = Node(f"{node.name}/{only.name}", only.path, only.below, only.leaf, only.leaves)
    node.below = {name: _joined(one) for name, one in node.below.items()}
    return node


def schedules(groups: Sequence[Sequence[Leaf]]) -> list[dict[str, Any]]:
    """The distinct schedules: steps, rates, and the numbers of the groups that follow each."""
    found: dict[bytes, dict[str, Any]] = {}
    for i, group in enumerate(groups):
        rates = np.asarray(group[0].rates, float)
        if not group[0].moves or not rates.size or not np.isfinite(rates).all():
            continue
        key = np.asarray([f"{rate:.5g}" for rate in rates]).tobytes()
        if key not in found:
            shown = _shown(rates)
            steps = [int(step) * group[0].every + 1 for step in shown]
            found[key] = {"x": steps, "y": [float(f"{rates[k]:.6g}") for k in shown], "groups": []}
        found[key]["groups"].append(i)
    return list(found.values())


def _shown(rates: np.ndarray) -> np.ndarray:
    """Steps that show the curve: evenly spaced ones, and in each stretch its least and greatest."""
    if len(rates) <= POINTS:
        return np.arange(len(rates))
    parts = np.array_split(np.arange(len(rates)), POINTS // 3)
    ends = [(p[0], p[np.argmin(rates[p])], p[np.argmax(rates[p])]) for p in parts]
    return np.unique([*np.ravel(ends), len(rates) - 1])


def facts(leaf: Leaf) -> list[tuple[str, str]]:
    """What was measured of a leaf, as (what, how much); what it does not have is left out."""
    first, last = (leaf.rates[0], leaf.rates[-1]) if len(leaf.rates) else (0.0, 0.0)
    decay = leaf.decay
    follows = "" if decay.scheduled else ", whatever the learning rate"
    entering = f"{leaf.every}, their {leaf.accumulates}" if leaf.accumulates else str(leaf.every)
    ends = f", 0 from gradient {leaf.ends:,} on" if leaf.ends else ""
    rate = "learning rate" if leaf.known else "size of a step"
    found = [
        ("kind", leaf.role),
        ("shape", f"{list(leaf.shape)} {leaf.dtype}, {table.in_bytes(bytes_of(leaf))}"),
        ("rule", leaf.rule),
        (rate, f"{first:.3g} first, {leaf.peak:.3g} at most, {last:.3g} last{ends}"),
        ("weight decay", "no" if decay.kind == "no" else f"{decay.amount:g} {decay.kind}{follows}"),
        ("clipped", f"at {leaf.clipping}" if leaf.clipping else "no"),
        ("gradients to a step", entering),
        ("update", leaf.update_dtype),
        ("state", "; ".join(map(_words, leaf.state)) or "no"),
    ]
    more = [
        ("noise", f"{leaf.noise:.3g}" if leaf.noise else ""),
        ("the state keeps", f"{leaf.keeps} of the params" if leaf.keeps else ""),
        ("cut over devices", leaf.sharding),
        ("donation", "" if leaf.donatable else "its state shares a buffer with the params"),
    ]
    return found + [(what, says) for what, says in more if says]


def _words(piece: Piece) -> str:
    cut = f", cut {piece.sharding}" if piece.sharding else ""
    return f"{piece.name} {piece.dtype} {list(piece.shape)}, {table.in_bytes(piece.size)}{cut}"
