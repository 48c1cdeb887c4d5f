"""What is tried for each optimizer: the settings drawn from its declared search space.

Every optimizer gets the same number of draws. Where only the learning rate is searched they are
an even grid over its logarithm; else the points of a scrambled Sobol sequence with a fixed seed,
which fill the space more evenly than independent draws (Sobol, 1967; Owen, 1998).
"""

import warnings
from collections.abc import Mapping

import numpy as np
from scipy.stats import qmc

from lecture_opt import specs

LEARNING_RATES = specs.Range("log", 1e-4, 10.0)


def of(spec: specs.OptimizerSpec, rates: specs.Range = LEARNING_RATES) -> dict[str, specs.Range]:
    """The search space: the learning rate first, over `rates` where the text declares none.

    >>> of(specs.parse("optax:adam(b1=uniform(0.5, 1))"))["b1"].kind
    'uniform'
    """
    return {"learning_rate": spec.search.get("learning_rate", rates), **spec.search}


def draw(space: Mapping[str, specs.Range], count: int) -> dict[str, np.ndarray]:
    """`count` settings, as one array a name; the first of equal calls and of all others alike.

    >>> draw({"learning_rate": specs.Range("log", 1e-3, 1e-1)}, 3)["learning_rate"].round(4)
    array([0.001, 0.01 , 0.1  ])
    """
    if len(space) == 1:
        points = np.linspace(0, 1, count)[:, None] if count > 1 else np.full((1, 1), 0.5)
    else:
        with warnings.catch_warnings():
            # Balance asks for powers of two; other budgets are as good as the user's wish.
            warnings.filterwarnings("ignore", message="The balance properties")
            points = qmc.Sobol(len(space), rng=0).random(count)
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
