"""What a step would cost on a GPU that is not there, from the program that XLA compiles for it."""

from lecture_opt.bench.price.devices import DEVICES
from lecture_opt.bench.price.plugin import find
from lecture_opt.bench.price.study import loop, step
from lecture_opt.bench.price.types import Price, Priced

__all__ = ["DEVICES", "Price", "Priced", "find", "loop", "step"]
