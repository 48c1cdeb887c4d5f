"""Training many runs at once: one compiled program for an optimizer on a task.

A run is a setting of the hyperparameters and a seed. `vmap` goes over runs, `scan` over steps,
with the evaluation inside. A seed fixes the initial params and the minibatches whatever the
optimizer and the setting, so that runs are paired. The program takes a fixed number of runs;
more are done in several calls, which bounds the memory, and calls are spread over all devices.

    start = prepare(task, seeds=(0, 1), steps=100, batch_size=32, evaluations=10)
    program = build(task, optax.adam, ["learning_rate"], start, runs=4)
    result = train(program, task, start, {"learning_rate": [0.01, 0.1]}, seeds=[0, 1])

Runs never mix, so one that diverges leaves the others alone. It is noticed at the next
evaluation, and put back to where it was at the last one for good.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from lecture_opt.environment import fast_jit, lenient
from lecture_opt.problems.task import Task, examples


class Trained(NamedTuple):
    """Runs on the host, along the first axis.

    Attributes:
        params: After the last step, or where a diverged run was put back to.
        losses: (runs, evaluations) mean training loss since the previous evaluation; NaN once
          diverged.
        validation: (runs, evaluations) validation metric, likewise.
        diverged: (runs,) whether a loss, a parameter or the metric stopped being finite.
    """

    params: Any
    losses: Any
    validation: Any
    diverged: Any


class Start(NamedTuple):
    """What the seeds fix, the same for every optimizer: leading axis (seeds).

    Attributes:
        params: Initial params.
        rows: (seeds, evaluations, steps between them, batch_size) row numbers of the training data.
    """

    params: Any
    rows: Any


class Program(NamedTuple):
    """A compiled training of `runs` runs, and the seconds that making it took."""

    compiled: jax.stages.Compiled
    runs: int
    trace_seconds: float
    compile_seconds: float


def prepare(
    task: Task, *, seeds: Sequence[int], steps: int, batch_size: int, evaluations: int
) -> Start:
    """The initial params and the minibatches of every seed; made once for a task."""
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    with lenient():
        params = fast_jit(jax.vmap(task.init))(keys)
    rows = [batches(seed, examples(task.train), steps, batch_size) for seed in seeds]
    shape = (len(seeds), evaluations, steps // evaluations, batch_size)
    return Start(params, np.reshape(rows, shape))


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


def build(
    task: Task,
    constructor: Callable[..., optax.GradientTransformation],
    names: Sequence[str],
    start: Start,
    *,
    runs: int,
) -> Program:
    """Compiles the training of `runs` runs of `constructor(**hyperparameters)`."""
    began = time.perf_counter()
    many = jax.vmap(_training(task, constructor), in_axes=(0, 0, None, None, None, None))
    mesh = Mesh(np.array(jax.local_devices()), ("runs",))
    if mesh.size > 1:
        many = _spread(many, mesh)
    scalars = {name: np.zeros(runs, np.float32) for name in names}
    arguments = (scalars, np.zeros(runs, np.int32), *start, task.train, task.validation)
    with lenient():
        lowered = fast_jit(many).lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    return Program(compiled, runs, traced - began, time.perf_counter() - traced)


def train(
    program: Program,
    task: Task,
    start: Start,
    hyperparameters: Mapping[str, np.ndarray],
    seeds: np.ndarray,
) -> Trained:
    """Trains one run for each entry of the arrays; `seeds` are places in `start`."""
    count = len(seeds)
    parts = []
    for first in range(0, count, program.runs):
        # A short last call repeats its last run: the program has one size.
        picked = np.minimum(np.arange(first, first + program.runs), count - 1)
        scalars = {k: np.asarray(v, np.float32)[picked] for k, v in hyperparameters.items()}
        indices = np.asarray(seeds, np.int32)[picked]
        result = program.compiled(scalars, indices, *start, task.train, task.validation)
        kept = min(program.runs, count - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], result))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def runs_at_once(start: Start, wanted: int, *, bytes_at_most: int = 2**29) -> int:
    """How many runs a program takes, so that `wanted` need few calls of nearly one size.

    On a CPU ten: few enough for the caches, enough to drown the cost of calls, and no more than are
    reported at once by default. Elsewhere all, as far as the memory goes; a run is taken to need
    eight times its params.
    """
    leaves, seeds = jax.tree.leaves(start.params), len(start.rows)
    size = 8 * sum(leaf.nbytes for leaf in leaves) // seeds + start.rows[0].nbytes
    limit = 10 if jax.default_backend() == "cpu" else wanted
    limit = max(1, min(limit, bytes_at_most // max(size, 1)))
    runs = -(-wanted // -(-wanted // limit))
    devices = jax.local_device_count()
    return -(-runs // devices) * devices


def _training(task: Task, constructor: Callable[..., optax.GradientTransformation]) -> Any:
    """One run as a pure function."""

    def run(
        scalars: Any, seed: Any, params: Any, rows: Any, train: Any, validation: Any
    ) -> Trained:
        optimizer = optax.with_extra_args_support(constructor(**scalars))
        params, rows = jax.tree.map(lambda leaf: leaf[seed], (params, rows))

        def step(carry: Any, batch_rows: jax.Array) -> tuple[Any, jax.Array]:
            params, state = carry
            batch = jax.tree.map(lambda leaf: leaf[batch_rows], train)
            loss, grads = jax.value_and_grad(task.loss)(params, batch)
            updates, state = optimizer.update(grads, state, params, value=loss)
            return (optax.apply_updates(params, updates), state), loss

        def stretch(carry: Any, rows: jax.Array) -> tuple[Any, Any]:
            before, state, alive = carry
            (params, state), losses = jax.lax.scan(step, (before, state), rows)
            loss = losses.mean()
            metric = task.metric(params, validation)
            alive = alive & jnp.isfinite(loss) & jnp.isfinite(metric) & _finite(params)
            # The state of a dead run may hold anything: its params no longer follow it.
            params = jax.tree.map(lambda new, old: jnp.where(alive, new, old), params, before)
            measured = jnp.where(alive, loss, jnp.nan), jnp.where(alive, metric, jnp.nan)
            return (params, state, alive), measured

        carry = params, optimizer.init(params), jnp.array(True)
        (params, _, alive), (losses, metric) = jax.lax.scan(stretch, carry, rows)
        return Trained(params, losses, metric, ~alive)

    return run


def _spread(many: Any, mesh: Mesh) -> Any:
    """The function with its runs spread over the devices; all else is on each of them."""
    split, whole = PartitionSpec("runs"), PartitionSpec()
    specs: dict[str, Any] = {
        "in_specs": (split, split, whole, whole, whole, whole),
        "out_specs": split,
    }
    if hasattr(jax, "shard_map"):
        return jax.shard_map(many, mesh=mesh, check_vma=False, **specs)
    from jax.experimental.shard_map import shard_map  # its place up to jax 0.6.0

    return shard_map(many, mesh=mesh, check_rep=False, **specs)


def _finite(tree: Any) -> jax.Array:
    """Whether all is finite, by one sum a leaf: not-a-numbers and infinities survive a sum."""
    return jnp.all(
        jnp.stack([jnp.isfinite(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)])
    )
