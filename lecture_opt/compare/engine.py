"""The sweep: every learning rate and seed of one optimizer on one task, as one compiled program.

`vmap` runs over seeds and learning rates, `scan` over steps, with the evaluation inside. A seed
fixes the initial params and the minibatches whatever the optimizer and the rate, so that runs
are paired. A run that diverges is frozen where it was and marked; the others never see it.
"""

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
      losses: (..., evaluations) mean training loss since the previous evaluation.
      validation: (..., evaluations) validation metric.
      test: (...) test metric after the last step.
      diverged: (...) whether the loss or a parameter stopped being finite.
    """

    losses: Any
    validation: Any
    test: Any
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
    params = jax.vmap(task.init)(jnp.stack([jax.random.key(seed) for seed in seeds]))
    rows = np.stack([batches(seed, len(task.train[0]), steps, batch_size) for seed in seeds])
    return Start(params, rows.reshape(len(seeds), evaluations, -1, batch_size))


def sweep(
    task: Task,
    constructor: Callable[..., optax.GradientTransformation],
    start: Start,
    learning_rates: tuple[float, ...],
) -> Sweep:
    """Trains `constructor(learning_rate)` on the task for each seed and learning rate."""

    def train(learning_rate: jax.Array, params: Any, rows: jax.Array) -> Sweep:
        optimizer = optax.with_extra_args_support(constructor(learning_rate=learning_rate))

        def step(carry: Any, batch_rows: jax.Array) -> tuple[Any, jax.Array]:
            params, state, alive = carry
            batch = jax.tree.map(lambda leaf: leaf[batch_rows], task.train)
            loss, grads = jax.value_and_grad(task.loss)(params, batch)
            updates, new_state = optimizer.update(grads, state, params, value=loss)
            new_params = optax.apply_updates(params, updates)
            alive = alive & jnp.isfinite(loss) & _finite(new_params)
            kept = jax.tree.map(
                lambda new, old: jnp.where(alive, new, old),
                (new_params, new_state),
                (params, state),
            )
            return (*kept, alive), jnp.where(alive, loss, jnp.nan)

        def stretch(carry: Any, rows: jax.Array) -> tuple[Any, Any]:
            carry, losses = jax.lax.scan(step, carry, rows)
            return carry, (losses.mean(), task.metric(carry[0], task.validation))

        start = params, optimizer.init(params), jnp.array(True)
        (params, _, alive), (losses, validation) = jax.lax.scan(stretch, start, rows)
        return Sweep(losses, validation, task.metric(params, task.test), ~alive)

    over_rates = jax.vmap(train, in_axes=(0, None, None))
    over_seeds = jax.vmap(over_rates, in_axes=(None, 0, 0))
    result = jax.jit(over_seeds)(jnp.asarray(learning_rates), *start)
    return Sweep(*(np.asarray(value) for value in result))


def batches(seed: int, examples: int, steps: int, batch_size: int) -> np.ndarray:
    """(steps, batch_size) row numbers: shuffled epochs, each without its incomplete last batch.

    Drawn by NumPy: compiling the shuffles for XLA takes longer than a whole sweep.
    """
    generator = np.random.default_rng(seed)
    per_epoch = examples // batch_size
    orders = [generator.permutation(examples) for _ in range(-(-steps // per_epoch))]
    rows = np.stack(orders)[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return rows[:steps].astype(np.int32)


def _finite(tree: Any) -> jax.Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))
