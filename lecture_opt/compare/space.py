"""What is tried for each optimizer: the settings drawn from its declared search space.

Every optimizer gets the same number of draws. The first are an even grid over the logarithm of the
learning rate where that alone is searched, else the points of a scrambled Sobol sequence with a
fixed seed, which fill the space more evenly than independent draws (Sobol, 1967; Owen, 1998). The
rest lie around the best of these, so that the step of a grid decides nothing.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy.stats import qmc

from lecture_opt import specs

LEARNING_RATES = specs.Range("log", 1e-4, 10.0)
TUNED = {
    "weight_decay": specs.Range("log", 1e-5, 1.0),
    "b1": specs.Range("log1m", 0.8, 0.99),
    "b2": specs.Range("log1m", 0.9, 0.9999),
}
"""Where these are searched, for optimizers that take them and are given no value."""


def of(spec: specs.OptimizerSpec, rates: specs.Range = LEARNING_RATES) -> dict[str, specs.Range]:
    """The search space: the learning rate first, over `rates` where the text declares no range.

    >>> of(specs.parse("optax:adam(b1=uniform(0.5, 1))"))["b1"].kind
    'uniform'
    """
    return {"learning_rate": spec.search.get("learning_rate", rates), **spec.search}


def tuned(spec: specs.OptimizerSpec, names: Iterable[str]) -> specs.OptimizerSpec:
    """The optimizer with those of the `names` searched that it takes and is given no value for.

    >>> list(tuned(specs.parse("optax:adamw(b1=0.8)"), ["b1", "weight_decay"]).search)
    ['weight_decay']
    """
    given = {*spec.kwargs, *spec.search}
    added = {n: TUNED[n] for n in names if n not in given and n in specs.arguments_of(spec)}
    return replace(spec, search={**spec.search, **added})


def draw(space: Mapping[str, specs.Range], count: int) -> dict[str, np.ndarray]:
    """The first `count` settings of a space: for each name its values, the same in every call.

    >>> draw({"learning_rate": specs.Range("log", 1e-3, 1e-1)}, 3)["learning_rate"].round(4)
    array([0.001, 0.01 , 0.1  ])
    """
    return _placed(space, _points(len(space), count))


def refine(
    space: Mapping[str, specs.Range], count: int, best: int, more: int
) -> dict[str, np.ndarray]:
    """`more` settings, an even number, around the best of `draw(space, count)`.

    Of a rate alone they lie evenly between the best one's neighbours; else they fill a box of half
    the space's width around it.

    >>> space = {"learning_rate": specs.Range("log", 1e-4, 1.0)}
    >>> np.log10(refine(space, 5, 2, 2)["learning_rate"]).round(2)
    array([-2.5, -1.5])
    """
    points = _points(len(space), count)
    if len(space) > 1:
        low, high = np.maximum(points[best] - 0.25, 0), np.minimum(points[best] + 0.25, 1)
        return _placed(space, low + (high - low) * _points(len(space), more, seed=1))
    ends = points[max(best - 1, 0), 0], points[min(best + 1, count - 1), 0]
    inside = 0 < best < count - 1
    around = np.linspace(*ends, more + 2 + inside)[1:-1]
    return _placed(space, (np.delete(around, more // 2) if inside else around)[:, None])


def shifted(where: specs.Range, count: int) -> specs.Range:
    """The range in another unit: moved by half of a step of its grid, where it is logarithmic."""
    if where.kind != "log" or count < 2:
        return where
    factor = (where.high / where.low) ** (0.5 / (count - 1))
    return where._replace(low=where.low * factor, high=where.high * factor)


def _points(dimensions: int, count: int, seed: int = 0) -> np.ndarray:
    """(count, dimensions) places in the unit cube."""
    if dimensions == 1:
        return np.linspace(0, 1, count)[:, None] if count > 1 else np.full((1, 1), 0.5)
    with warnings.catch_warnings():
        # Balance asks for powers of two; other budgets are as good as the user's wish.
        warnings.filterwarnings("ignore", message="The balance properties")
        return np.asarray(qmc.Sobol(dimensions, rng=seed).random(count))


def _placed(space: Mapping[str, specs.Range], points: np.ndarray) -> dict[str, np.ndarray]:
    return {name: _place(points[:, i], where) for i, (name, where) in enumerate(space.items())}


def on_edge(
    space: Mapping[str, specs.Range], draws: Mapping[str, np.ndarray], chosen: int
) -> list[str]:
    """Names whose chosen value is the smallest or the largest drawn, choices left aside.

    >>> space = {"learning_rate": LEARNING_RATES}
    >>> on_edge(space, draw(space, 3), 0)
    ['learning_rate']
    """
    return [
        name
        for name, where in space.items()
        if where.kind != "choice"
        and len(draws[name]) > 2
        and draws[name][chosen] in (draws[name].min(), draws[name].max())
    ]


def _place(points: np.ndarray, where: specs.Range) -> np.ndarray:
    """Points of [0, 1] placed in the range."""
    if where.kind == "choice":
        last = len(where.values) - 1
        return np.asarray(where.values)[np.minimum((points * (last + 1)).astype(int), last)]
    if where.kind == "log":
        return np.exp(np.log(where.low) + points * np.log(where.high / where.low))
    if where.kind == "log1m":
        low, high = 1 - where.low, 1 - where.high
        return 1 - np.exp(np.log(low) + points * np.log(high / low))
    return where.low + points * (where.high - where.low)
