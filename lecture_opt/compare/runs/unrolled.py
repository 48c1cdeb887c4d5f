"""Optimizers of many settings in one program, where their constructor takes no tracer.

The gradients of all runs are batched as ever; only `init` and `update` go setting by setting, by a
batching rule of their own.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.custom_batching import custom_vmap

from lecture_opt.problems import eval_params


class Each(NamedTuple):
    """The states of all settings, where their trees differ. A run steps that of its own."""

    states: tuple[Any, ...]


def unrolled(
    optimizers: Sequence[optax.GradientTransformation], number: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """One optimizer for a `vmap` over runs, of which run i has the setting i modulo their count.

    `number` is the setting of the run, a tracer of that `vmap`: it makes sure that what `init` and
    `update` are given is batched.
    """
    extended = [optax.with_extra_args_support(optimizer) for optimizer in optimizers]

    def first(optimizer: Any) -> Callable[..., Any]:
        return lambda _, params: optimizer.init(params)

    def init(params: Any) -> Any:
        shapes = [jax.eval_shape(optimizer.init, params) for optimizer in extended]
        if all(shape == shapes[0] for shape in shapes):
            return _one_by_one([first(o) for o in extended])(number, params)
        return Each(tuple(optimizer.init(params) for optimizer in extended))

    def update(grads: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        functions = {k: v for k, v in extra_args.items() if callable(v)}
        arrays = {k: v for k, v in extra_args.items() if k not in functions}

        def one(own: int) -> Callable[..., Any]:
            def step(_: Any, grads: Any, state: Any, params: Any, arrays: Any) -> Any:
                states = list(state.states) if isinstance(state, Each) else {own: state}
                updates, states[own] = extended[own].update(
                    grads, states[own], params, **arrays, **functions
                )
                return updates, Each(tuple(states)) if isinstance(state, Each) else states[own]

            return step

        steps = [one(i) for i in range(len(extended))]
        return _one_by_one(steps)(number, grads, state, params, arrays)

    def evaluated(state: Any, params: Any) -> Any:
        def one(own: int) -> Callable[..., Any]:
            def params_of(_: Any, state: Any, params: Any) -> Any:
                state = state.states[own] if isinstance(state, Each) else state
                return eval_params(extended[own], state, params)

            return params_of

        return _one_by_one([one(i) for i in range(len(extended))])(number, state, params)

    if all(hasattr(optimizer.update, "eval_params") for optimizer in extended):
        vars(update)["eval_params"] = evaluated
    return optax.GradientTransformationExtraArgs(init, update)


def _one_by_one(functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """A function whose batch is served by `functions` in turn, each for the runs of its setting."""
    count = len(functions)
    whole = custom_vmap(functions[0])

    @whole.def_vmap
    def rule(size: int, batched: Any, *args: Any) -> Any:
        def spread(leaf: jax.Array, is_batched: bool) -> jax.Array:
            return leaf if is_batched else jnp.broadcast_to(leaf, (size, *jnp.shape(leaf)))

        args = jax.tree.map(spread, args, tuple(batched))
        results = [
            jax.vmap(function)(*jax.tree.map(lambda leaf, i=i: leaf[i::count], args))
            for i, function in enumerate(functions)
        ]
        joined = jax.tree.map(
            lambda *leaves: jnp.stack(leaves, 1).reshape(size, *leaves[0].shape[1:]), *results
        )
        return joined, jax.tree.map(lambda _: True, joined)

    return whole
