"""The race itself: every optimizer from the same start, on every surface, in 64 bits.

One optimizer is one compiled program: `scan` over the steps, `vmap` over surfaces and learning
rates. A path that leaves the plane diverged: it ends there, and the others never see it.

    lanes = run([specs.parse("lecture:adam")], [SURFACES["beale"]], steps=100)
    lanes[0].paths["beale"].points      # (101, 2); NaN after the end
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt import specs
from lecture_opt.environment import check_device, environment
from lecture_opt.race.surfaces import Surface

FAR = 1e3
"""A path that is further out than this along x or y has diverged."""

RATES = tuple(float(f"{10 ** (k / 8):.3g}") for k in range(-32, 5))
"""The learning rates tried for an optimizer whose text gives no rate, in rising order."""

SLACK = 1.5
"""The very best rates are at the edge of chaos; a little below, paths can be followed by eye."""


class Path(NamedTuple):
    """One optimizer on one surface.

    Attributes:
        points: (steps + 1, 2) float64, the start first; NaN from where it diverged.
        learning_rate: What it ran with; None where it brings its own.
        diverged: The step at which it left the plane, or None.
    """

    points: np.ndarray
    learning_rate: float | None
    diverged: int | None

    @property
    def walked(self) -> np.ndarray:
        """The points before the end."""
        return self.points[: self.diverged]


class Lane(NamedTuple):
    """One optimizer on every surface: its name, and its paths by the surface's name."""

    name: str
    paths: dict[str, Path]


def run(
    optimizers: Sequence[specs.OptimizerSpec],
    surfaces: Sequence[Surface],
    *,
    steps: int = 250,
    learning_rate: float | None = None,
    start: tuple[float, float] | None = None,
) -> list[Lane]:
    """Runs the race.

    Args:
        optimizers: From `specs.parse`.
        surfaces: Where to run.
        steps: Of every optimizer.
        learning_rate: For the optimizers that take one and are not given one in their text. With
            None each runs, on each surface, at the lowest of `RATES` that is about as good as the
            best: whose height, averaged over the path, is within `SLACK` times the least.
        start: (x, y) on every surface; by default each surface's own.

    Raises:
        ValueError: An optimizer can't be built or can't run on two numbers.
    """
    check_device("race")
    lanes = []
    for spec in optimizers:
        rates = _rates(spec, learning_rate)
        try:
            points = _walk(spec, surfaces, rates, steps, start)
        except specs.SpecError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(f"race: {spec.text} can't run on two numbers: {reason}") from error
        paths = {
            surface.name: _best(surface, points[i], rates, spec)
            for i, surface in enumerate(surfaces)
        }
        lanes.append(Lane(spec.name, paths))
    return lanes


def noise(steps: int) -> np.ndarray:
    """(steps, 2) what is added to the gradients of a noisy surface, per unit of its deviation.

    The same for every optimizer, as the minibatches of one seed are.
    """
    return np.random.default_rng(0).normal(size=(steps, 2))


def heights(surface: Surface, points: np.ndarray) -> np.ndarray:
    """(...) how far above the floor the (..., 2) points are."""
    return surface.value(points[..., 0], points[..., 1]) - surface.floor


def _rates(spec: specs.OptimizerSpec, learning_rate: float | None) -> tuple[float | None, ...]:
    """The learning rates to run with; None leaves the optimizer as its text says."""
    if "learning_rate" in spec.kwargs or not specs.takes(spec, "learning_rate"):
        return (None,)
    return RATES if learning_rate is None else (learning_rate,)


def _walk(
    spec: specs.OptimizerSpec,
    surfaces: Sequence[Surface],
    rates: tuple[float | None, ...],
    steps: int,
    start: tuple[float, float] | None,
) -> np.ndarray:
    """(surfaces, rates, steps + 1, 2) points, NaN after the end of a path."""
    values = [surface.value for surface in surfaces]

    def path(number: jax.Array, begin: jax.Array, deviation: jax.Array, rate: Any) -> jax.Array:
        given = {} if rate is None else {"learning_rate": rate}
        optimizer = optax.with_extra_args_support(specs.build(spec, **given))

        def height(point: jax.Array) -> jax.Array:
            branches = [lambda p, value=value: value(p[0], p[1]) for value in values]
            return jax.lax.switch(number, branches, point)

        def step(carry: Any, shake: jax.Array) -> tuple[Any, jax.Array]:
            point, state, alive = carry
            value, slope = jax.value_and_grad(height)(point)
            slope = slope + deviation * shake
            updates, state = optimizer.update(
                slope, state, point, value=value, grad=slope, value_fn=height
            )
            moved = point + updates
            # False for NaN too.
            alive = alive & (jnp.max(jnp.abs(moved)) <= FAR)
            return (jnp.where(alive, moved, point), state, alive), jnp.where(alive, moved, jnp.nan)

        carry = (begin, optimizer.init(begin), jnp.bool_(True))
        _, points = jax.lax.scan(step, carry, shakes)
        return jnp.concatenate([begin[None], points])

    with environment(x64=True):
        shakes = jnp.asarray(noise(steps))
        begins = jnp.asarray([start or surface.start for surface in surfaces], float)
        deviations = jnp.asarray([surface.noise for surface in surfaces], float)
        numbers = jnp.arange(len(surfaces))
        over_rates = jax.vmap(path, (None, None, None, 0), axis_size=len(rates))
        over_surfaces = jax.vmap(over_rates, (0, 0, 0, None))
        column = None if rates == (None,) else jnp.asarray(rates, float)
        return np.asarray(jax.jit(over_surfaces)(numbers, begins, deviations, column))


def _best(
    surface: Surface, paths: np.ndarray, rates: Sequence[float | None], spec: specs.OptimizerSpec
) -> Path:
    """The path that `run` promises; one that diverged is worse than any that did not."""
    with np.errstate(over="ignore"):
        means = heights(surface, paths).mean(axis=-1)
    means = np.where(np.isnan(means), np.inf, means)
    best = int(np.argmax(means <= SLACK * means.min()))
    ends = np.flatnonzero(np.isnan(paths[best, :, 0]))
    rate = spec.kwargs.get("learning_rate") if rates[best] is None else rates[best]
    return Path(paths[best], rate, int(ends[0]) if len(ends) else None)
