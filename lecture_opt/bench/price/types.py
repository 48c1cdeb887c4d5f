"""What a price is made of: kernels, collectives, bytes, and the time that these predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LAUNCH = 1.5e-6
"""Seconds that a kernel takes at the least, however little it moves: assumed, not measured."""
ARRAY = 3.4e-6
"""Seconds of the host for each array into a program or out of it: fitted to `accuracy.MEASURED`."""


class Kernel(NamedTuple):
    """What the device runs at one launch; a copy is one, too.

    Attributes:
        name: As the program calls it.
        read: Bytes.
        written: Bytes.
        flops: Operations of its matrix products and convolutions.
        times: Launches per run of the program; more than one in a loop.
        arguments: Which arguments of the program it reads, by their place.
        aside: Whether it is a copy that goes on while kernels run, as a TPU's do.
    """

    name: str
    read: int
    written: int
    flops: int
    times: int
    arguments: tuple[int, ...]
    aside: bool = False


class Collective(NamedTuple):
    """One exchange among devices; `bytes` are what one device sends in a ring, `times` as above."""

    kind: str
    bytes: int
    times: int


class Seconds(NamedTuple):
    """A predicted step, by what takes it.

    Attributes:
        bytes: Reading and writing memory, or the matrix products where these take longer.
        launches: Of the kernels; `None` on a TPU, where what one takes is not known.
        links: Exchanging among devices.
        host: Handing the arrays over; a step inside a compiled loop is spared it. `None` on a TPU.
    """

    bytes: float
    launches: float | None
    links: float
    host: float | None

    @property
    def device(self) -> float:
        """A step in a compiled loop, as `fit` runs it."""
        return self.bytes + (self.launches or 0.0) + self.links

    @property
    def total(self) -> float | None:
        """A step that is called from Python; `None` on a TPU."""
        return None if self.host is None else self.device + self.host


@dataclass(frozen=True)
class Price:
    """What one program would cost on one of some devices; every time in it is predicted.

    Attributes:
        name: The optimizer's.
        kernels: In the program's order.
        collectives: In the program's order.
        arrays: How many go in and come out.
        state: Bytes of the optimizer's state on this device.
        moved: Bytes that a step must move at the least; `None` where a program does more.
        temporaries: Bytes that the program needs beside its arguments and results.
        peak: Arguments, results and temporaries, donated ones counted once.
        shared: For each kernel that serves several leaves of the params, these leaves.
        seconds: The predicted step.
    """

    name: str
    kernels: tuple[Kernel, ...]
    collectives: tuple[Collective, ...]
    arrays: int
    state: int
    moved: int | None
    temporaries: int
    peak: int
    shared: Mapping[str, Sequence[str]]
    seconds: Seconds

    @property
    def launches(self) -> int:
        """How often a kernel starts in a step."""
        return sum(kernel.times for kernel in self.kernels if not kernel.aside)

    @property
    def copies(self) -> int:
        """How many copies go on beside the kernels in a step."""
        return sum(kernel.times for kernel in self.kernels if kernel.aside)

    @property
    def read(self) -> int:
        """Bytes that the kernels read."""
        return sum(kernel.times * kernel.read for kernel in self.kernels)

    @property
    def written(self) -> int:
        """Bytes that the kernels write."""
        return sum(kernel.times * kernel.written for kernel in self.kernels)

    @property
    def sent(self) -> int:
        """Bytes that a device sends to others."""
        return sum(one.times * one.bytes for one in self.collectives)


@dataclass(frozen=True)
class Priced:
    """All prices on one tree or problem, as `price.json` holds them.

    Attributes:
        device: Its full name.
        devices: How many.
        what: The tree or the problem.
        text: What that is.
        prices: In the order of the optimizers.
    """

    device: str
    devices: int
    what: str
    text: str
    prices: tuple[Price, ...]
