"""How an optimizer looks, the same in every figure and page: colour and dashes by its name.

Okabe and Ito (2008), which the colour-blind can tell apart; their yellow is left out, which white
paper swallows. Colour follows the sorted names of the algorithms, so that `lecture:adam` and
`optax:adam` share one and differ in dashes; nothing depends on the order of the results.

>>> styles(["optax:adam", "lecture:sgd", "lecture:adam"])["optax:adam"]
Style(colour='#0072B2', dashes=(5, 2))
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (7, 2, 1.5, 2, 1.5, 2), (10, 3), (3, 3))


class Style(NamedTuple):
    """A line's colour, and its dashes in points: on, off, on, ...; none for a solid line."""

    colour: str
    dashes: tuple[float, ...]


def styles(names: Iterable[str]) -> dict[str, Style]:
    """The style of every name."""
    names = sorted(set(names))
    algorithms = sorted({_algorithm(name) for name in names})
    used: Counter[str] = Counter()
    chosen = {}
    for name in names:
        colour = COLOURS[algorithms.index(_algorithm(name)) % len(COLOURS)]
        chosen[name] = Style(colour, DASHES[used[colour] % len(DASHES)])
        used[colour] += 1
    return chosen


def _algorithm(name: str) -> str:
    """What is between the source and the brackets: `optax:sgd(momentum=0.9)` is an `sgd`."""
    return name.partition(":")[2].partition("(")[0] or name
