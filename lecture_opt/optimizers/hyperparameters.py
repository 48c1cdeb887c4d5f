"""Hyperparameters: the intervals they lie in, decays with an exact 1 - b, and schedules.

Each may be a Python number, an array, or traced: then a sweep over it is a `vmap`, and nothing
here asks for its value.

>>> check_scalar("adam", "b1", 1.5, BELOW_ONE)
Traceback (most recent call last):
    ...
ValueError: adam: b1=1.5 is outside [0, 1)
"""

import dataclasses
import difflib
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.numerics import known

Schedule: TypeAlias = Callable[[jax.Array], ArrayLike]
ScalarOrSchedule: TypeAlias = ArrayLike | Schedule

P = ParamSpec("P")
R = TypeVar("R")

MEANT = {
    "lr": ("learning_rate",),
    "epsilon": ("eps",),
    "e": ("eps",),
    "rho": ("decay",),
    "l": ("b1_decay",),
    "beta": ("momentum", "decay"),
    "beta1": ("b1",),
    "beta2": ("b2",),
}
"""What the slides and other libraries call an argument, and its name here."""


def hinted(constructor: Callable[P, R]) -> Callable[P, R]:
    """The constructor, whose error for an unknown argument says which one was meant."""
    known = list(inspect.signature(constructor).parameters)

    @functools.wraps(constructor)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs.keys() - known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = [*(other for other in MEANT.get(name, ()) if other in known), *near]
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"
            raise TypeError(f"{constructor.__name__}: {name} is not an argument; {hint}")
        return constructor(*args, **kwargs)

    return checked


@dataclasses.dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; `high` itself is in it where it is closed."""

    low: float
    high: float
    closed: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value and (value <= self.high if self.closed else value < self.high)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}{']' if self.closed else ')'}"


NOT_NEGATIVE = Interval(0, math.inf)
BELOW_ONE = Interval(0, 1)
UP_TO_ONE = Interval(0, 1, closed=True)


def check_scalar(function: str, name: str, value: ArrayLike, interval: Interval) -> None:
    """Raises where `value` is not a real scalar or, being known, lies outside the interval.

    The interval is judged after rounding to the default float dtype, in which the scalars of a
    step are computed: in float32 a decay of 1 - 1e-9 is 1.
    """
    if not _is_real_scalar(value):
        raise TypeError(f"{function}: {name} must be a real scalar; got {_describe(value)}")
    if known(value):
        rounded = _in_default_float(value)
        if rounded not in interval:
            why = f" (it is {rounded} in {jnp.result_type(float)})"
            raise ValueError(
                f"{function}: {name}={value} is outside {interval}"
                + (why if float(np.asarray(value)) in interval else "")
            )


def _is_real_scalar(value: Any) -> TypeGuard[ArrayLike]:
    try:
        shape, dtype = np.shape(value), jnp.result_type(value)
    except (TypeError, ValueError):
        return False
    real = jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(dtype, jnp.complexfloating)
    return value is not None and shape == () and real


def _in_default_float(value: ArrayLike) -> float:
    return float(np.asarray(value, dtype=jnp.result_type(float)))


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    return f"{value!r}" if shape is None else f"an array of shape {shape} and type {value.dtype}"  # type: ignore[attr-defined]  # it has a shape


def weak(value: ArrayLike) -> ArrayLike:
    """A Python number as a float: where it meets an array, JAX keeps the array's dtype."""
    return float(value) if isinstance(value, int | float) else value


def current_rate(learning_rate: ScalarOrSchedule, count: jax.Array) -> ArrayLike:
    """The learning rate at `count` steps done: the schedule's value there, or the constant."""
    if not callable(learning_rate):
        return learning_rate
    rate = learning_rate(count)
    if not _is_real_scalar(rate):
        raise TypeError(f"the learning_rate's schedule gives {_describe(rate)}; wanted a scalar")
    return rate


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Decay:
    """A number from 0 to 1 that a rule writes as it would any other, and its distance from 1.

    `1 - b` of a Python float is taken in Python: in float32 `1 - float32(0.999)` is off by 1e-5.
    Decays multiplied, or raised to a power, stay decays. A 1 that is known stays out of the
    arithmetic, so that no array waits for a power of it.

    >>> b = Decay.of(0.999)
    >>> b * 2.0, 1 - b, (b**2).value
    (1.998, 0.0010000000000000009, 0.998001)
    """

    value: Any
    complement: Any
    near_one: float | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def of(cls, value: ArrayLike) -> "Decay":
        """The decay of this value."""
        rounds_to_one = known(value) and np.asarray(value, np.float32) == 1
        near_one = float(np.asarray(value)) if rounds_to_one else None
        return cls(weak(value), weak(1 - value), near_one)

    @property
    def is_one(self) -> bool:
        """Whether it is known to be 1 in the default float dtype: 1 - 1e-8 is in float32."""
        return self.near_one is not None and _in_default_float(self.near_one) == 1

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Decay):
            return self.value * other
        if other.is_one:
            return self
        return Decay(self.value * other.value, self.complement + self.value * other.complement)

    __rmul__ = __mul__

    def __pow__(self, exponent: ArrayLike) -> "Decay":
        if self.is_one:
            return self
        power = self.value**exponent
        return Decay(power, 1 - power)

    def __rsub__(self, one: int) -> Any:
        if one != 1:
            raise ValueError(f"a decay is subtracted from 1 alone; got {one}")
        return self.complement
