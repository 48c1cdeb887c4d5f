"""The folder of wrong optimizers: importing it fills `WRONG`."""

from . import contract, formulas, impure, leaves, neighbours, numbers, unseen
from .registry import WRONG

__all__ = ["WRONG", "contract", "formulas", "impure", "leaves", "neighbours", "numbers", "unseen"]
