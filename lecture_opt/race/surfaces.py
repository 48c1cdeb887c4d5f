"""The test surfaces of the race: functions of two numbers whose pictures the lecture shows.

>>> SURFACES["rosenbrock"].value(1.0, 1.0)
0.0
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Surface:
    """A function to go down, and how to look at it.

    Attributes:
        name: As `--surface` names it.
        title: What it shows, in a few words.
        value: (x, y) -> height, for floats, NumPy arrays and tracers alike.
        x, y: The ends of the picture.
        start: Where the race begins, unless another start is given.
        minima: Where the height is `floor`.
        floor: The least height.
        noise: Standard deviation of what is added to each part of the gradient.
    """

    name: str
    title: str
    value: Callable[[Any, Any], Any]
    x: tuple[float, float]
    y: tuple[float, float]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    floor: float = 0.0
    noise: float = 0.0


def _saddle(x: Any, y: Any) -> Any:
    """Flat at the origin; the ways down are along y. Bounded, so that there is a goal."""
    return x**2 / 2 - y**2 / 2 + y**4 / 4


def _beale(x: Any, y: Any) -> Any:
    """Beale (1958): steep walls around a plain."""
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _rosenbrock(x: Any, y: Any) -> Any:
    """Rosenbrock (1960): a bent valley."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _himmelblau(x: Any, y: Any) -> Any:
    """Himmelblau (1972): four minima of the same height."""
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def _valley(x: Any, y: Any) -> Any:
    """A quadratic a hundred times as steep across as along."""
    return 0.05 * x**2 + 5 * y**2


def _bowl(x: Any, y: Any) -> Any:
    return (x**2 + y**2) / 2


_HIMMELBLAU = (
    (3.0, 2.0),
    (-2.805118086952745, 3.131312518250573),
    (-3.779310253377747, -3.283185991286170),
    (3.584428340330492, -1.848126526964404),
)

SURFACES = {
    surface.name: surface
    for surface in (
        Surface(
            "saddle",
            "saddle between two valleys",
            _saddle,
            (-1.8, 1.8),
            (-1.5, 1.5),
            (-1.5, 0.001),
            ((0.0, 1.0), (0.0, -1.0)),
            floor=-0.25,
        ),
        Surface(
            "beale", "Beale's plain", _beale, (-0.5, 4.5), (-1.2, 2.0), (1.0, 1.6), ((3.0, 0.5),)
        ),
        Surface(
            "rosenbrock",
            "Rosenbrock's bent valley",
            _rosenbrock,
            (-2.0, 2.0),
            (-1.0, 3.0),
            (-0.5, 2.5),
            ((1.0, 1.0),),
        ),
        Surface(
            "himmelblau",
            "Himmelblau's four minima",
            _himmelblau,
            (-5.0, 5.0),
            (-5.0, 5.0),
            (-0.5, -1.0),
            _HIMMELBLAU,
        ),
        Surface(
            "valley",
            "long, narrow valley",
            _valley,
            (-10.0, 3.0),
            (-2.0, 2.0),
            (-9.0, 1.5),
            ((0.0, 0.0),),
        ),
        Surface(
            "noisy-bowl",
            "bowl with noisy gradients",
            _bowl,
            (-3.0, 3.0),
            (-3.0, 3.0),
            (-2.5, 2.0),
            ((0.0, 0.0),),
            noise=1.0,
        ),
    )
}
