"""Schedules in the state of exact Adam, which makes up steps long done: it asks them again.

>>> def falling(rate):
...     return lambda count: rate / (1 + float(count))
>>> Schedule(falling(0.1)) == Schedule(falling(0.1)), Schedule(falling(0.1)) == Schedule(falling(1))
(True, False)
>>> pickle.loads(pickle.dumps(Schedule(falling(0.1))))(jnp.int32(1))
0.05
"""

import functools
import importlib
import io
import marshal
import pickle
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from lecture_opt.numerics import known
from lecture_opt.optimizers import hyperparameters


@jax.tree_util.register_static
class Schedule:
    """A schedule that can be pickled, and that equals another made by the same code and numbers.

    A state goes on under an optimizer built anew, whose schedule is another function.
    """

    def __init__(self, function: hyperparameters.Schedule) -> None:
        self.function = function

    def __call__(self, count: jax.Array) -> ArrayLike:
        """The rate at `count` steps done."""
        return hyperparameters.current_rate(self.function, count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return False
        if self.function is other.function:
            return True
        try:
            return bool(_parts(self.function) == _parts(other.function))
        except (RecursionError, TypeError, ValueError, jax.errors.JAXTypeError):
            return False  # it holds itself, or what can't be compared, as a traced rate

    def __hash__(self) -> int:
        return hash(getattr(self.function, "__qualname__", type(self.function)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (_pickled(self.function),)


def _parts(value: Any) -> Any:
    """What is equal where two values are: of a function its code and what it holds."""
    if isinstance(value, types.FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = value.__defaults__, value.__kwdefaults__
        return value.__code__, value.__module__, _parts(held), _parts(defaults)
    if isinstance(value, functools.partial):
        return _parts((value.func, value.args, value.keywords))
    if isinstance(value, list | tuple):
        return [_parts(item) for item in value]
    if isinstance(value, dict):
        return {key: _parts(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | jax.Array):
        return np.asarray(value).tolist()
    if vars(type(value)).get("__eq__") is None and hasattr(value, "__dict__"):
        return type(value), _parts(vars(value))
    return value


class _ByValue(pickle.Pickler):
    """Pickles a function made by another one as its code and what it holds."""

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, types.FunctionType):
            return NotImplemented
        if getattr(sys.modules.get(obj.__module__), obj.__qualname__, None) is obj:
            return NotImplemented  # its module has it
        cells = tuple(cell.cell_contents for cell in obj.__closure__ or ())
        code = marshal.dumps(obj.__code__)
        return _function, (code, obj.__module__, obj.__defaults__, obj.__kwdefaults__, cells)


def _pickled(function: Any) -> bytes:
    stream = io.BytesIO()
    _ByValue(stream).dump(function)
    return stream.getvalue()


def _unpickled(data: bytes) -> Schedule:
    return Schedule(pickle.loads(data))


def _function(code: bytes, module: str, defaults: Any, keywords: Any, cells: Any) -> Any:
    names = vars(importlib.import_module(module))
    closure = tuple(map(types.CellType, cells))
    made = types.FunctionType(marshal.loads(code), names, None, defaults, closure)
    made.__kwdefaults__ = keywords
    return made


def tabulated(missed: Partial, starts: list[jax.Array], count: jax.Array, horizon: int) -> Partial:
    """The closed form with a table in the schedule's place, where the steps missed are known.

    Outside jit a schedule is called as Python: it may hold an `if`, or a rate that changes. Of the
    steps since `starts` only the first `horizon` of a row move it.
    """
    schedule = missed.keywords.get("learning_rate")
    if not isinstance(schedule, Schedule) or not known(starts, count):
        return missed
    if not all(s.is_fully_addressable for s in (*starts, count)):
        return missed
    done = int(count)
    begun = {int(s) for start in starts for s in np.unique(start)}
    steps = sorted({n for s in begun for n in range(s, min(s + horizon, done))})
    first = steps[0] if steps else done
    # Of few lengths, so that little is compiled anew.
    rates = np.zeros(1 << (done - first).bit_length(), jnp.result_type(float))
    for n in steps:
        rates[n - first] = schedule(jnp.int32(n))
    table = Partial(_look_up, jnp.asarray(rates), jnp.int32(first))
    return Partial(missed.func, *missed.args, **{**missed.keywords, "learning_rate": table})


def _look_up(rates: jax.Array, first: jax.Array, count: jax.Array) -> jax.Array:
    return rates[count - first]
