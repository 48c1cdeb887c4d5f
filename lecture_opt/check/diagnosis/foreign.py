"""A reference from another library, named by a text such as `torch:AdamW(lr=1e-3)`.

The same gradients go to both, and the other library computes in float64 on the CPU.
"""

import ast
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check.subject import Pair, Subject

LIBRARIES = {"torch": "torch", "keras": "keras"}


def is_foreign(text: str) -> bool:
    """Whether a text names an optimizer of another library."""
    return text.partition(":")[0] in LIBRARIES


def reference(text: str) -> Subject:
    """The optimizer that a text names, with the interface of this library.

    Raises:
        ValueError: The library is not installed, has no such optimizer or refuses the arguments.
    """
    library, _, rest = text.partition(":")
    name, arguments = call_of(text, rest)
    try:
        make = {"torch": torch_pair, "keras": keras_pair}[library](name, arguments)
    except ImportError as error:
        raise ValueError(f"{text}: needs {library}: pip install {library}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{text}: {error}") from error
    return Subject(text, make, in_double=True)


class Call(NamedTuple):
    """A name with keyword arguments, of which each is a literal or another call."""

    name: str
    arguments: dict[str, Any]


def call_of(text: str, call: str) -> Call:
    """The call that a text writes, which is read and never evaluated."""

    def read(node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return Call(node.id, {})
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.args:
                raise ValueError("not a call with keyword arguments")
            return Call(node.func.id, {str(k.arg): value(k.value) for k in node.keywords})
        return ast.literal_eval(node)

    def value(node: ast.expr) -> Any:
        return read(node) if isinstance(node, ast.Call) else ast.literal_eval(node)

    try:
        found = read(ast.parse(call.strip(), mode="eval").body)
        if not isinstance(found, Call):
            raise ValueError("not a call")
        return found
    except (SyntaxError, ValueError, AssertionError) as error:
        raise ValueError(
            f"{text}: wanted literal keyword arguments, as in torch:SGD(lr=0.1)"
        ) from error


def torch_pair(name: str, arguments: dict[str, Any]) -> Pair:
    """An optimizer of `torch.optim`.

    Beside its own arguments it takes `scheduler=`, a call of `torch.optim.lr_scheduler`, and
    `clip_grad_norm=` and `clip_grad_value=`, as the functions of `torch.nn.utils` take them.
    """
    import torch

    constructor = getattr(torch.optim, name)
    norm, size = arguments.pop("clip_grad_norm", None), arguments.pop("clip_grad_value", None)
    rate = arguments.pop("scheduler", None)
    if rate is not None and not isinstance(rate, Call):
        raise ValueError("scheduler wants a call, as in scheduler=StepLR(step_size=10)")
    schedule = (
        None if rate is None else partial(getattr(torch.optim.lr_scheduler, rate.name), **rate[1])
    )
    one = constructor([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], **arguments)
    if schedule is not None:
        schedule(one)

    def start(leaves: list[Any]) -> Callable[[list[Any], list[Any]], list[Any]]:
        held = [torch.nn.Parameter(torch.tensor(leaf)) for leaf in leaves]
        optimizer = constructor(held, **arguments)
        scheduler = None if schedule is None else schedule(optimizer)

        def step(grads: list[Any], params: list[Any]) -> list[Any]:
            with torch.no_grad():
                for parameter, gradient, value in zip(held, grads, params, strict=True):
                    parameter.copy_(torch.tensor(value))
                    parameter.grad = torch.tensor(gradient)
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(held, norm)
            if size is not None:
                torch.nn.utils.clip_grad_value_(held, size)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            return [parameter.detach().numpy().copy() for parameter in held]

        return step

    return paired(start)


def keras_pair(name: str, arguments: dict[str, Any]) -> Pair:
    """An optimizer of `keras.optimizers`, whatever its backend is.

    An argument may be a call of `keras.optimizers.schedules`.
    """
    import keras

    constructor = getattr(keras.optimizers, name)

    def built() -> Any:
        return constructor(
            **{
                key: getattr(keras.optimizers.schedules, value.name)(**value.arguments)
                if isinstance(value, Call)
                else value
                for key, value in arguments.items()
            }
        )

    built()

    def start(leaves: list[Any]) -> Callable[[list[Any], list[Any]], list[Any]]:
        held = [keras.Variable(leaf, dtype="float64") for leaf in leaves]
        optimizer = built()
        optimizer.build(held)

        def step(grads: list[Any], params: list[Any]) -> list[Any]:
            for variable, value in zip(held, params, strict=True):
                variable.assign(value)
            given = [keras.ops.convert_to_tensor(g, dtype="float64") for g in grads]
            optimizer.apply(given, held)
            return [np.array(keras.ops.convert_to_numpy(variable)) for variable in held]

        return step

    return paired(start)


def paired(start: Callable[[list[Any]], Callable[[list[Any], list[Any]], list[Any]]]) -> Pair:
    """An optimizer that changes its params in place, as an `(init, update)` pair.

    Its state cannot be copied: every run has to begin with `init`.
    """

    def double(tree: Any) -> list[Any]:
        return [np.array(leaf, np.float64) for leaf in jax.tree.leaves(tree)]

    def update(grads: Any, state: Any, params: Any) -> Any:
        before = double(params)
        after = state.step(double(grads), before)
        structure = jax.tree.structure(grads)
        moved = [
            jnp.asarray(new - old, leaf.dtype)
            for new, old, leaf in zip(after, before, jax.tree.leaves(grads), strict=True)
        ]
        return jax.tree.unflatten(structure, moved), state

    return Pair(lambda params: Held(start(double(params))), update)


class Held:
    """A state that another library holds; JAX sees one leaf that is not an array."""

    def __init__(self, step: Callable[[list[Any], list[Any]], list[Any]]) -> None:
        self.step = step
