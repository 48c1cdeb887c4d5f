"""What a problem is: the training loop that a user already has.

    def start(optimizer, key):
        params = model.init(key, x)
        return TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

    @jax.jit
    def step(state, batch):
        loss, grads = jax.value_and_grad(loss_of)(state.params, batch)
        return state.apply_gradients(grads=grads), loss

    loop = Loop("mine", start, step, metric, (train, validation, test))

The state is whatever the loop carries: a TrainState, `(model, nnx.Optimizer)`, an Equinox module
with its optimizer state, a tuple. It must hold the optimizer that `start` is given, or the
functions made with it, so that each run trains with its own.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

import jax
import numpy as np
import optax

from lecture_opt.problems.parts import (
    PARTS,
    Batch,
    Part,
    Pool,
    Stream,
    TaskError,
    check_data,
    examples,
    first_axis,
)

State: TypeAlias = Any  # whatever the user's loop carries
_STEPS, _METRICS = 0x57E9, 0x3E7A1C  # what tells the keys of steps and metrics from that of start


@dataclass(frozen=True)
class Loop:
    """A training loop and how to judge it.

    Attributes:
        name: As tables and plots show it.
        start: `(optimizer, key) -> state`.
        step: `(state, batch[, key])` -> `state`, `(state, aux)` or `(aux, state)`, where `aux` is
            the loss or a dict with "loss". A step on nnx modules may change them in place.
        metric: `(state, part[, key])` -> what to choose and report by: a scalar, or a dict that
            has `metric_name`, and "denominator" where the mean over pieces of a part is not over
            examples.
        data: A `Pool`, which every seed splits; or `(train, validation, test)`: arrays with one
            first axis of examples, or lists of batches; `train` may be a function
            `seed -> iterator of batches`.
        axis_name: An axis of size one of this name is around step and metric, for their `pmean`.
        host_metric: Whether `metric` works on NumPy arrays: it is called run by run, untraced, with
            a whole part.
        own: `(key, **hyperparameters) -> state` with the user's own optimizer, an entrant "own".
        batch_size: Examples of a minibatch; of no matter where train is a stream or a list.
        steps: Optimizer steps of a run.
        evaluations: How many times the validation metric is taken, spread evenly over the steps,
            the last time at the end; at most once per step.
        metric_name: What `metric` measures, with its unit.
        higher_is_better: The metric's direction.
        description: One sentence.
        target: Validation metric to count the steps to; `None` takes what the best baseline
            reaches.

    A key is passed to `step` and `metric` only where they require a third argument.
    """

    name: str
    start: Callable[[optax.GradientTransformation, jax.Array], State]
    step: Callable[..., Any]
    metric: Callable[..., Any]
    data: Pool | tuple[Part | Stream, Part, Part]
    _: KW_ONLY
    axis_name: str | None = None
    host_metric: bool = False
    own: Callable[..., State] | None = None
    batch_size: int = 32
    steps: int = 400
    evaluations: int = 20
    metric_name: str = "loss"
    higher_is_better: bool = False
    description: str = ""
    target: float | None = None

    def __post_init__(self) -> None:
        """Raises TaskError, naming the field that makes no sense."""
        for field in ("start", "step", "metric"):
            if not callable(getattr(self, field)):
                raise TaskError(f"Loop {self.name}: {field} must be a function")
        check_data(f"Loop {self.name}", self.data)
        check_counts(f"Loop {self.name}", self)

    def parts(self, seed: int = 0) -> tuple[Part | Stream, Part, Part]:
        """(train, validation, test) as the run of this seed sees them."""
        return self.data.parts(seed) if isinstance(self.data, Pool) else self.data

    def sizes(self) -> tuple[int | None, int | None, int | None]:
        """How many examples the parts have; `None` where a stream doesn't say."""
        if isinstance(self.data, Pool):
            return self.data.sizes()
        train, validation, test = map(examples, self.data)
        return train, validation, test


