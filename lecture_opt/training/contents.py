"""What a checkpoint holds: arrays by name, their shapes and dtypes, and the facts of the run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.numerics import PyTree
from lecture_opt.training.batches import Source


def named(**trees: PyTree) -> dict[str, Any]:
    """The trees' leaves by their paths: `params['w']`."""
    return {
        name + jax.tree_util.keystr(path): leaf
        for name, tree in trees.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def stacked(evaluations: list[tuple[int, Any]]) -> dict[str, np.ndarray]:
    """The values of the evaluations, each leaf's stacked; an error where they can't be."""
    columns = zip(*(jax.tree.leaves(value) for _, value in evaluations), strict=True)
    try:
        stacks = {f"evaluations {i}": np.stack(column) for i, column in enumerate(columns)}
        kinds = {stack.dtype for stack in stacks.values()}
        if not all(jnp.issubdtype(kind, jnp.number) or kind.kind == "b" for kind in kinds):
            raise TypeError(f"it gives {', '.join(map(str, kinds))}")
    except (TypeError, ValueError) as error:
        raise TypeError(
            "fit: checkpoint: eval_fn must give numbers of the same shapes each time to be saved: "
            f"{error}"
        ) from error
    return stacks


def described(arrays: dict[str, Any]) -> dict[str, list[Any]]:
    """Their shapes and dtypes, as JSON holds them."""
    return {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}


def empty(described: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    """Arrays of these shapes and dtypes."""
    return {n: np.empty(shape, jnp.dtype(dtype)) for n, (shape, dtype) in described.items()}


def filled(arrays: dict[str, Any]) -> dict[str, Any]:
    """Those that hold a number; orbax keeps no others."""
    return {name: array for name, array in arrays.items() if array.size}


def facts(source: Source, start_step: int) -> dict[str, Any]:
    """What decides the batches, and so must be the same in a run that goes on."""
    key = None if source.key is None else np.asarray(jax.random.key_data(source.key))
    return {
        "start_step": start_step,
        "batch_size": source.batch_size,
        "key": None if key is None else key.tolist(),
        "data": described(named(data=source.data)),
    }


def check_run(where: str, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """That the checkpoint is of a run with the same facts."""
    for name, value in wanted.items():
        if saved.get(name) != value:
            raise ValueError(
                f"{where} is of a run with {name} {saved.get(name)}, and this has {value}; give "
                "the arguments of that run, or another folder"
            )


def check_state(where: str, saved: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> None:
    """That the checkpoint has the arrays of these params and this optimizer."""
    for name in wanted.keys() | saved.keys():
        if saved.get(name) != wanted.get(name):
            there, here = (
                "absent" if d is None else f"{d[1]}{d[0]}"
                for d in (saved.get(name), wanted.get(name))
            )
            raise ValueError(
                f"{where} is of other params or another optimizer: {name} is {there} there and "
                f"{here} here"
            )
