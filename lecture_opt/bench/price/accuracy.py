"""How far predictions were from what was measured, where there is a measurement.

Measured on an NVIDIA H200 with jax 0.11.2 by `.ci/gpu`: steps of Adam, called from Python, of which
none waits for the one before.
"""

from typing import NamedTuple

from lecture_opt.bench.price.devices import DEVICES
from lecture_opt.bench.price.types import ARRAY, LAUNCH


class Measured(NamedTuple):
    """Steps that were timed: the lecture's Adam and optax's, in seconds."""

    tree: str
    launches: int
    arrays: int
    bytes: int
    seconds: tuple[float, float]


MEASURED = (
    Measured("one leaf of 16M", 3, 9, 28 * 16_000_000, (0.121e-3, 0.121e-3)),
    Measured("400 leaves of 1,000", 402, 2802, 28 * 400_000, (11.1e-3, 10.4e-3)),
    Measured("transformer, 12 layers", 197, 1367, 28 * 11_525_632, (4.30e-3, 5.71e-3)),
)


def ratios() -> list[float]:
    """Each predicted step over the measured one."""
    device = DEVICES["h200"]
    return [
        (one.bytes / device.bandwidth + LAUNCH * one.launches + ARRAY * one.arrays) / measured
        for one in MEASURED
        for measured in one.seconds
    ]


def sentence(*, on_tpu: bool = False) -> str:
    """What is known of the error.

    >>> sentence()[:59]
    'Predicted steps called from Python were 0.88 to 1.17 of the'
    >>> sentence(on_tpu=True)
    'Nothing has been measured on a TPU.'
    """
    if on_tpu:
        return "Nothing has been measured on a TPU."
    low, high = min(ratios()), max(ratios())
    return (
        f"Predicted steps called from Python were {low:.2f} to {high:.2f} of the measured ones on "
        f"an H200 ({len(MEASURED)} trees, Adam, float32); the device's part alone, loops and other "
        "devices have not been measured."
    )
