"""What of the measurements is probably not meant, and what is a choice worth a note."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lecture_opt.inspect.leaf import Leaf

PLURALS = {"bias": "biases"}


class Finding(NamedTuple):
    """Something about some leaves.

    Attributes:
        text: The finding, with its number.
        cause: The usual cause.
        leaves: The paths of the leaves.
        weight: How serious it is, from 1 to 10.
        serious: Whether it is probably not meant; otherwise it is a note.
    """

    text: str
    cause: str
    leaves: tuple[str, ...]
    weight: int = 5
    serious: bool = True


def bytes_of(leaf: Leaf) -> int:
    """The bytes of a leaf itself."""
    return int(np.prod(leaf.shape, dtype=np.int64)) * np.dtype(leaf.dtype).itemsize


def paths(leaves: Sequence[Leaf]) -> tuple[str, ...]:
    """Their paths."""
    return tuple(leaf.path for leaf in leaves)


def named(leaves: Sequence[Leaf]) -> str:
    """Some leaves in words: few by their paths, several by their number and role."""
    if len(leaves) <= 2:
        return " and ".join(paths(leaves))
    roles = Counter(leaf.role for leaf in leaves)
    counted = [
        f"{count} {role}" if count == 1 else f"{count} {PLURALS.get(role, f'{role}s')}"
        for role, count in roles.items()
    ]
    return ", ".join(counted[:-1]) + (" and " if len(counted) > 1 else "") + counted[-1]


def verb(leaves: Sequence[Leaf], one: str, several: str) -> str:
    """The form of a verb that agrees with `named`."""
    return one if len(leaves) == 1 else several


def layer(leaf: Leaf) -> str:
    """The part of the model that a leaf is in: its path as far as the first number, or one key."""
    keys = leaf.path.split("/")
    for index, key in enumerate(keys[:-1]):
        if any(letter.isdigit() for letter in key):
            return "/".join(keys[: index + 1])
    return keys[0] if len(keys) > 1 else ""


def name_of(rule: str) -> str:
    """A rule without its arguments."""
    return rule.partition("(")[0]


Split = tuple[list[Leaf], Any, list[Leaf], Any]


def minorities(
    leaves: Sequence[Leaf], what: Callable[[Leaf], Any], *keys: Callable[[Leaf], Any]
) -> list[Split]:
    """Of the leaves with one key, the few that are treated otherwise than more than half of them.

    Returns:
        For each such treatment the few leaves, what they have, the others, and what those have. A
        leaf comes once, for the first of the keys.
    """
    seen: set[str] = set()
    found: list[Split] = []
    for key in keys:
        for _, group in itertools.groupby(sorted(leaves, key=key), key):
            kin = list(group)
            counts = Counter(map(what, kin)).most_common()
            if len(counts) < 2 or counts[0][1] <= len(kin) / 2:
                continue
            most = [leaf for leaf in kin if what(leaf) == counts[0][0]]
            for value, _ in counts[1:]:
                few = [leaf for leaf in kin if what(leaf) == value and leaf.path not in seen]
                seen |= set(paths(few))
                if few:
                    found.append((few, value, most, counts[0][0]))
    return joined(found)


def joined(found: list[Split]) -> list[Split]:
    """Splits of several kinds of leaves into the same two treatments, as one."""
    together: dict[tuple[Any, Any], Split] = {}
    for few, value, most, usual in found:
        old = together.get((value, usual), ([], value, [], usual))
        together[value, usual] = (old[0] + few, value, old[2] + most, usual)
    return list(together.values())


def of_kind(leaf: Leaf) -> Any:
    """What the same leaf of other layers shares with it."""
    return leaf.kind, leaf.shape


def of_shape(leaf: Leaf) -> Any:
    """What leaves that do the same in a model share."""
    return leaf.role, leaf.shape


def by_depth(few: Sequence[Leaf], most: Sequence[Leaf], leaves: Sequence[Leaf]) -> bool:
    """Whether some leaves are all of their role in whole layers, before or behind the others'.

    So people choose: the first layers have a smaller rate.
    """
    depths = [{natural(layer(leaf)) for leaf in some} for some in (few, most)]
    if depths[0] & depths[1] or len({depth[0] for depth in depths[0] | depths[1]}) > 1:
        return False
    roles, chosen = {leaf.role for leaf in few}, set(paths(few))
    apart = [x for x in leaves if x.role in roles and natural(layer(x)) in depths[0]]
    ordered = max(depths[0]) < min(depths[1]) or max(depths[1]) < min(depths[0])
    return ordered and set(paths(apart)) <= chosen


def natural(path: str) -> tuple[Any, ...]:
    """A path as it sorts by its numbers."""
    digits = "".join(letter if letter.isdigit() else " " for letter in path).split()
    stem = "".join("*" if letter.isdigit() else letter for letter in path)
    return (stem, *map(int, digits))
