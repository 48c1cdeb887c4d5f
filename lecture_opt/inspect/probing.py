"""Asking the optimizer: the same few gradients to every leaf, and what each leaf answers.

All runs are float64, on a model of reduced size. In each leaf only the first elements get a
gradient, so that small norms stay below every clip; whether leaves or elements look at each other
is asked apart.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.environment import environment

STEPS, WATCHED = 40, 3
AMPLITUDES = (1e-4, 1e-6, 1e-8, 1e-10)


class Probe(NamedTuple):
    """A model of reduced size and an optimizer that was compiled for several copies of it.

    Attributes:
        shapes: The leaves.
        init: From the leaves of the params to the state.
        step: From grads, state and params to the first elements of all updates and the state.
        whole: The same with the updates themselves.
    """

    shapes: list[Any]
    init: Callable[..., Any]
    step: Callable[..., Any]
    whole: Callable[..., Any]


def probe(optimizer: Any, tree: Any) -> Probe:
    """Compile the optimizer for a tree of shapes."""
    leaves, structure = jax.tree.flatten(tree)

    def whole(grads: Any, state: Any, params: Any) -> Any:
        updates, state = optimizer.update(
            jax.tree.unflatten(structure, grads), state, jax.tree.unflatten(structure, params)
        )
        return jax.tree.leaves(updates), state

    def step(grads: Any, state: Any, params: Any) -> Any:
        updates, state = whole(grads, state, params)
        first = [u.ravel()[: count(s)] for u, s in zip(updates, leaves, strict=True)]
        return jnp.concatenate(first), state

    def init(params: Any) -> Any:
        return optimizer.init(jax.tree.unflatten(structure, params))

    compiled = [jax.jit(jax.vmap(function)) for function in (init, step, whole)]
    return Probe(leaves, *compiled)


def count(shape: Any) -> int:
    """How many elements of a leaf are watched."""
    return min(WATCHED, math.prod(shape.shape))


def is_floating(shape: Any) -> bool:
    """Whether a leaf can have a gradient."""
    return bool(jnp.issubdtype(shape.dtype, jnp.floating))


def first_elements(shape: Any, values: Any) -> Any:
    """Copies of a leaf that are zero but for the first elements; `values` is (copies, watched)."""
    values = np.asarray(values)[:, : count(shape)]
    flat = np.zeros((len(values), math.prod(shape.shape)), shape.dtype)
    if is_floating(shape):
        flat[:, : values.shape[1]] = values
    return flat.reshape(len(values), *shape.shape)


def full(asked: Probe, values: Any) -> list[Any]:
    """Params all equal to a value, for each copy."""
    return [
        np.broadcast_to(
            np.reshape(values, (-1, *[1] * len(shape.shape))), (len(values), *shape.shape)
        ).astype(shape.dtype)
        for shape in asked.shapes
    ]


def answers(asked: Probe, grads: Any, params: list[Any]) -> list[Any]:
    """Each leaf's first updates over a sequence of gradients, as (steps, copies, watched).

    Args:
        asked: The compiled optimizer.
        grads: For each step, a list of the leaves' gradients.
        params: The leaves of the params, which stay where they are.
    """
    seen = []
    with environment(x64=True):
        params = [jnp.asarray(leaf) for leaf in params]
        state = asked.init(params)
        for gradient in grads:
            updates, state = asked.step(gradient, state, params)
            seen.append(updates)
        together = np.stack([np.asarray(update, np.float64) for update in seen])
    ends = np.cumsum([count(shape) for shape in asked.shapes])
    return np.split(together, ends[:-1], axis=2)


def whole_updates(asked: Probe, grads: list[Any], params: list[Any], steps: int) -> list[Any]:
    """All elements of the last update after some steps of one gradient, for each leaf."""
    with environment(x64=True):
        state = asked.init(params)
        for _ in range(steps):
            updates, state = asked.whole(grads, state, params)
        return [np.asarray(update, np.float64) for update in updates]


def normal_grads(steps: int = STEPS) -> Any:
    """Normal gradients for the watched elements, of size 1: (steps, watched)."""
    return np.random.default_rng(15).normal(size=(steps, WATCHED))


def over_amplitudes(
    asked: Probe, values: tuple[float, ...] = (0.0, 1.0), micro: int = 1
) -> tuple[Any, list[Any]]:
    """Gradients of all amplitudes side by side, and each leaf's answers at params of each value.

    The gradients are (steps, 4 * 3) and the answers (values, steps, 4 * watched). With `micro`,
    each gradient comes so often and the last answer to it counts.
    """
    base, copies = normal_grads(), len(values) * len(AMPLITUDES)
    scales = np.tile(AMPLITUDES, len(values))[:, None]
    trees = [[first_elements(s, scales * row) for s in asked.shapes] for row in base]
    trees = [tree for tree in trees for _ in range(micro)]
    at = full(asked, np.repeat(values, len(AMPLITUDES)))
    raw = [each[micro - 1 :: micro] for each in answers(asked, trees, at)]
    joined = [
        np.moveaxis(each.reshape(STEPS, len(values), copies // len(values), -1), 1, 0).reshape(
            len(values), STEPS, -1
        )
        for each in raw
    ]
    return np.concatenate([a * base for a in AMPLITUDES], axis=1), joined


def columns(grads: Any, shape: Any) -> Any:
    """The columns of `over_amplitudes` that a leaf sees."""
    blocks = np.split(grads, len(AMPLITUDES), axis=1)
    return np.concatenate([block[:, : count(shape)] for block in blocks], axis=1)
