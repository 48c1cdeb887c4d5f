"""The lecture's optimizers: each an `(init, update)` pair that fits wherever optax's do.

`sgd`, `momentum`, `nesterov`, `adagrad`, `rmsprop` and `adam`, one file each. A file holds what
the slide holds: the state, the formula, and the rule for one array. What they share is in
`elementwise.py`, the factory, `hyperparameters.py` and `trees.py`.

>>> import jax, jax.numpy as jnp, optax
>>> from lecture_opt.optimizers import adam
>>> optimizer = adam(learning_rate=0.1)
>>> params = {"w": jnp.ones(3)}
>>> state = optimizer.init(params)
>>> grads = jax.grad(lambda p: jnp.sum(p["w"] ** 2))(params)
>>> updates, state = optimizer.update(grads, state, params)
>>> optax.apply_updates(params, updates)["w"].round(4)
Array([0.9, 0.9, 0.9], dtype=float32)
"""

from lecture_opt.optimizers.adagrad import AdagradState, adagrad
from lecture_opt.optimizers.adam import AdamState, adam
from lecture_opt.optimizers.momentum import MomentumState, momentum
from lecture_opt.optimizers.nesterov import NesterovState, lookahead, nesterov
from lecture_opt.optimizers.rmsprop import RmspropState, rmsprop
from lecture_opt.optimizers.sgd import SgdState, sgd

__all__ = [
    "AdagradState",
    "AdamState",
    "MomentumState",
    "NesterovState",
    "RmspropState",
    "SgdState",
    "adagrad",
    "adam",
    "lookahead",
    "momentum",
    "nesterov",
    "rmsprop",
    "sgd",
]
