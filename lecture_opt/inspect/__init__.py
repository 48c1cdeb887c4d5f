"""What does an optimizer really do to each parameter? Measured by probing, leaf by leaf.

>>> import jax, optax
>>> from lecture_opt import inspect
>>> params = {"dense": {"kernel": jax.ShapeDtypeStruct((4, 8), "float32")}}
>>> inspect.run(optax.sgd(0.1), params, steps=10)["dense/kernel"].rule
'sgd()'
"""

from lecture_opt.inspect.findings import Finding
from lecture_opt.inspect.inspection import Inspection, run
from lecture_opt.inspect.leaf import Clip, Decay, Leaf, Piece

__all__ = ["Clip", "Decay", "Finding", "Inspection", "Leaf", "Piece", "run"]
