"""Shapes of a learning rate over a run: its peak is what is tuned.

>>> schedule = parse("warmup_cosine(0.05)")
>>> [round(float(schedule.of(0.1, 100)(step)), 3) for step in (0, 5, 100)]
[0.0, 0.1, 0.0]
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

_SHAPES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "warmup_cosine": lambda done: 0.5 * (1 + jnp.cos(jnp.pi * done)),
    "warmup_linear": lambda done: 1 - done,
    "warmup_constant": jnp.ones_like,
}


@dataclass(frozen=True)
class Schedule:
    """A rise over a share `warmup` of the steps, then the shape of this name down to the last."""

    name: str
    warmup: float

    def of(self, peak: jax.Array | float, steps: int) -> Callable[[jax.Array], jax.Array]:
        """Count -> learning rate, for a run of `steps`."""
        rise = self.warmup * steps

        def rate(count: jax.Array) -> jax.Array:
            count = jnp.asarray(count, jnp.float32)
            after = jnp.clip((count - rise) / max(steps - rise, 1), 0, 1)
            return peak * jnp.where(count < rise, count / max(rise, 1), _SHAPES[self.name](after))

        return rate

    def __str__(self) -> str:
        return f"{self.name}({self.warmup:g})"


def parse(text: str) -> Schedule:
    """The schedule that a text names; ValueError where it does not name one."""
    match = re.fullmatch(r"(\w+)(?:\((\d*\.?\d+(?:[eE]-?\d+)?)\))?", text.strip())
    if match and match[1] in _SHAPES and (warmup := float(match[2] or 0.05)) < 1:
        return Schedule(match[1], warmup)
    names = ", ".join(f"{name}(SHARE)" for name in _SHAPES)
    raise ValueError(f"schedule {text}: wanted one of {names} with 0 <= SHARE < 1")
