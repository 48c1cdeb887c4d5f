"""Copies of params that the state keeps and moves in their place, held where the params are.

Such an optimizer returns the difference of its copy and the params, as is usual where params have
16 bits and copies 32. Its answers to params that stand still grow from step to step. With the
copies put back to the params before each step, they are the steps of the rule.
"""

import functools
from typing import Any

import jax

from lecture_opt.check.subject import Pair
from lecture_opt.environment import environment
from lecture_opt.inspect import probing


def held(optimizer: Any, copies: dict[int, int], tree: Any) -> Any:
    """The optimizer with copies of params held at them, in the dtype of the params if it may be.

    Args:
        optimizer: An `(init, update)` pair.
        copies: For the leaves that have one, the place of the copy among the leaves of the state.
        tree: The shapes of the params.
    """
    wide = Pair(optimizer.init, holding(optimizer, copies, wide=True))
    try:
        with environment(x64=True):
            state = jax.eval_shape(optimizer.init, tree)
            jax.eval_shape(lambda g, s: probing.updated(wide, g, s, g), tree, state)
    except Exception:  # branches of another dtype
        return Pair(optimizer.init, holding(optimizer, copies, wide=False))
    return wide


def holding(optimizer: Any, copies: dict[int, int], *, wide: bool) -> Any:
    """The update that puts the copies back first, and gives what they move by."""

    @functools.wraps(optimizer.update)
    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        before, structure = jax.tree.flatten(state)
        values, start = jax.tree.leaves(params), list(before)
        for index, where in copies.items():
            start[where] = values[index] if wide else values[index].astype(before[where].dtype)
        state = jax.tree.unflatten(structure, start)
        updates, state = optimizer.update(grads, state, params, **extra)
        updates, tree = jax.tree.flatten(updates)
        after, structure = jax.tree.flatten(state)
        for index, where in copies.items():
            updates[index] = after[where] - values[index]
            after[where] = before[where]
        return jax.tree.unflatten(tree, updates), jax.tree.unflatten(structure, after)

    return update
