"""The optimizer under test, in the one form every property takes.

A subject is made from an `(init, update)` pair or from a constructor that takes a learning
rate; with a constructor more can be asked (does the step follow the rate, is a schedule read
at the right count, may the hyperparameters be traced).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.outcome import in_words
from lecture_opt.check.probes import Tree
from lecture_opt.environment import fast_jit
from lecture_opt.once import once

RATE_NAMES = ("learning_rate", "lr", "step_size", "max_learning_rate")
DEFAULT_RATE = 0.01


class Pair(NamedTuple):
    """An optimizer given as a plain `(init, update)` pair."""

    init: Callable[..., Tree]
    update: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """An optimizer under test; equal to itself alone, so that jit can cache by it.

    Attributes:
        name: What the report calls it.
        optimizer: Anything with `init` and `update`.
        constructor: Builds it anew with other keyword arguments, where that is known.
        arguments: The numbers the constructor was called with, by name.
        rate_name: Which of them is the learning rate.
        in_double: It computes in float64 alone, and outside of JAX.
    """

    name: str
    optimizer: Any
    constructor: Callable[..., Any] | None = None
    arguments: Mapping[str, float] = field(default_factory=dict)
    rate_name: str | None = None
    in_double: bool = False

    def init(self, params: Tree) -> Tree:
        """The optimizer's own `init`."""
        return self.optimizer.init(params)

    def update(self, grads: Tree, state: Tree, params: Tree, loss: Any = None) -> Any:
        """The optimizer's own `update`, with the value of the loss for one that asks for it.

        Without a `loss` it is a quadratic that has these gradients at these params.
        """
        if not self.needs_loss:
            return self.optimizer.update(grads, state, params)
        loss = quadratic(grads, params) if loss is None else loss
        return update_with(loss, self.optimizer, grads, state, params)

    @once
    def needs_loss(self) -> bool:
        """Whether `update` asks for the loss, and runs once it is given."""
        params, grads = probes.params_tree(), probes.normal_tree(0)
        try:
            self.optimizer.update(grads, self.init(params), params)
        except Exception as error:  # only what a missing argument says is of interest
            if not asks_for_more(str(error)):
                return False
        else:
            return False
        loss = quadratic(grads, params)
        try:
            update_with(loss, self.optimizer, grads, self.init(params), params)
        except Exception:  # it asks for something else
            return False
        return True

    @once
    def jitted(self) -> Callable[..., Any]:
        """`update` under `jax.jit`, compiled once per shape for all properties."""
        return fast_jit(self.update)

    @once
    def problem(self) -> str | None:
        """Why a plain update cannot run at all, in words; None where it runs."""
        try:
            params = probes.params_tree()
            updates, _ = self.update(probes.normal_tree(0), self.init(params), params)
            jax.block_until_ready(updates)
        except Exception as error:  # the battery reports what the optimizer raises
            return in_words(error)
        return None

    @property
    def wants_more(self) -> bool:
        """Whether `update` asks for more than (grads, state, params)."""
        return asks_for_more(self.problem or "")

    @once
    def jit_problem(self) -> BaseException | None:
        """What a jitted update raises; None where it runs."""
        try:
            params = probes.params_tree()
            jax.block_until_ready(self.jitted(probes.normal_tree(0), self.init(params), params))
        except Exception as error:  # the battery reports what the optimizer raises
            return error
        return None

    def step(self, grads: Tree, state: Tree, params: Tree) -> Any:
        """One update, jitted where the optimizer can be."""
        jits = not self.in_double and self.jit_problem is None
        return (self.jitted if jits else self.update)(grads, state, params)

    def updates_over(
        self, grads: list[Tree], params: Tree, *, follow: bool = False, jit: bool = True
    ) -> tuple[list[Tree], Tree]:
        """The updates for a sequence of gradients, and the last state.

        Parameters stay where they are unless `follow` adds the updates to them.
        """
        state, seen, step = self.init(params), [], self.step if jit else self.update
        for gradient in grads:
            updates, state = step(gradient, state, params)
            params = add(params, updates) if follow else params
            seen.append(updates)
        return seen, state

    @once
    def random(self) -> bool:
        """Whether the state holds a PRNG key, so that updates may be drawn at random."""

        def raw(leaf: Any) -> Any:
            return getattr(leaf, "shape", None) == (2,) and leaf.dtype == jnp.uint32

        leaves = jax.tree.leaves(self.init(probes.params_tree()))
        return any(probes.is_key(leaf) or raw(leaf) for leaf in leaves)

    def rebuilt(self, **arguments: Any) -> "Subject":
        """The same optimizer with other keyword arguments."""
        if self.constructor is None:
            raise TypeError(f"{self.name} was given as an instance; it cannot be rebuilt")
        return Subject(self.name, self.constructor(**arguments))

    def with_rate(self, change: Callable[[float], Any]) -> "Subject":
        """The same optimizer with a learning rate made from its own."""
        if self.rate_name is None or self.learning_rate is None:
            raise TypeError(f"{self.name} has no known learning rate")
        return self.rebuilt(**{self.rate_name: change(self.learning_rate)})

    @property
    def floats(self) -> dict[str, float]:
        """The constructor's floating arguments, by name; empty where there is no constructor."""
        if self.constructor is None:
            return {}
        return {name: value for name, value in self.arguments.items() if isinstance(value, float)}

    @property
    def learning_rate(self) -> float | None:
        """The rate it was built with, where that is known."""
        return self.arguments.get(self.rate_name) if self.rate_name else None


