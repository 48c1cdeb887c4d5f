"""The sweep: every learning rate and seed of one optimizer on one task, as one compiled program.

`vmap` runs over seeds and learning rates, `scan` over steps, with the evaluation inside. A seed
fixes the initial params and the minibatches whatever the optimizer and the rate, so that runs
are paired. A run that diverges is frozen where it was and marked; the others never see it.

    start = prepare(task, seeds=(0, 1), steps=100, batch_size=32, evaluations=10)
    program = lower(task, optax.adam, start, (0.01, 0.1)).compile(fast_compile_options())
    result = sweep(program, start, (0.01, 0.1))

The three are apart because compiling is most of the cost: programs are traced in turn, which
finds every mistake before any training, and compiled at once on all cores.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.compare.tasks import Task


class Sweep(NamedTuple):
    """One optimizer on one task. Leading axes: (seeds, learning rates).

    Attributes:
      params: the params after the last step, or those a diverged run was frozen at.
      losses: (..., evaluations) mean training loss since the previous evaluation.
      validation: (..., evaluations) validation metric.
      diverged: (...) whether the loss or a parameter stopped being finite.
    """

    params: Any
    losses: Any
    validation: Any
    diverged: Any


class Start(NamedTuple):
    """What a seed fixes, the same for every optimizer: leading axis (seeds).

    Attributes:
      params: initial params.
      rows: (..., evaluations, steps between them, batch_size) row numbers of the training data.
    """

    params: Any
    rows: Any


def prepare(
    task: Task, *, seeds: tuple[int, ...], steps: int, batch_size: int, evaluations: int
) -> Start:
    """The initial params and the minibatches of every seed; made once for a task."""
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    init = jax.jit(jax.vmap(task.init)).lower(keys).compile(fast_compile_options())
    rows = [batches(seed, len(task.train[0]), steps, batch_size) for seed in seeds]
    shape = (len(seeds), evaluations, steps // evaluations, batch_size)
    return Start(init(keys), np.reshape(rows, shape))


def batches(seed: int, examples: int, steps: int, batch_size: int) -> np.ndarray:
    """(steps, batch_size) row numbers: shuffled epochs, each without its incomplete last batch.

    Drawn by NumPy: compiling the shuffles for XLA takes longer than a whole sweep.
    """
    rng = np.random.default_rng(seed)
    per_epoch = examples // batch_size
    orders = [
        rng.permutation(examples)[: per_epoch * batch_size].reshape(per_epoch, batch_size)
        for _ in range(-(-steps // per_epoch))
    ]
    return np.concatenate(orders)[:steps].astype(np.int32)


def lower(
    task: Task,
    constructor: Callable[..., optax.GradientTransformation],
    start: Start,
    learning_rates: tuple[float, ...],
) -> jax.stages.Lowered:
    """Traces the training of `constructor(learning_rate)` for each seed and learning rate."""

    def train(learning_rate: jax.Array, params: Any, rows: jax.Array) -> Sweep:
        optimizer = optax.with_extra_args_support(constructor(learning_rate=learning_rate))

        def step(carry: Any, batch_rows: jax.Array) -> tuple[Any, jax.Array]:
            params, state, alive = carry
            batch = jax.tree.map(lambda leaf: leaf[batch_rows], task.train)
            loss, grads = jax.value_and_grad(task.loss)(params, batch)
            updates, state = optimizer.update(grads, state, params, value=loss)
            moved = optax.apply_updates(params, updates)
            alive = alive & jnp.isfinite(loss) & _finite(moved)
            # The state of a dead run may hold anything: its params no longer follow it.
            params = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, params)
            return (params, state, alive), jnp.where(alive, loss, jnp.nan)

        def stretch(carry: Any, rows: jax.Array) -> tuple[Any, Any]:
            carry, losses = jax.lax.scan(step, carry, rows)
            return carry, (losses.mean(), task.metric(carry[0], task.validation))

        carry = params, optimizer.init(params), jnp.array(True)
        (params, _, alive), (losses, validation) = jax.lax.scan(stretch, carry, rows)
        return Sweep(params, losses, validation, ~alive)

    over_rates = jax.vmap(train, in_axes=(0, 0, None))
    over_seeds = jax.vmap(over_rates, in_axes=(None, 0, 0))
    return jax.jit(over_seeds, donate_argnums=1).lower(*_arguments(start, learning_rates))


def sweep(program: jax.stages.Compiled, start: Start, learning_rates: tuple[float, ...]) -> Sweep:
    """Runs a compiled program; returns when it is done."""
    result: Sweep = jax.block_until_ready(program(*_arguments(start, learning_rates)))
    return result._replace(
        **{name: np.asarray(getattr(result, name)) for name in ("losses", "validation", "diverged")}
    )


def _arguments(start: Start, learning_rates: tuple[float, ...]) -> tuple[Any, Any, Any]:
    """The program's arguments; params are repeated for each rate, since every run owns its own."""

    def repeated(leaf: Any) -> jax.Array:
        shape = (leaf.shape[0], len(learning_rates), *leaf.shape[1:])
        return jnp.array(np.broadcast_to(np.asarray(leaf)[:, None], shape))

    rates = jnp.asarray(learning_rates, jnp.float32)
    return rates, jax.tree.map(repeated, start.params), jnp.asarray(start.rows)


def _finite(tree: Any) -> jax.Array:
    """Whether all is finite, by one sum a leaf: not-a-numbers and infinities survive a sum."""
    return jnp.all(
        jnp.stack([jnp.isfinite(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)])
    )


@functools.cache
def fast_compile_options() -> dict[str, Any]:
    """Options under which XLA compiles these small programs in half the time or less.

    The names come and go with XLA's versions; those that this one refuses are left out.
    """
    wanted = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
    if jax.default_backend() != "cpu":
        return {}
    return {name: value for name, value in wanted.items() if _is_option(name, value)}


def _is_option(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda x: x).lower(1.0).compile({name: value})
    except RuntimeError:
        return False
    return True
