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

from lecture_opt.check.subject import asks_for_more, quadratic, update_with
from lecture_opt.environment import environment, fast_jit
from lecture_opt.inspect import trees

STEPS, WATCHED = 40, 3
AMPLITUDES = (1e-4, 1e-6, 1e-8, 1e-10)
COPIES = 2 * len(AMPLITUDES)


class Probe(NamedTuple):
    """A model of reduced size and an optimizer that was compiled for several copies of it.

    Attributes:
        shapes: The leaves.
        shardings: How copies of each leaf are cut, `None` on one device.
        init: From the leaves of the params to the state.
        step: From grads, state, params and a factor of the loss to the first elements of all
            updates, the updates themselves, and the state.
        random: Whether the state holds a PRNG key.
    """

    shapes: list[Any]
    shardings: list[Any]
    init: Callable[..., Any]
    step: Callable[..., Any]
    random: bool


def probe(optimizer: Any, tree: Any) -> Probe:
    """Compile the optimizer for a tree of shapes."""
    leaves, structure = jax.tree.flatten(tree)

    def step(grads: Any, state: Any, params: Any, part: Any) -> Any:
        grads, params = (jax.tree.unflatten(structure, each) for each in (grads, params))
        updates, state = updated(optimizer, grads, state, params, part)
        updates = jax.tree.leaves(updates)
        first = [u.ravel()[: count(s)] for u, s in zip(updates, leaves, strict=True)]
        return jnp.concatenate(first), updates, state

    def init(params: Any) -> Any:
        return optimizer.init(jax.tree.unflatten(structure, params))

    compiled = fast_jit(jax.vmap(init)), fast_jit(jax.vmap(step, (0, 0, 0, None)))
    random = any(map(is_key, jax.tree.leaves(jax.eval_shape(optimizer.init, tree))))
    return Probe(leaves, [of_copies(leaf) for leaf in leaves], *compiled, random)


def updated(optimizer: Any, grads: Any, state: Any, params: Any, part: Any = 1.0) -> Any:
    """An update, with a part of a quadratic loss that has these gradients where it asks for one."""
    try:
        return optimizer.update(grads, state, params)
    except Exception as error:  # only what a missing argument says is of interest
        if not asks_for_more(str(error)):
            raise
    loss = quadratic(grads, params)
    return update_with(lambda at: part * loss(at), optimizer, grads, state, params)


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a state is a PRNG key, typed or not."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return True
    return bool(leaf.shape == (2,) and leaf.dtype == jnp.uint32)


def of_copies(leaf: Any) -> Any:
    """The sharding of several copies of a leaf, side by side on a first axis."""
    sharding = trees.sharding_of(leaf)
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return None
    spec = jax.sharding.PartitionSpec(None, *sharding.spec)
    return jax.sharding.NamedSharding(sharding.mesh, spec)


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


def everywhere(shape: Any, values: Any) -> Any:
    """Copies of a leaf whose elements repeat the watched ones; `values` is (copies, watched)."""
    size = math.prod(shape.shape)
    if not is_floating(shape):
        return first_elements(shape, values)
    flat = np.tile(np.asarray(values), -(-size // WATCHED))[:, :size]
    return flat.reshape(len(values), *shape.shape).astype(shape.dtype)


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
        params = placed(asked, params)
        state = asked.init(params)
        last: Any = None
        for t, gradient in enumerate(grads):
            if gradient is not last:  # the same one is sent once
                last, sent = gradient, placed(asked, gradient)
            updates, _, state = asked.step(sent, state, params, falling(t))
            seen.append(updates)
        return of_leaves(asked, [np.asarray(update, np.float64) for update in seen])


def of_leaves(asked: Probe, updates: list[Any]) -> list[Any]:
    """The first updates of all leaves in each step, leaf by leaf."""
    ends = np.cumsum([count(shape) for shape in asked.shapes])
    return np.split(np.stack(updates), ends[:-1], axis=2)


def falling(t: int) -> float:
    """The factor of the loss at step t: without progress some rules lower their rate."""
    return float((1 + t) ** -0.25)


def placed(asked: Probe, leaves: list[Any]) -> list[Any]:
    """Copies of the leaves on the devices, cut as the leaves are."""
    return [
        jnp.asarray(leaf) if sharding is None else jax.device_put(leaf, sharding)
        for leaf, sharding in zip(leaves, asked.shardings, strict=True)
    ]


def states(
    asked: Probe, grads: list[Any], first: float, then: float
) -> tuple[list[Any], list[Any]]:
    """The state from params of one value, and after each step at params of another.

    Beside the states stand each leaf's first updates, as (steps, copies, watched).
    """
    with environment(x64=True):
        state = asked.init(placed(asked, full(asked, np.full(COPIES, first))))
        params, seen = placed(asked, full(asked, np.full(COPIES, then))), [state]
        moved = []
        for t, gradient in enumerate(grads):
            first_updates, _, state = asked.step(placed(asked, gradient), state, params, falling(t))
            seen.append(state)
            moved.append(np.asarray(first_updates, np.float64))
        return [jax.tree.map(as_array, state) for state in seen], of_leaves(asked, moved)


def as_array(leaf: Any) -> Any:
    """A leaf of a state in NumPy; a key stays what it is."""
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def whole_updates(asked: Probe, grads: list[Any], params: list[Any], steps: int) -> list[Any]:
    """All elements of the last update after some steps of one gradient, for each leaf."""
    with environment(x64=True):
        grads, params = placed(asked, grads), placed(asked, params)
        state = asked.init(params)
        for t in range(steps):
            _, updates, state = asked.step(grads, state, params, falling(t))
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
    return over_sizes(asked, AMPLITUDES, values, micro, first_elements)


def over_sizes(
    asked: Probe,
    sizes: tuple[float, ...],
    values: tuple[float, ...],
    micro: int,
    spread: Callable[[Any, Any], Any],
    steps: int = STEPS,
) -> tuple[Any, list[Any]]:
    """As `over_amplitudes`, with other sizes and steps, and gradients where `spread` puts them."""
    base, copies = normal_grads()[:steps], len(values) * len(sizes)
    scales = np.tile(sizes, len(values))[:, None]
    trees = ([spread(s, scales * row) for s in asked.shapes] for row in base)
    repeated = (tree for tree in trees for _ in range(micro))
    at = full(asked, np.repeat(values, len(sizes)))
    raw = [each[micro - 1 :: micro] for each in answers(asked, repeated, at)]
    joined = [
        np.moveaxis(each.reshape(steps, len(values), copies // len(values), -1), 1, 0).reshape(
            len(values), steps, -1
        )
        for each in raw
    ]
    return np.concatenate([a * base for a in sizes], axis=1), joined


def columns(grads: Any, shape: Any) -> Any:
    """The columns of `over_amplitudes` and `over_sizes` that a leaf sees."""
    blocks = np.split(grads, grads.shape[1] // WATCHED, axis=1)
    return np.concatenate([block[:, : count(shape)] for block in blocks], axis=1)
