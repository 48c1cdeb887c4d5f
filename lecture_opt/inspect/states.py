"""The optimizer's state, leaf by leaf: arrays, dtypes, how they are cut, what they keep."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.inspect import probing, trees
from lecture_opt.inspect.leaf import Piece
from lecture_opt.inspect.probing import Probe
from lecture_opt.inspect.trees import Place

COPIES, WATCHED = probing.COPIES, probing.WATCHED
EARLY, LATE, WATCH = 2.0, 3.0, 12  # two values of the params, and steps at the second


def belonging(state: Any, places: Sequence[Place]) -> list[list[tuple[str, Any]]]:
    """The arrays of the state of each leaf, with their names: those whose path ends in its own."""
    found: list[list[tuple[str, Any]]] = [[] for _ in places]
    by_keys = {place.keys: index for index, place in enumerate(places) if place.keys}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not hasattr(leaf, "shape") or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        for start in range(1, len(keys)):  # the longest path first
            index = by_keys.get(keys[start:])
            if index is not None:
                found[index].append((trees.path_of(keys[:start]), leaf))
                break
    return found


def pieces(
    optimizer: Any, params: Any, small: Any, places: Sequence[Place], state: Any
) -> list[tuple[Piece, ...]]:
    """The state of each leaf: of `state` where it is given, else of what `init` makes."""
    shapes = belonging(jax.eval_shape(optimizer.init, params), places)
    held = (params, state) if state is not None else made_small(optimizer, params, small)
    arrays = belonging(held[1], places)
    owners = Counter(address(leaf) for leaf in jax.tree.leaves(held))
    found = []
    for abstract, real in zip(shapes, arrays, strict=True):
        known = dict(real)
        found.append(
            tuple(
                Piece(
                    name,
                    str(leaf.dtype),
                    tuple(leaf.shape),
                    cut(known.get(name)),
                    address(known.get(name)) != 0 and owners[address(known[name])] > 1,
                )
                for name, leaf in abstract
            )
        )
    return found


def made_small(optimizer: Any, params: Any, small: Any) -> tuple[Any, Any]:
    """Small params that are cut as the real ones are, and the state that `init` makes of them."""

    def array(shape: Any, leaf: Any) -> Any:
        value = jnp.ones(shape.shape, leaf.dtype)
        sharding = trees.sharding_of(leaf)
        return value if sharding is None else jax.device_put(value, sharding)

    try:
        real = jax.tree.map(array, small, params)
        return real, optimizer.init(real)
    except Exception:  # it can't be made outside of the user's own mesh
        return (), ()


def address(array: Any) -> int:
    """Where an array's data is; 0 for what is no array."""
    try:
        return int(array.addressable_shards[0].data.unsafe_buffer_pointer())
    except Exception:  # a shape, a NumPy array, or data that is elsewhere
        return 0


def cut(leaf: Any) -> str:
    """How an array is cut, in words."""
    sharding = trees.sharding_of(leaf)
    if sharding is None:
        return ""
    if sharding.is_fully_replicated:
        return f"whole on {sharding.num_devices} devices"
    return str(getattr(sharding, "spec", sharding)).replace("PartitionSpec", "P")


def kept(asked: Probe, places: Sequence[Place]) -> tuple[list[str], dict[int, int]]:
    """What the state keeps of each leaf: the params are 2 at first, and 3 in all steps.

    Returns:
        What it keeps in words, and for the leaves that follow a copy of their own, the place of the
        copy among the leaves of the state.
    """
    zeros = [probing.first_elements(s, np.zeros((COPIES, WATCHED))) for s in asked.shapes]
    values, moves = probing.states(asked, [zeros] * WATCH, EARLY, LATE)
    runs = [jax.tree.leaves(value) for value in values]
    numbers = jax.tree.unflatten(
        jax.tree.structure(values[0]), [*map(np.asarray, range(len(runs[0])))]
    )
    copies = {}
    for index, (shape, mine) in enumerate(
        zip(asked.shapes, belonging(numbers, places), strict=True)
    ):
        for _, number in mine:
            some = [run[int(number)] for run in runs]
            if some[0].shape[1:] == shape.shape and follows(some, moves[index]):
                copies[index] = int(number)
    words = [average(run) for run in runs_of(values, places)]
    return ["a copy" if i in copies else word for i, word in enumerate(words)], copies


def follows(kept: list[Any], moves: Any) -> bool:
    """Whether a leaf's update leads it to an array of its state that begins as a copy of it."""
    values = np.array([np.asarray(each, np.float64).ravel()[:1] for each in kept])[:, 0]
    leads = np.abs(moves[:, 0, 0] - (values[1:] - LATE)) < 0.02
    rests = np.abs(moves[:, 0, 0]) < 1e-6
    return bool(values[0] == EARLY and np.all(leads | rests) and not np.all(rests))


def gathered(asked: Probe, places: Sequence[Place], micro: int, units: list[float]) -> list[str]:
    """Whether each leaf's step is of the sum or of the mean of its gradients, all of one size.

    Args:
        asked: The compiled optimizer.
        places: The leaves.
        micro: How many gradients go into a step.
        units: What one gradient of 1 adds to each leaf's first moment.
    """
    size = probing.AMPLITUDES[0]  # below every clip
    ones = [probing.first_elements(s, np.full((COPIES, WATCHED), size)) for s in asked.shapes]
    runs = runs_of(probing.states(asked, [ones] * micro, 0.0, 0.0)[0], places)
    return [gathers(run / size, unit) for run, unit in zip(runs, units, strict=True)]


def runs_of(values: list[Any], places: Sequence[Place]) -> list[Any]:
    """For each leaf, the first elements of its state's floating arrays: (arrays, steps)."""
    found: list[list[list[float]]] = [[] for _ in places]
    for state in values:
        for index, each in enumerate(belonging(state, places)):
            floats = [a for _, a in each if np.issubdtype(a.dtype, np.floating) and a[0].size]
            found[index].append([float(a[0].ravel()[0]) for a in floats])
    return [np.array(each).T for each in found]


def average(runs: Any) -> str:
    """What a state keeps of params that are 2 at first and then 3."""
    for run in runs:
        gaps = LATE - run
        if abs(run[0] - EARLY) > 1e-6 or np.any(gaps < -1e-6) or np.any(np.diff(gaps) > 1e-9):
            continue
        if gaps[-1] == gaps[0]:
            return "a copy"
        decays = gaps[1:] / np.where(gaps[:-1] == 0, 1.0, gaps[:-1])
        return f"an average, decay {decays[0]:.4g}" if np.ptp(decays) < 1e-4 else "an average"
    return ""


def gathers(runs: Any, unit: float) -> str:
    """Whether gradients of 1 are summed or averaged over the micro-steps of a step."""
    count = runs.shape[-1] - 1
    for run in runs:
        for size, word in ((1, "mean"), (count, "sum")):
            if np.isclose(run[-1], size * unit, rtol=1e-4):
                return word
    for run in runs:
        inside = run[1:-1]
        if len(inside) and np.allclose(inside, np.arange(1, count) / count, rtol=1e-4):
            return "mean"
        if len(inside) > 1 and np.allclose(inside, 1.0, rtol=1e-4):
            return "mean"
        if len(inside) > 1 and np.allclose(inside, inside[0] * np.arange(1, count), rtol=1e-4):
            return "sum" if np.all(inside) else ""
    return ""
