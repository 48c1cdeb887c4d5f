"""What an optimizer does to one leaf, as measured."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np


class Decay(NamedTuple):
    """How a leaf decays.

    Attributes:
        kind: Not at all, beside the update, through the gradient, or in another way.
        amount: The weight decay in units of the learning rate. Of a rule without a known rate, and
            where the decay does not follow the schedule: the share of the leaf per step.
        scheduled: Whether it follows the learning rate's schedule.
    """

    kind: Literal["no", "decoupled", "coupled", "unknown"] = "no"
    amount: float = 0.0
    scheduled: bool = True


class Clip(NamedTuple):
    """At what norm a leaf is clipped, and with which others.

    Attributes:
        norm: The norm, 0 where leaves are normalised together at every size of the gradient.
        group: The number of the group that is clipped with it.
        of: What is clipped: the gradient, the step of the rule before its learning rate, or the
            update.
    """

    norm: float
    group: int
    of: Literal["gradient", "step", "update"] = "gradient"


class Piece(NamedTuple):
    """One array of the state that belongs to a leaf.

    Attributes:
        name: Its path in the state, without that of the leaf.
        dtype: Its dtype.
        shape: Its shape.
        sharding: How it is cut, "" on one device.
        shared: Whether it is another array's buffer until the first step, so that the state and
            the params can't be donated together.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sharding: str = ""
    shared: bool = False

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
        rates: The learning rate of each step. Of an orthogonalising rule the largest singular
            value of the step, of another unknown rule the size of an element's step.
        decay: How it decays.
        clip: With which leaves it is clipped; `None` where it is not.
        limit: The size that each element of its gradient is cut to, infinity where it is not.
        every: How many gradients it takes to a step.
        accumulates: How those enter the step: "mean" or "sum"; "" for one gradient, or unknown.
        noise: The standard deviation of what is added at random to a step, at most.
        keeps: What the state keeps of the params: "", "a copy", or their average with its decay.
        update_dtype: The dtype of its update.
        sharding: How it is cut, "" on one device.
        state: Its state.
        share: The share of it that decays per step, at most.
        needs: How many gradients the schedule takes to its end, where the run is shorter.
    """

    path: str
    role: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    rates: Any = field(repr=False)
    decay: Decay
    clip: Clip | None = None
    limit: float = math.inf
    every: int = 1
    accumulates: str = ""
    noise: float = 0.0
    keeps: str = ""
    update_dtype: str = ""
    sharding: str = ""
    state: tuple[Piece, ...] = ()
    share: float = 0.0
    needs: int | None = None

    @property
    def moves(self) -> bool:
        """Whether some gradient moves it."""
        return self.rule != "frozen"

    @property
    def known(self) -> bool:
        """Whether its rates are learning rates: the rule is a known one."""
        return self.rule.endswith(")") and not self.rule.startswith(
            ("unknown", "orthogonalised", "factored")
        )

    @property
    def weight_decay(self) -> float:
        """Its weight decay, in units of the learning rate; 0 where it does not decay."""
        return self.decay.amount

    @property
    def clipping(self) -> str:
        """How it is clipped, in words; empty where it is not."""
        whole = "" if self.clip is None else f"{self.clip.norm:g}"
        if self.clip is not None and self.clip.of != "gradient":
            whole += f" of the {self.clip.of}"
        element = f"{self.limit:g} per element" if math.isfinite(self.limit) else ""
        return ", ".join(filter(None, (whole, element)))

    @property
    def peak(self) -> float:
        """The largest learning rate, with its sign."""
        return float(self.rates[np.argmax(np.abs(self.rates))]) if len(self.rates) else 0.0

    @property
    def ends(self) -> int | None:
        """The gradient from which on the rate is 0; `None` where it is not at the end."""
        moving = np.flatnonzero(np.abs(self.rates) > 1e-6 * abs(self.peak))
        last = int(moving[-1]) + 1 if len(moving) else 0
        return last * self.every if last < len(self.rates) else None

    @property
    def state_bytes(self) -> int:
        """The bytes of its state."""
        return sum(piece.size for piece in self.state)

    @property
    def donatable(self) -> bool:
        """Whether its params and state may be donated to a step together."""
        return not any(piece.shared for piece in self.state)

    @property
    def treatment(self) -> tuple[Any, ...]:
        """What leaves that are treated alike have in common."""
        rates = tuple(f"{rate:.3g}" for rate in (*self.rates[:1], self.peak, *self.rates[-1:]))
        pieces = tuple((p.name, p.dtype, p.sharding, p.shared) for p in self.state)
        traits = (self.every, self.accumulates, f"{self.noise:.2g}", self.keeps, self.sharding)
        return (
            self.rule,
            rates,
            self.decay,
            self.clip,
            self.limit,
            *traits,
            self.update_dtype,
            pieces,
        )
