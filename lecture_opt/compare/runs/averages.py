"""Optimizers that keep an average of the params, on loops whose metric doesn't look at it."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from lecture_opt.compare.runs.entrants import Entrant, Setting
from lecture_opt.compare.runs.examine import Examined
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.problems.loop import State
from lecture_opt.problems.task import schedule_free
from lecture_opt.problems.tracing import needed, trace_metric


def goes_unread(entrant: Entrant, examined: Examined, setting: Setting) -> bool:
    """Whether the optimizer offers params to evaluate at and the metric is that of one without.

    False where that can't be said: the loop has an optimizer of its own, or can't be traced.
    """
    loop, one = entrant.loop, entrant._replace(settings=(setting,))
    if entrant.build is None or entrant.driver.host or loop.host_metric:
        return False
    validation = loop.parts()[1]
    part = validation[0] if isinstance(validation, list) else validation

    def plain(_: Any) -> Callable[[jax.Array], State]:
        return lambda key: loop.start(optax.with_extra_args_support(optax.sgd(0.1)), key)

    with users_code():
        optimizer = entrant.made(setting)
        state = jax.eval_shape(optimizer.init, examined.params)
        if not hasattr(optimizer.update, "eval_params") and not schedule_free(state):
            return False
        of_entrant, of_plain = (
            trace_metric(loop, start, setting, part) for start in (one.start, plain)
        )
    return needed(of_entrant) == needed(of_plain)
