"""A loop, looked at before any optimizer is: whether it can be traced, and how its runs go."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.compare.runs import drivers
from lecture_opt.compare.runs.errors import from_host, reason, untraced
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.numerics import PyTree
from lecture_opt.problems import bound
from lecture_opt.problems.loop import Loop, State, batches, sample_batch, start_key, step_key
from lecture_opt.problems.parts import TaskError
from lecture_opt.problems.tracing import trace_metric, trace_step


class Examined(NamedTuple):
    """What was seen of a loop, trained by optax's SGD.

    Attributes:
        loop: The loop; with a host metric, where its metric can't be traced.
        params: The shapes of what its optimizer trains.
        driver: How its runs go.
        notes: What to know of it, in sentences.
        metric: Digest of the program of its metric; empty where that can't be traced.
    """

    loop: Loop
    params: PyTree
    driver: drivers.Driver
    notes: Sequence[str] = ()
    metric: str = ""


def examine(loop: Loop) -> Examined:
    """Looks at a loop; TaskError where it can't train, or ignores the optimizer it is given."""

    def start(scalars: bound.Scalars) -> Callable[[jax.Array], State]:
        optimizer = optax.with_extra_args_support(optax.sgd(scalars["learning_rate"]))
        return lambda key: loop.start(optimizer, key)

    params: PyTree = ()
    notes: list[str] = []
    metric = ""
    scalars = {"learning_rate": np.float32(0.1)}
    with users_code():
        try:
            params, _ = bound.trained_by(loop, optax.sgd(0.1))
            metric, why = _metric(loop, start, scalars)
            if why:
                loop = dataclasses.replace(loop, host_metric=True)
                notes = [f"its metric is taken on the host, as it can't be traced: {why}"]
            _, step = trace_step(loop, start, scalars, sample_batch(loop))
        except Exception as error:
            if why := untraced(error):
                _check_on_host(loop)
                driver = drivers.Driver(False, False, why)
                return Examined(loop, params, driver, [from_host(why)], metric)
            raise TaskError(f"{loop.name} can't be trained: {reason(error)}") from error
        try:  # a jitted step may hold on to the optimizer that it was traced with
            _, step = trace_step(loop, start, scalars, sample_batch(loop))
        except Exception as error:
            raise _closed_over(loop) from error
    if not drivers.reaches(step.jaxpr, step.jaxpr.invars[0]):
        raise _closed_over(loop)
    if spread := drivers.spread(step):
        notes.append("runs go one on each device, and none is spread over several")
    if spread - {"device_put"}:
        raise TaskError(
            f"{loop.name}: its state is spread over devices ({', '.join(sorted(spread))}), where "
            "compare gives each device runs of its own; make its mesh of one device"
        )
    return Examined(loop, params, drivers.choose(step, jax.default_backend()), notes, metric)


def _closed_over(loop: Loop) -> TaskError:
    return TaskError(
        f"{loop.name}: the learning rate of the optimizer that `start` is given changes nothing. A "
        "step that closes over an optimizer of its own trains with that one, whatever is compared, "
        "and so does a jitted step with the optimizer of its first call: carry the optimizer in "
        "the state, or make the step in `start` and carry that"
    )


def _check_on_host(loop: Loop) -> None:
    """TaskError where two rates train alike, or a step raises."""

    def after(steps: int, rate: float) -> list[np.ndarray]:
        key, batch = start_key(0), batches(loop, 0)
        state = loop.start(optax.with_extra_args_support(optax.sgd(rate)), key)
        for count in range(steps):
            state, _ = bound.advance(loop, state, next(batch), step_key(key, count))
        leaves = [leaf for leaf in bound.flatten(state)[0] if isinstance(leaf, jax.Array)]
        return [np.asarray(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    try:
        before, slow, fast = after(0, 0.1), after(2, 1e-3), after(2, 0.1)
    except jax.errors.UnexpectedTracerError as error:
        raise _closed_over(loop) from error
    except Exception as error:
        raise TaskError(f"{loop.name} can't be trained: {reason(error)}") from error
    moved = not all(map(np.array_equal, before, slow))
    if moved and all(map(np.array_equal, slow, fast)):
        raise _closed_over(loop)


def _metric(
    loop: Loop, start: Callable[[bound.Scalars], bound.Make], scalars: bound.Scalars
) -> tuple[str, str]:
    """The digest of the traced metric, and why it can't be traced; both empty for a host metric."""
    validation = loop.parts()[1]
    if loop.host_metric:
        return "", ""
    part = validation[0] if isinstance(validation, list) else validation
    try:
        program = trace_metric(loop, start, scalars, part)
        if drivers.is_one_run(program):
            return "", "it calls the host for one run at a time"
        return drivers.digest(program), ""
    except Exception as error:
        if (why := untraced(error)) and not isinstance(validation, list):
            return "", why
        raise
