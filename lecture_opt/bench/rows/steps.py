"""A compiled step on a table, by library: row-sparse, optax's dense equal, torch's sparse one."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lecture_opt as lo
from lecture_opt import equals, rows, specs

SLOTS = {
    "sgd": 0,
    "adagrad": 1,
    "momentum": 1,
    "nesterov": 1,
    "rmsprop": 1,
    "adam": 2,
    "lazy_adam": 2,
}
"""How many arrays of the table's size the state of each optimizer has."""
RATE = 1e-3

Step = Callable[[np.ndarray], None]
"""Takes the ids of a batch of rows."""


def make(name: str, size: int, width: int, ids: np.ndarray, memory: float) -> dict[str, Step]:
    """A step of each library that has the optimizer, as far as the memory in bytes goes."""
    made: dict[str, Step] = {}
    for library, maker in (("rows", _rows_step), ("torch", _torch_step), ("optax", _optax_step)):
        # A dense gradient and a dense update are as large as the table, too.
        needed = (1 + SLOTS[name] + 2 * (library == "optax")) * 4 * size * width
        step = maker(name, size, width, ids) if needed <= memory else None
        if step is not None:
            made[library] = step
            memory -= needed
    if "torch" in made:
        made["torch, one thread"] = _on_one_thread(made["torch"])
    return made


def _rows_step(name: str, size: int, width: int, ids: np.ndarray) -> Step:
    make = {
        "sgd": rows.sgd,
        "adagrad": rows.adagrad,
        "lazy_adam": lambda rate: rows.lazy(lo.adam(rate)),
    }.get(name) or functools.partial(getattr(rows, name, rows.adam), tables=True)
    optimizer = make(RATE)  # type: ignore[no-untyped-call]  # any of them
    grad_fn = rows.value_and_row_grad(lambda r, _: jnp.sum(r * r), lambda batch: batch)

    def update(table: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        _, grads = grad_fn(table, batch, opt_state=state)
        updates, state = optimizer.update(grads, state, table)
        return rows.apply_updates(table, updates), state

    return _stepper(update, jnp.ones((size, width), jnp.float32), optimizer.init, ids)


def _optax_step(name: str, size: int, width: int, ids: np.ndarray) -> Step:
    spec = specs.parse(equals.beside(f"lecture:{name}"))
    optimizer = specs.build(spec, learning_rate=RATE)

    def update(table: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        grads = jax.grad(lambda table: jnp.sum(table[batch] ** 2))(table)
        updates, state = optimizer.update(grads, state, table)
        return optax.apply_updates(table, updates), state

    return _stepper(update, jnp.ones((size, width), jnp.float32), optimizer.init, ids)


def _stepper(
    update: Callable[..., Any], table: jax.Array, init: Callable[..., Any], ids: np.ndarray
) -> Step:
    carry = [table, init(table)]
    del table
    step = jax.jit(update, donate_argnums=(0, 1)).lower(*carry, ids).compile()

    def run(batch: np.ndarray) -> None:
        carry[:] = step(*carry, batch)
        jax.block_until_ready(carry)

    return run


def _torch_step(name: str, size: int, width: int, _: np.ndarray) -> Step | None:
    try:
        import torch
    except ImportError:
        return None
    optimizers: dict[str, Any] = {
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
        "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
        "adam": torch.optim.SparseAdam,
        "lazy_adam": torch.optim.SparseAdam,
    }
    if name not in optimizers:  # torch's others refuse sparse gradients
        return None
    # As by default, but without a warning.
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call, unused-ignore]
    table = torch.nn.Embedding(size, width, sparse=True)
    optimizer = optimizers[name](table.parameters(), lr=RATE)

    def run(batch: np.ndarray) -> None:
        optimizer.zero_grad()
        looked_up = table(torch.from_numpy(batch))
        (looked_up * looked_up).sum().backward()
        optimizer.step()

    return run


def _on_one_thread(step: Step) -> Step:
    import torch

    def run(batch: np.ndarray) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        step(batch)
        torch.set_num_threads(threads)

    return run
