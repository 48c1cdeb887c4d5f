"""What a user's `make()` may give: an optimizer and params in one of several forms."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from lecture_opt.environment import lenient
from lecture_opt.problems import bound
from lecture_opt.problems.loop import Loop, start_key
from lecture_opt.problems.task import Task, as_loop

WANTED = (
    "(optimizer, params), (optimizer, model), a TrainState, an nnx.Optimizer, a Loop with its own "
    "optimizer or (optimizer, Loop)"
)


class Made(NamedTuple):
    """What is inspected.

    Attributes:
        optimizer: An `(init, update)` pair.
        params: Arrays, or shapes of arrays.
        state: The optimizer's state where the user has made one, else `None`.
        steps: The length of the run where a Loop says it, else `None`.
    """

    optimizer: Any
    params: Any
    state: Any = None
    steps: int | None = None


def optimizer_and_params(made: Any) -> Made:
    """The optimizer, the params and the state that one of the forms in `WANTED` holds.

    >>> import jax, optax
    >>> optimizer_and_params((optax.sgd(0.1), {"w": jax.ShapeDtypeStruct((3,), "float32")})).params
    {'w': ShapeDtypeStruct(shape=(3,), dtype=float32)}

    Raises:
        TypeError: For anything else; the message says what came.
    """
    if isinstance(made, Loop | Task):
        return of_own(as_loop(made))
    if hasattr(made, "tx") and hasattr(made, "params"):  # Flax's TrainState
        return Made(made.tx, made.params, getattr(made, "opt_state", None))
    if hasattr(made, "tx") and hasattr(made, "opt_state"):  # nnx.Optimizer
        return of_nnx(made, getattr(made, "model", None))
    if isinstance(made, tuple) and len(made) == 2:
        first, second = made if is_optimizer(made[0]) else made[::-1]
        if hasattr(first, "tx") and hasattr(first, "opt_state"):
            return of_nnx(first, second)
        if is_optimizer(first) and isinstance(second, Loop | Task):
            loop = as_loop(second)
            return Made(first, bound.trained_by(loop, first)[0], steps=loop.steps)
        if is_optimizer(first):
            return Made(first, arrays(of_model(second)))
    raise TypeError(f"make() gave {type(made).__name__}; wanted {WANTED}")


def is_optimizer(thing: Any) -> bool:
    """Whether it is an `(init, update)` pair, or holds one with its state as nnx.Optimizer does."""
    pair = hasattr(thing, "init") and hasattr(thing, "update") and not isinstance(thing, dict)
    return pair or (hasattr(thing, "tx") and hasattr(thing, "opt_state"))


def of_nnx(optimizer: Any, model: Any) -> Made:
    """An nnx.Optimizer, with its model or with the params that its state mirrors."""
    from flax import nnx

    state = pure(optimizer.opt_state)
    if model is not None:
        wrt = getattr(optimizer, "wrt", nnx.Param)
        return Made(optimizer.tx, nnx.to_pure_dict(nnx.state(model, wrt)), state)
    for mirrored in subtrees(state):
        if fits(optimizer.tx, mirrored, state):
            return Made(optimizer.tx, mirrored, state)
    raise TypeError(
        "the state of this nnx.Optimizer does not tell its params; return (optimizer, model)"
    )


def of_model(params: Any) -> Any:
    """The params of an nnx module; anything else as it is."""
    if "flax.nnx" in sys.modules:
        from flax import nnx

        if isinstance(params, nnx.Module):
            return nnx.to_pure_dict(nnx.state(params, nnx.Param))
    return params


def pure(state: Any) -> Any:
    """A state of nnx with arrays for its variables, and dicts for its States."""
    from flax import nnx

    def plain(node: Any) -> Any:
        return nnx.to_pure_dict(node) if isinstance(node, nnx.State) else node.get_value()

    wrapped = (nnx.State, nnx.Variable)
    return jax.tree.map(plain, state, is_leaf=lambda node: isinstance(node, wrapped))


def of_own(loop: Loop) -> Made:
    """A Loop with the optimizer that its `own` puts into the state."""
    if loop.own is None:
        raise TypeError(f"Loop {loop.name} has no own optimizer; return (optimizer, Loop)")
    with lenient():
        state = loop.own(start_key(0))
    parts = list(holders(state))
    for part in parts:
        try:
            return optimizer_and_params(part)._replace(steps=loop.steps)
        except TypeError:
            continue
    for optimizer in filter(is_optimizer, parts):
        for params in subtrees(state):
            for opt_state in subtrees(state):
                if opt_state is not params and fits(optimizer, params, opt_state):
                    return Made(optimizer, arrays(params), opt_state, loop.steps)
    raise TypeError(f"the state of Loop {loop.name}'s own holds no optimizer; wanted {WANTED}")


def holders(state: Any) -> Iterator[Any]:
    """A loop's state and the parts of it, as deep as tuples, dicts and fields go."""
    yield state
    if isinstance(state, dict):
        parts = list(state.values())
    elif isinstance(state, list | tuple):
        parts = list(state)
    else:
        parts = list(getattr(state, "__dict__", {}).values())
    for part in parts:
        if not hasattr(part, "dtype"):
            yield from holders(part)


def subtrees(tree: Any) -> Iterator[Any]:
    """A tree and all trees below it, the whole first."""
    yield tree
    children = jax.tree_util.tree_flatten(tree, is_leaf=lambda node: node is not tree)[0]
    if len(children) != 1 or children[0] is not tree:
        for child in children:
            yield from subtrees(child)


def fits(optimizer: Any, params: Any, state: Any) -> bool:
    """Whether the optimizer's state for these params has the shapes of `state`."""
    leaves = jax.tree.leaves((params, state))
    if not jax.tree.leaves(params) or not all(hasattr(leaf, "shape") for leaf in leaves):
        return False
    try:
        other = jax.eval_shape(optimizer.init, arrays(params))
    except Exception:  # not the params then
        return False
    shapes = [[leaf.shape for leaf in jax.tree.leaves(each)] for each in (state, other)]
    structures: list[Any] = [jax.tree.structure(each) for each in (state, other)]
    return structures[0] == structures[1] and shapes[0] == shapes[1]


def arrays(params: Any) -> Any:
    """Params whose leaves are arrays; other leaves, such as a model's functions, become `None`."""
    return jax.tree.map(lambda leaf: leaf if hasattr(leaf, "shape") else None, params)
