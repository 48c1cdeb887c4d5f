"""What a checkpoint holds: arrays by name, and their shapes and dtypes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.numerics import PyTree


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


def check_state(where: str, saved: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> None:
    """Raises unless the checkpoint has the arrays of these params and this optimizer."""
    for name in {**wanted, **saved}:
        if saved.get(name) != wanted.get(name):
            there, here = (
                "absent" if d is None else f"{d[1]}{d[0]}"
                for d in (saved.get(name), wanted.get(name))
            )
            raise ValueError(
                f"{where} is of other params or another optimizer: {name} is {there} there and "
                f"{here} here"
            )


def unstacked(
    steps: list[int],
    stacks: dict[str, np.ndarray],
    eval_fn: Callable[[PyTree], Any] | None,
    params: PyTree,
) -> list[tuple[int, Any]]:
    """The evaluations of these steps, of the form that `eval_fn` gives; `[]` without it."""
    if not steps or eval_fn is None:
        return []
    form = jax.tree.structure(eval_fn(params))
    rows = ([np.array(stack[i]) for stack in stacks.values()] for i in range(len(steps)))
    return [(at, jax.tree.unflatten(form, row)) for at, row in zip(steps, rows, strict=True)]
