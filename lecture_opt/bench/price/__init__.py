"""What a step would cost on a GPU or TPU that is not there, from the program compiled for it."""

from lecture_opt.bench.price.devices import DEVICES
from lecture_opt.bench.price.fits import Fit, largest_batch, largest_model
from lecture_opt.bench.price.plugin import topology
from lecture_opt.bench.price.study import loop, step
from lecture_opt.bench.price.types import Price, Priced

__all__ = [
    "DEVICES", "Fit", "Price", "Priced", "largest_batch", "largest_model", "loop", "step",
    "topology",
]  # fmt: skip
