"""What an optimizer does to one leaf, as measured."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np


class Decay(NamedTuple):
    """How a leaf decays.

    Attributes:
        kind: Not at all, beside the update, through the gradient, by the norm, or in another way.
        amount: The weight decay, in units of the learning rate; the share per step where the
            decay does not follow the schedule.
        scheduled: Whether it follows the learning rate's schedule.
    """

    kind: Literal["no", "decoupled", "coupled", "norm ratio", "unknown"] = "no"
    amount: float = 0.0
    scheduled: bool = True


class Clip(NamedTuple):
    """The norm at which a leaf is clipped, and the number of the group that is clipped with it.

    `norm` is 0 where leaves are normalised together at every size of the gradient.
    """

    norm: float
    group: int


class Piece(NamedTuple):
    """One array of the state that belongs to a leaf."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Leaf:
    """What an optimizer does to one leaf.

    Attributes:
        path: Its path in the params, with slashes.
        role: "embedding", "head", "kernel", "norm" or "bias", by its name and rank.
        kind: Its path with a star for each number.
        shape: Its shape.
        dtype: Its dtype.
        rule: The rule that moves it, as a call without a learning rate; "frozen" or "unknown".
        rates: The learning rate of each step; for an unknown rule the relative size of the step.
        decay: How it decays.
        clip: With which leaves it is clipped; `None` where it is not.
        every: How many gradients it takes to a step.
        update_dtype: The dtype of its update.
        state: Its state.
    """

    path: str
    role: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    rates: Any = field(repr=False)
    decay: Decay
    clip: Clip | None
    every: int
    update_dtype: str
    state: tuple[Piece, ...]

    @property
    def moves(self) -> bool:
        """Whether some gradient moves it."""
        return self.rule != "frozen"

    @property
    def weight_decay(self) -> float:
        """Its weight decay, in units of the learning rate; 0 where it does not decay."""
        return self.decay.amount

    @property
    def peak(self) -> float:
        """The largest learning rate, with its sign."""
        return float(self.rates[np.argmax(np.abs(self.rates))]) if len(self.rates) else 0.0

    @property
    def state_bytes(self) -> int:
        """The bytes of its state."""
        return sum(piece.size for piece in self.state)

    @property
    def treatment(self) -> tuple[Any, ...]:
        """What leaves that are treated alike have in common."""
        rates = tuple(f"{rate:.3g}" for rate in (*self.rates[:1], self.peak, *self.rates[-1:]))
        pieces = tuple((piece.name, piece.dtype) for piece in self.state)
        return (self.rule, rates, self.decay, self.clip, self.every, self.update_dtype, pieces)
