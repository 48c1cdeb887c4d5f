"""Row-sparse training: a step that pays for the rows it touches, not for the table.

A table is a leaf of the params that a batch looks up by row, as an embedding. Its gradient is
zero outside those rows, so it is a `RowGrads`: the rows' ids and their gradients.

    grads            `RowGrads`, `row_grads`, `value_and_row_grad`, `gather`, `out_of_range`
    updates          `apply_updates`, `global_norm`, `clip_by_global_norm`
    equal to dense   `sgd`, `momentum`, `nesterov`, `adagrad`, `rmsprop`, `adam`
    lazy             `lazy(optimizer)`: any optimizer, untouched rows keep their state
    reading          `catch_up` for some rows, `finalize` for whole tables

Momentum and Adam move a parameter even where its gradient is zero, and the decaying means decay
there. `lazy` leaves that out, as torch's SparseAdam does. The six here make it up in closed form
when the row is next touched or read, and so walk the dense optimizer's path up to rounding.

Shapes are static: a batch of k lookups has k slots, and those left over (duplicates, padding) are
ids beyond the table, which scatters drop. An id of -1 is padding. Any other id outside its table
raises outside jit; inside it is dropped as padding is, and `out_of_range(params, ids_fn(batch))`
counts such ids. Jit the step and donate params and state, or every scatter copies its table.

A table may be cut over the devices of a mesh, on Auto or Explicit axes; its state is cut as it is,
and rows alone move between devices. On Explicit axes what `gather` gives the loss is cut as the ids
and then as the table's rows. Outside jit they need `jax.set_mesh`, and jax 0.7 or newer.

>>> import jax, jax.numpy as jnp
>>> from lecture_opt import rows
>>> params = {"words": jnp.ones((1000, 2)), "bias": jnp.zeros((1, 2))}
>>> def loss_fn(params, batch):  # params["words"] holds the rows looked up, shape (3, 2)
...     return jnp.sum((params["words"] + params["bias"]) ** 2)
>>> def ids_fn(batch):
...     return {"words": batch}
>>> optimizer = rows.adam(0.1, tables={"words": True})
>>> state, batch = optimizer.init(params), jnp.array([7, 7, 3])
>>> loss, grads = rows.value_and_row_grad(loss_fn, ids_fn)(params, batch, opt_state=state)
>>> updates, state = optimizer.update(grads, state, params)
>>> rows.apply_updates(params, updates)["words"][jnp.array([3, 4, 7])].round(4)
Array([[0.9, 0.9],
       [1. , 1. ],
       [0.9, 0.9]], dtype=float32)
"""

from lecture_opt.rows._grads import RowGrads
from lecture_opt.rows._state import ExactState
from lecture_opt.rows.exact import (
    adagrad,
    adam,
    momentum,
    nesterov,
    rmsprop,
    sgd,
)
from lecture_opt.rows.gradients import (
    gather,
    out_of_range,
    row_grads,
    value_and_row_grad,
)
from lecture_opt.rows.lazy import lazy
from lecture_opt.rows.reading import catch_up, finalize
from lecture_opt.rows.updates import apply_updates, clip_by_global_norm, global_norm

__all__ = [
    "ExactState", "RowGrads", "adagrad", "adam", "apply_updates", "catch_up", "clip_by_global_norm",
    "finalize", "gather", "global_norm", "lazy", "momentum", "nesterov", "out_of_range", "rmsprop",
    "row_grads", "sgd", "value_and_row_grad",
]  # fmt: skip