def evaluated_steps(loop: Loop) -> np.ndarray:
    """(evaluations,) steps done at each evaluation: spread evenly, the last at the end.

    >>> import dataclasses, lecture_opt.problems as problems
    >>> loop = problems.as_loop(problems.load("wine-softmax"))
    >>> evaluated_steps(dataclasses.replace(loop, steps=10, evaluations=3))
    array([ 3,  6, 10])
    """
    count = min(loop.evaluations, loop.steps)
    return np.arange(1, count + 1) * loop.steps // count


def check_counts(whose: str, problem: Any) -> None:
    """Raises TaskError where a problem's batch size, steps, evaluations or target make no sense."""
    for field in ("batch_size", "steps", "evaluations"):
        value = getattr(problem, field)
        if not isinstance(value, int) or value < 1:
            raise TaskError(f"{whose}: {field}={value!r}; wanted a positive integer")
    if problem.target is not None and not np.isfinite(problem.target):
        raise TaskError(f"{whose}: target={problem.target}; wanted a finite metric")


def batch_size(loop: Loop) -> int:
    """How many examples a batch has; of a stream or a list, the first batch."""
    return first_axis(sample_batch(loop))


# ---- keys and batches, the same for every optimizer ---------------------------------------------


def start_key(seed: int | jax.Array) -> jax.Array:
    """The key that `start` gets in the run of this seed."""
    return jax.random.key(seed)


def step_key(seed_key: jax.Array, step: int | jax.Array) -> jax.Array:
    """The key of a step, 0 for the first, from that of `start`."""
    return jax.random.fold_in(jax.random.fold_in(seed_key, _STEPS), step)


def metric_key(part: str) -> jax.Array:
    """The key of the metric on "validation" or "test"; the same in every run."""
    return jax.random.fold_in(jax.random.key(_METRICS), PARTS.index(part))


def takes_key(function: Callable[..., Any]) -> bool:
    """Whether a step, metric or loss requires a third positional argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) >= 3


def rows(seed: int, examples: int, steps: int, batch_size: int) -> np.ndarray:
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


def batches(loop: Loop, seed: int) -> Iterator[Batch]:
    """The training batches of a run, without end; one per step.

    A stream that ends is asked for anew. A batch of another shape than the first, as the last of
    an epoch often is, is left out: it would compile the step again. TaskError where most are.
    """
    train = loop.parts(seed)[0]
    if not callable(train) and not isinstance(train, list):
        for picked in rows(seed, first_axis(train), loop.steps, loop.batch_size):
            yield jax.tree.map(lambda leaf, picked=picked: np.asarray(leaf)[picked], train)
        return
    shape, odd, taken = None, 0, 0
    for epoch in range(loop.steps):
        count = 0
        for batch in train(seed) if callable(train) else _shuffled(train, seed, epoch):
            shape = shape or _shape(batch)
            if _shape(batch) == shape:
                count, taken = count + 1, taken + 1
                yield batch
            elif (odd := odd + 1) > taken + 2:
                raise TaskError(
                    f"{loop.name}: most batches of seed {seed} have another shape than the first, "
                    f"{shape}, as {_shape(batch)}; bring them to one shape"
                )
        if not count:
            raise TaskError(f"{loop.name}: the stream of seed {seed} has no batch")


def sample_batch(loop: Loop) -> Batch:
    """The shapes of a training batch; of a stream, its first batch."""
    train = loop.data.examples if isinstance(loop.data, Pool) else loop.data[0]
    if callable(train) or isinstance(train, list):
        return next(batches(loop, 0))

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(np.result_type(leaf))
        return jax.ShapeDtypeStruct((loop.batch_size, *np.shape(leaf)[1:]), dtype)

    return jax.tree.map(shape, train)


def _shuffled(batches: list[Batch], seed: int, epoch: int) -> Iterator[Batch]:
    order = np.random.default_rng((seed, epoch)).permutation(len(batches))
    return (batches[i] for i in order)


def _shape(batch: Batch) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(batch)]
