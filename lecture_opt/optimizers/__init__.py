"""The lecture's optimizers: each an `(init, update)` pair that fits wherever optax's do.

`sgd`, `momentum`, `nesterov`, `adagrad`, `rmsprop` and `adam`, one file each but for the two
with a velocity. A file reads in the order of the slide: the state, the docstring with the
formula, the step's scalars, and the rule for one array.

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
from lecture_opt.optimizers.momentum import (
    MomentumState,
    NesterovState,
    lookahead,
    momentum,
    nesterov,
)
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
