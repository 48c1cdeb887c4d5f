"""How an optimizer looks, the same in every figure and page: colour and dashes by its name.

The colours were searched for: each has a contrast of three to one with white paper, and to readers
who see two of the three primaries any two lie farther apart than those of Okabe and Ito (2008),
from which the search began. The user's own optimizers take the first colours, each its own; then
come the algorithms by name, so that `lecture:adam` and `optax:adam` share one and differ in
dashes. Nothing depends on the order of the results.

>>> styles(["optax:adam", "lecture:sgd", "lecture:adam"])["optax:adam"]
Style(colour='#1d44da', dashes=(5, 2))
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

COLOURS = ("#1d44da", "#dd7800", "#007952", "#b673b6", "#864f12", "#1595ff", "#000000")
DASHES = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (7, 2, 1.5, 2, 1.5, 2), (10, 3), (3, 3))
WIDTH = 28
"""Characters of a name that a label has room for."""


class Style(NamedTuple):
    """A line's colour, and its dashes in points: on, off, on, ...; none for a solid line."""

    colour: str
    dashes: tuple[float, ...]


def is_users(name: str) -> bool:
    """Whether an optimizer is the user's, not one of this package or of optax.

    >>> is_users("mine.py:opt"), is_users("optax:adam")
    (True, False)
    """
    return not name.startswith(("lecture:", "optax:"))


def users_first(names: Iterable[str]) -> list[str]:
    """The user's own, then the others, each in the order of their names."""
    return sorted(names, key=lambda name: (not is_users(name), name))


def styles(names: Iterable[str]) -> dict[str, Style]:
    """The style of every name."""
    names = users_first(set(names))
    own = [name for name in names if is_users(name)]
    others = sorted({_algorithm(name) for name in names} - set(own))
    first = len(own) if others and len(own) < len(COLOURS) else 0  # colours that are theirs alone
    chosen: dict[str, Style] = {}
    for name in names:
        colours, place = (
            (COLOURS, own.index(name))
            if is_users(name)
            else (COLOURS[first:], others.index(_algorithm(name)))
        )
        colour = colours[place % len(colours)]
        used = sum(style.colour == colour for style in chosen.values())
        chosen[name] = Style(colour, DASHES[used % len(DASHES)])
    return chosen


def labels(names: Iterable[str], width: int = WIDTH) -> dict[str, str]:
    """Each name in at most `width` characters, cut where that leaves it apart from the others.

    >>> list(labels(["adam", "sgd(momentum=0.9)", "sgd(momentum=0.99)"], 10).values())
    ['adam', 'sgd(mo….9)', 'sgd(mo…99)']
    """
    names = sorted(set(names))
    cuts = {name: list(_cuts(name, width)) for name in names}
    chosen: dict[str, str] = {}
    for name in names:
        alone = (
            cut
            for i, cut in enumerate(cuts[name])
            if not any(
                i < len(cuts[other]) and cuts[other][i] == cut for other in set(names) - {name}
            )
        )
        chosen[name] = next((cut for cut in alone if cut not in chosen.values()), name)
    return chosen


def _cuts(name: str, width: int) -> Iterator[str]:
    """The name without its middle, which moves outwards, then without its ends."""
    if len(name) <= width:
        yield name
        return
    for tail in sorted(range(width - 1), key=lambda tail: abs(tail - 0.35 * width)):
        yield f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"
    for start in range(1, len(name) - width + 2):
        yield f"…{name[start : start + width - 2]}…"


def _algorithm(name: str) -> str:
    """What is between the source and the brackets: `optax:sgd(momentum=0.9)` is an `sgd`."""
    return name if is_users(name) else name.partition(":")[2].partition("(")[0]