def asks_for_more(said: str) -> bool:
    """Whether an error speaks of an argument that `update` was not given."""
    return ("missing" in said and "argument" in said) or "must be provided" in said


def update_with(
    loss: Callable[[Tree], Any], optimizer: Any, grads: Tree, state: Tree, params: Tree
) -> Any:
    """An update that is given what it takes of the loss, under the names that optax has for it."""
    extra = {"value": loss(params), "grad": grads, "value_fn": loss, "obj_fn": loss}
    takes = inspect.signature(optimizer.update).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        extra = {name: value for name, value in extra.items() if name in takes}
    return optimizer.update(grads, state, params, **extra)


def quadratic(grads: Tree, params: Tree) -> Callable[[Tree], Any]:
    """Half the squared distance to the point that the gradients point away from."""
    goals = jax.tree.map(lambda p, g: p - g, params, grads)

    def loss(at: Tree) -> Any:
        gaps = jax.tree.map(lambda p, goal: jnp.sum(jnp.abs(p - goal) ** 2), at, goals)
        return 0.5 * sum(gap.astype(jnp.float32) for gap in jax.tree.leaves(gaps))

    return loss


def add(params: Tree, updates: Tree) -> Tree:
    """`params + updates`, each leaf in the dtype of the parameters; in NumPy outside of traces."""

    def moved(p: Any, u: Any) -> Any:
        if isinstance(p, jax.core.Tracer) or isinstance(u, jax.core.Tracer):
            return jnp.asarray(p + u).astype(p.dtype)
        return jnp.asarray((np.asarray(p) + np.asarray(u)).astype(p.dtype))

    return jax.tree.map(moved, params, updates)


def make(optimizer: Any, *, name: str = "") -> Subject:
    """A subject from an instance, a constructor or a plain pair.

    Raises:
        TypeError: For anything else; the message says what was given.
    """
    if isinstance(optimizer, Subject):
        return optimizer
    if hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        return Subject(name or "the optimizer", optimizer)
    if isinstance(optimizer, tuple) and len(optimizer) == 2 and all(map(callable, optimizer)):
        return Subject(name or "the optimizer", Pair(*optimizer))
    if callable(optimizer):
        return from_constructor(optimizer, name=name or getattr(optimizer, "__name__", "optimizer"))
    raise TypeError(
        "check: optimizer must be an (init, update) pair or a constructor of one, "
        f"got {type(optimizer).__name__}"
    )


def from_constructor(constructor: Callable[..., Any], *, name: str, **arguments: Any) -> Subject:
    """A subject built by calling `constructor`, with a learning rate chosen where it asks for one.

    A rate is chosen only if there is a parameter for it and neither `arguments` nor a numeric
    default gives it.
    """
    numbers = numeric_defaults(constructor) | {
        key: value for key, value in arguments.items() if is_number(value)
    }
    parameters = inspect.signature(constructor).parameters
    rate_name = next((rate for rate in RATE_NAMES if rate in parameters), None)
    if rate_name and rate_name not in numbers and not callable(arguments.get(rate_name)):
        required = parameters[rate_name].default is inspect.Parameter.empty
        if required:
            arguments, numbers = (
                mapping | {rate_name: DEFAULT_RATE} for mapping in (arguments, numbers)
            )

    def build(**overrides: Any) -> Any:
        return constructor(**(arguments | overrides))

    optimizer = build()
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        optimizer = make(optimizer, name=name).optimizer
        plain = build

        def build(**overrides: Any) -> Any:
            return Pair(*plain(**overrides))

    return Subject(name, optimizer, build, numbers, rate_name)


def numeric_defaults(constructor: Callable[..., Any]) -> dict[str, float]:
    """The parameters of a constructor whose defaults are numbers."""
    parameters = inspect.signature(constructor).parameters.values()
    return {each.name: each.default for each in parameters if is_number(each.default)}


def is_number(value: Any) -> bool:
    """Whether a value is a plain number (a bool is not)."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
