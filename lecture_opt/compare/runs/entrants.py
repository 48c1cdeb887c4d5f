"""An optimizer on a loop, looked at before anything runs: how it is made, and how its runs go."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import optax

from lecture_opt import specs
from lecture_opt.compare import schedules
from lecture_opt.compare.runs import drivers
from lecture_opt.compare.runs.errors import reason, untraced
from lecture_opt.compare.runs.examine import Examined
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.compare.runs.unrolled import unrolled
from lecture_opt.numerics import PyTree
from lecture_opt.problems import bound
from lecture_opt.problems.loop import Loop, State, batches, sample_batch, start_key, step_key
from lecture_opt.problems.task import schedule_free
from lecture_opt.problems.tracing import trace_step

Setting: TypeAlias = Mapping[str, Any]
Start: TypeAlias = Callable[..., Callable[[jax.Array], State]]
_SMALL = 100_000  # params; with more, XLA's quick compile costs more than it saves


class Entrant(NamedTuple):
    """An optimizer on a loop.

    Attributes:
        loop: What is trained.
        build: Hyperparameters by name -> optimizer; `None` for the loop's own.
        names: Of the hyperparameters that vary; empty where each setting has its own optimizer.
        driver: How the runs go.
        layout: The arrays of the state; empty where the loop can't be traced.
        settings: What is tried, where the hyperparameters can't be tracers.
        schedule: The shape of the learning rate; `None` where it is constant.
        identity: Digest of the program of a step.
    """

    loop: Loop
    build: Callable[..., optax.GradientTransformation] | None
    names: Sequence[str]
    driver: drivers.Driver
    layout: bound.Layout = ()
    settings: Sequence[Setting] = ()
    schedule: schedules.Schedule | None = None
    identity: str = ""

    def start(self, scalars: Setting, number: Any = 0) -> Callable[[jax.Array], State]:
        """Key -> state, with these hyperparameters or those of the setting with this number."""
        if self.build is None:
            own = self.loop.own
            given = self._scheduled(self.settings[0] if self.settings else scalars)
            assert own is not None
            return lambda key: own(key, **given)
        made = [self.made(setting) for setting in self.settings or (scalars,)]
        optimizer = unrolled(made, number) if len(made) > 1 else made[0]
        extended = optax.with_extra_args_support(optimizer)
        return lambda key: self.loop.start(extended, key)

    def made(self, setting: Setting) -> optax.GradientTransformation:
        """The optimizer of a setting."""
        assert self.build is not None
        return self.build(**self._scheduled(setting))

    def _scheduled(self, setting: Setting) -> Setting:
        """The setting with a schedule for its learning rate, the peak."""
        if self.schedule is None:
            return setting
        rate = self.schedule.of(setting["learning_rate"], self.loop.steps)
        return {**setting, "learning_rate": rate}


def look(
    loop: Loop,
    examined: Examined,
    spec: specs.OptimizerSpec,
    settings: Sequence[Setting],
    schedule: schedules.Schedule | None = None,
) -> Entrant:
    """The optimizer as an entrant; ValueError where it can't train the loop.

    First with tracers for hyperparameters, then, where the constructor takes no tracer, with the
    numbers of the settings; where neither can be traced, steps go from the host. All that with the
    schedule, then, where the optimizer's learning rate takes none, without; schedule-free averages
    its params in a schedule's place and gets none.
    """
    build = builder(loop, spec)
    loop = loop if build is not None else _with_own(loop, spec)
    for shape in dict.fromkeys((schedule, None)):
        entrant = Entrant(loop, build, tuple(settings[0]), examined.driver, schedule=shape)
        try:
            if shape is not None and _is_schedule_free(entrant, examined.params, settings[0]):
                continue
            return _traced(entrant, settings)
        except Exception as error:
            why = error
    raise ValueError(f"{spec.text} can't train {loop.name}: {reason(why)}") from why


def _is_schedule_free(entrant: Entrant, params: PyTree, setting: Setting) -> bool:
    if entrant.build is None:
        return False
    with users_code():
        return bool(schedule_free(jax.eval_shape(entrant.made(setting).init, params)))


def _traced(entrant: Entrant, settings: Sequence[Setting]) -> Entrant:
    """The entrant with what one step of it shows."""
    loop, why = entrant.loop, entrant.driver.host
    scalars = {name: np.float32(value) for name, value in settings[0].items()}
    built = entrant._replace(names=(), settings=tuple(settings))
    for one, given in () if why else ((entrant, scalars), (built, {})):
        with users_code():
            try:
                layout, step = trace_step(loop, one.start, given, sample_batch(loop))
                driver = drivers.choose(step, jax.default_backend())
                return one._replace(layout=layout, identity=drivers.digest(step), driver=driver)
            except Exception as error:
                if not (why := untraced(error)):
                    raise
    if entrant.schedule is not None:
        with users_code():
            state = entrant.start(settings[0])(start_key(0))
            bound.advance(loop, state, next(batches(loop, 0)), step_key(start_key(0), 0))
    return entrant._replace(driver=drivers.Driver(False, False, why))


def with_settings(entrant: Entrant, settings: Sequence[Setting]) -> Entrant:
    """The entrant with these settings alone, which may need another state."""
    entrant = entrant._replace(settings=tuple(settings))
    with users_code():
        layout, _ = trace_step(entrant.loop, entrant.start, {}, sample_batch(entrant.loop))
    return entrant._replace(layout=layout)


def builder(
    loop: Loop, spec: specs.OptimizerSpec
) -> Callable[..., optax.GradientTransformation] | None:
    """Hyperparameters -> the optimizer of a run of this loop; `None` for the loop's own."""
    if specs.is_own(spec):
        return None
    named = {*spec.kwargs, *spec.search}
    fixed = _steps(spec.constructor, loop) if "steps" not in named else {}
    return functools.partial(specs.build, spec, **fixed)


def _with_own(loop: Loop, spec: specs.OptimizerSpec) -> Loop:
    """The loop whose own optimizer has the arguments that the text gives a value."""
    if loop.own is None:
        raise ValueError(
            f"{spec.text}: {loop.name} has no optimizer of its own; give it one, as in "
            "Loop(..., own=lambda key, learning_rate: state)"
        )
    given = {**_steps(loop.own, loop), **spec.kwargs}
    return dataclasses.replace(loop, own=functools.partial(loop.own, **given))


def _steps(constructor: Callable[..., Any] | None, loop: Loop) -> dict[str, int]:
    """The steps of the loop for a function that asks for `steps`."""
    try:
        asks = constructor is not None and "steps" in inspect.signature(constructor).parameters
    except (TypeError, ValueError):  # it has no signature
        asks = False
    return {"steps": loop.steps} if asks else {}


def is_small(entrant: Entrant) -> bool:
    """Whether XLA's quick compile is good enough: its convolutions are 5 % slower than others."""
    return entrant.driver.vmap and sum(a.size for a in entrant.layout if a is not None) < _SMALL
