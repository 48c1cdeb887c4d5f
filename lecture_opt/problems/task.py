"""The short form of a problem: a pure loss of params and arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from optax import contrib

from lecture_opt import losses
from lecture_opt.numerics import PyTree
from lecture_opt.problems.loop import Loop, check_counts, takes_key
from lecture_opt.problems.parts import Pool, TaskError, check_data

Params = PyTree
Data = PyTree


@dataclass(frozen=True)
class Task:
    """The short form of a `Loop`: what to train and how to judge it.

    Attributes:
        name: As tables and plots show it.
        init: Key -> params.
        loss: (params, part[, key]) -> scalar that the optimizer lowers.
        metric: (params, part[, key]) -> scalar to choose and report by.
        data: A `Pool`, or (train, validation, test), as for `Loop`.
        metric_name: What `metric` measures, with its unit.
        higher_is_better: The metric's direction.
        description: One sentence.
        batch_size, steps, evaluations, target: As for `Loop`.
    """

    name: str
    init: Callable[[jax.Array], Params]
    loss: Callable[..., jax.Array]
    metric: Callable[..., jax.Array]
    data: Pool | tuple[Any, Data, Data]
    metric_name: str = "loss"
    higher_is_better: bool = False
    description: str = ""
    batch_size: int = 32
    steps: int = 400
    evaluations: int = 20
    target: float | None = None

    def __post_init__(self) -> None:
        """Raises TaskError, naming the field that makes no sense."""
        check_data(f"Task {self.name}", self.data)
        check_counts(f"Task {self.name}", self)

    def parts(self, seed: int = 0) -> tuple[Any, Data, Data]:
        """(train, validation, test) as the run of this seed sees them."""
        return self.data.parts(seed) if isinstance(self.data, Pool) else self.data


class TaskState(NamedTuple):
    """What the loop of a `Task` carries."""

    params: Params
    opt_state: PyTree
    optimizer: optax.GradientTransformationExtraArgs


def as_loop(problem: Loop | Task) -> Loop:
    """The loop itself, or the one that trains a task."""
    if isinstance(problem, Loop):
        return problem
    task = problem

    def start(optimizer: optax.GradientTransformation, key: jax.Array) -> TaskState:
        params = task.init(key)
        extra = optax.with_extra_args_support(optimizer)
        return TaskState(params, extra.init(params), extra)

    def step(state: TaskState, batch: Data, key: jax.Array) -> tuple[TaskState, jax.Array]:
        def loss_of(params: Params) -> jax.Array:
            loss = (
                task.loss(params, batch, key) if takes_key(task.loss) else task.loss(params, batch)
            )
            if loss.shape != ():
                raise TaskError(f"its loss has shape {loss.shape}; wanted a scalar")
            return loss

        params, opt_state, optimizer = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params, value=loss)
        return TaskState(optax.apply_updates(params, updates), opt_state, optimizer), loss

    def metric(state: TaskState, part: Data, key: jax.Array) -> jax.Array:
        given = (part, key) if takes_key(task.metric) else (part,)
        return task.metric(eval_params(state.optimizer, state.opt_state, state.params), *given)

    return Loop(
        task.name,
        start,
        step,
        metric,
        task.data,
        batch_size=task.batch_size,
        steps=task.steps,
        evaluations=task.evaluations,
        metric_name=task.metric_name,
        higher_is_better=task.higher_is_better,
        description=task.description,
        target=task.target,
    )


def eval_params(optimizer: Any, opt_state: PyTree, params: Params) -> Params:
    """The params to evaluate at: an optimizer that keeps an average offers others than it trains.

    It offers them by an attribute `eval_params(opt_state, params)`, its own or that of its
    `update`, or as optax's schedule-free does, by its state.
    """
    for owner in (optimizer, optimizer.update):
        if hasattr(owner, "eval_params"):
            return owner.eval_params(opt_state, params)
    states = schedule_free(opt_state)
    return contrib.schedule_free_eval_params(states[0], params) if states else params


def schedule_free(opt_state: PyTree) -> list[contrib.ScheduleFreeState]:
    """The states of optax's schedule-free within that of an optimizer."""

    def is_one(node: Any) -> bool:
        return isinstance(node, contrib.ScheduleFreeState)

    return list(filter(is_one, jax.tree.leaves(opt_state, is_leaf=is_one)))


def split(x: np.ndarray, y: np.ndarray, *, standardise: bool = True, block: int = 1) -> Pool:
    """(x, y) of floats or integers as a pool, which every seed splits into 60, 20 and 20 %.

    `standardise` brings each feature of `x` to mean 0 and deviation 1 over the pool, for which no
    label is looked at; so the data are the same in every run, and only the parts differ.

    >>> train, validation, test = split(np.ones((10, 3)), np.arange(10)).parts(seed=0)
    >>> train[0].shape, validation[1].shape
    ((6, 3), (2,))
    """
    if standardise:
        deviation = x.std(axis=0)
        x = (x - x.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    kinds = [np.float32 if np.issubdtype(a.dtype, np.floating) else np.int32 for a in (x, y)]
    return Pool((x.astype(kinds[0]), y.astype(kinds[1])), block=block)


def classifier(name: str, init: Any, apply: Any, data: Pool, description: str) -> Task:
    """A task of softmax cross-entropy whose metric is accuracy; parts of the data are (x, y)."""

    def loss(params: Params, part: Data) -> jax.Array:
        return losses.softmax_cross_entropy(apply(params, part[0]), part[1])

    def accuracy(params: Params, part: Data) -> jax.Array:
        best = apply(params, part[0]).argmax(axis=-1).astype(part[1].dtype)
        return (best == part[1]).astype(np.float32).mean()

    return Task(name, init, loss, accuracy, data, "accuracy", True, description)


def binary_classifier(name: str, init: Any, apply: Any, data: Pool, description: str) -> Task:
    """A task of sigmoid cross-entropy whose metric is accuracy; y is 0.0 or 1.0."""

    def loss(params: Params, part: Data) -> jax.Array:
        return losses.sigmoid_cross_entropy(apply(params, part[0]), part[1])

    def accuracy(params: Params, part: Data) -> jax.Array:
        return ((apply(params, part[0]) > 0) == (part[1] > 0.5)).astype(np.float32).mean()

    return Task(name, init, loss, accuracy, data, "accuracy", True, description)
