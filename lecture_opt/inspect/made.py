"""What a user's `make()` may give: an optimizer and params in one of several forms."""

from typing import Any

import jax


def optimizer_and_params(made: Any) -> tuple[Any, Any]:
    """The optimizer and the params that a pair, a TrainState or an nnx.Optimizer holds.

    Raises:
        TypeError: For anything else; the message says what came.
    """
    if hasattr(made, "tx") and hasattr(made, "params"):  # Flax's TrainState
        return made.tx, made.params
    if hasattr(made, "tx") and hasattr(made, "model"):  # nnx.Optimizer
        from flax import nnx

        return made.tx, nnx.to_pure_dict(nnx.state(made.model, nnx.Param))
    if isinstance(made, tuple) and len(made) == 2:
        first, second = made
        if hasattr(first, "init") and hasattr(first, "update"):
            return first, shapes(second)
    raise TypeError(
        f"make() gave {type(made).__name__}; wanted (optimizer, params), a TrainState or an "
        "nnx.Optimizer"
    )


def shapes(params: Any) -> Any:
    """Params whose leaves are arrays; other leaves, such as a model's functions, become `None`."""
    return jax.tree.map(lambda leaf: leaf if hasattr(leaf, "shape") else None, params)
