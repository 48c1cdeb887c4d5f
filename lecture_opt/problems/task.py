"""What a task is: all that the engine needs to know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lecture_opt import losses

Params = Any
Data = Any


class TaskError(ValueError):
    """There is no such task, or it makes no sense; the message says what was wanted."""


@dataclass(frozen=True)
class Task:
    """What to train and how to judge it.

    Attributes:
        name: As tables and plots show it.
        init: Key -> params.
        loss: (params, part) -> scalar that the optimizer lowers.
        metric: (params, part) -> scalar to choose and report by.
        data: (train, validation, test), each a pytree of arrays whose first axis is examples.
        metric_name: What `metric` measures, with its unit.
        higher_is_better: The metric's direction.
        description: One sentence.
    """

    name: str
    init: Callable[[jax.Array], Params]
    loss: Callable[[Params, Data], jax.Array]
    metric: Callable[[Params, Data], jax.Array]
    data: tuple[Data, Data, Data]
    metric_name: str = "loss"
    higher_is_better: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        """Raises TaskError, naming the field, where the data are not three parts of examples."""
        if not isinstance(self.data, tuple) or len(self.data) != 3:
            raise TaskError(f"Task {self.name}: data must be a tuple (train, validation, test)")
        for part, which in zip(self.data, ("train", "validation", "test"), strict=True):
            sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(part)}
            if len(sizes) != 1 or not next(iter(sizes)) or 0 in next(iter(sizes)):
                raise TaskError(
                    f"Task {self.name}: {which} must be arrays with one first axis of examples, "
                    f"and has {sorted(sizes)}"
                )

    @property
    def train(self) -> Data:
        """What is trained on."""
        return self.data[0]

    @property
    def validation(self) -> Data:
        """What settings are chosen by."""
        return self.data[1]

    @property
    def test(self) -> Data:
        """What is reported, touched once."""
        return self.data[2]


def examples(part: Data) -> int:
    """How many examples a part of the data has."""
    return len(jax.tree.leaves(part)[0])


def split(x: np.ndarray, y: np.ndarray, *, standardise: bool = True) -> tuple[Data, Data, Data]:
    """(x, y) of floats or integers as parts of 60, 20 and 20 %, shuffled with a fixed seed.

    `standardise` brings each feature of `x` to mean 0 and deviation 1 on the training part.

    >>> train, validation, test = split(np.ones((10, 3)), np.arange(10))
    >>> train[0].shape, validation[1].shape
    ((6, 3), (2,))
    """
    order = np.random.default_rng(0).permutation(len(x))
    first, second = int(0.6 * len(x)), int(0.8 * len(x))
    if standardise:
        train = x[order[:first]]
        deviation = train.std(axis=0)
        x = (x - train.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    kinds = [np.float32 if np.issubdtype(a.dtype, np.floating) else np.int32 for a in (x, y)]
    parts = [
        (x[rows].astype(kinds[0]), y[rows].astype(kinds[1]))
        for rows in np.split(order, [first, second])
    ]
    return parts[0], parts[1], parts[2]


def classifier(
    name: str, init: Any, apply: Any, data: tuple[Data, Data, Data], description: str
) -> Task:
    """A task of softmax cross-entropy whose metric is accuracy; parts of the data are (x, y)."""

    def loss(params: Params, part: Data) -> jax.Array:
        return losses.softmax_cross_entropy(apply(params, part[0]), part[1])

    def accuracy(params: Params, part: Data) -> jax.Array:
        best = apply(params, part[0]).argmax(axis=-1).astype(part[1].dtype)
        return (best == part[1]).astype(np.float32).mean()

    return Task(name, init, loss, accuracy, data, "accuracy", True, description)


def binary_classifier(
    name: str, init: Any, apply: Any, data: tuple[Data, Data, Data], description: str
) -> Task:
    """A task of sigmoid cross-entropy whose metric is accuracy; y is 0.0 or 1.0."""

    def loss(params: Params, part: Data) -> jax.Array:
        return losses.sigmoid_cross_entropy(apply(params, part[0]), part[1])

    def accuracy(params: Params, part: Data) -> jax.Array:
        return ((apply(params, part[0]) > 0) == (part[1] > 0.5)).astype(np.float32).mean()

    return Task(name, init, loss, accuracy, data, "accuracy", True, description)
