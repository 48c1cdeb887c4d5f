"""The folder of wrong optimizers: importing it fills `WRONG`."""

from . import contract, impure, leaves, numbers
from .registry import WRONG

__all__ = ["WRONG", "contract", "impure", "leaves", "numbers"]
