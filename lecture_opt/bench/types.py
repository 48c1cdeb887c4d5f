"""What a bench finds: on each tree, a cell for each optimizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

AGAIN = ("init", "eager", "trace")
"""What is timed in several rounds beside the step."""
ONCE = ("lower", "compile", "first_step")
"""What is timed once."""
KINDS = ("init", "trace", "lower", "compile", "first_step", "eager", "step")


class Estimate(NamedTuple):
    """A median and its 95 % interval; all three are equal where there is one sample."""

    value: float
    low: float
    high: float


class Bytes(NamedTuple):
    """What an optimizer holds and moves; None where the compiler of the device does not say.

    Attributes:
        state: The arrays of the state.
        moved: What a step must move: reads of gradients, params and state, writes of the last two.
        peak: Arguments, results and temporaries alive at once, donated ones counted once.
        accessed: What the kernels of the compiled step read and write.
    """

    state: int
    moved: int
    peak: float | None = None
    accessed: float | None = None


@dataclass(frozen=True)
class Cell:
    """One optimizer on one tree.

    Attributes:
        optimizer: Its name.
        bytes: Its memory.
        samples: Seconds by kind; a kind that does not apply is missing.
        seconds: The median of each kind's samples.
        ratio: By kind, the first optimizer's time over this one's: below 1 the first is faster.
        times_limit: The step over the time that `bytes.moved` take at the tree's bandwidth.
    """

    optimizer: str
    bytes: Bytes
    samples: Mapping[str, Sequence[float]]
    seconds: Mapping[str, Estimate]
    ratio: Mapping[str, Estimate]
    times_limit: float


@dataclass(frozen=True)
class TreeCosts:
    """All optimizers on one tree.

    Attributes:
        tree: Its name.
        text: What it is.
        leaves: How many arrays it has.
        parameters: How many numbers these hold.
        bandwidth: Bytes per second, read and written, of an array of the size of params,
            gradients and state together that is changed in place.
        cells: In the order in which the optimizers were given.
    """

    tree: str
    text: str
    leaves: int
    parameters: int
    bandwidth: float
    cells: tuple[Cell, ...]


class Share(NamedTuple):
    """An optimizer in the training step of a problem.

    Attributes:
        problem, optimizer: Their names.
        step: Seconds of a step: loss, gradients, update and its application.
        without: Seconds of the step in which the gradients themselves are the update.
        share: (step - without) / step.
        operations: Floating-point operations of the step without; `None` where it has loops.
        matrix_rate: Such operations per second in a large product of matrices on this device.
    """

    problem: str
    optimizer: str
    step: Estimate
    without: Estimate
    share: Estimate
    operations: float | None
    matrix_rate: float


@dataclass(frozen=True)
class Results:
    """A whole bench, as `bench.json` holds it.

    Attributes:
        format: Of the file.
        versions: Of the packages and of Python.
        device: Its kind.
        rounds: Timed steps.
        trees: In the order in which they were given.
        problems: Of each problem the optimizers' shares of its training step.
    """

    format: int
    versions: Mapping[str, str]
    device: str
    rounds: int
    trees: tuple[TreeCosts, ...]
    problems: tuple[Share, ...] = ()
