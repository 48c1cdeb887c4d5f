"""What share of a whole training step of a problem is the optimizer's."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import optax
from rich.table import Table

from lecture_opt.bench import measure, statistics
from lecture_opt.bench.tables import duration, headed
from lecture_opt.bench.trees import Tree
from lecture_opt.bench.types import Estimate, Share
from lecture_opt.problems import Loop, Task, as_loop, bound
from lecture_opt.problems.loop import batches, start_key, step_key
from lecture_opt.problems.tracing import training


def tree(problem: Loop | Task) -> Tree:
    """The params that a problem trains, as they are: shapes, dtypes and sharding."""
    loop = as_loop(problem)
    return Tree(loop.name, f"the params of {loop.name}", lambda: bound.params_of(loop))


def shares(
    optimizers: Mapping[str, optax.GradientTransformation], problem: Loop | Task, *, rounds: int
) -> list[Share]:
    """Times the problem's training step with each optimizer and without one, in turns."""
    loop = as_loop(problem)
    without, operations = _step(loop, optax.identity())
    steps = [_step(loop, optimizer)[0] for optimizer in optimizers.values()]
    taken: list[list[float]] = [[] for _ in (without, *steps)]
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for i in rng.permutation(len(taken)):
            taken[i].append(measure.seconds((without, *steps)[i])[1])
    base, rate = statistics.median_interval(taken[0]), measure.matrix_rate()
    return [
        Share(
            loop.name,
            name,
            statistics.median_interval(seconds),
            base,
            as_share(statistics.ratio_interval(taken[0], seconds)),
            operations,
            rate,
        )
        for name, seconds in zip(optimizers, taken[1:], strict=True)
    ]


def as_share(ratio: Estimate) -> Estimate:
    """1 - the time without over the time with; none is below 0."""
    low, high = 1 - ratio.high, 1 - ratio.low
    return Estimate(max(1 - ratio.value, 0.0), max(low, 0.0), max(high, 0.0))


def _step(
    loop: Loop, optimizer: optax.GradientTransformation
) -> tuple[Callable[[], None], float | None]:
    """A compiled training step, which goes on from where the last one ended; its operations."""
    batch = jax.device_put(next(batches(loop, 0)))
    trained = training(loop, optimizer, batch)
    key = step_key(start_key(0), 0)
    held = jax.tree.map(jax.numpy.copy, trained.start(start_key(0)))
    compiled = jax.jit(trained.step, donate_argnums=0).lower(held, batch, key).compile()

    def step() -> None:
        nonlocal held
        held, _ = jax.block_until_ready(compiled(held, batch, key))

    step()
    return step, measure.operations(compiled)


def table(found: Sequence[Share]) -> Table:
    """One problem's optimizers in the order they were given."""
    columns = ("step", "without", "the optimizer's share")
    shown = headed(f"{found[0].problem}: a whole training step", columns)
    for one in found:
        share = f"{one.share.value:.0%} ({one.share.low:.0%} to {one.share.high:.0%})"
        shown.add_row(one.optimizer, duration(one.step.value), duration(one.without.value), share)
    first, caption = (
        found[0],
        "without: loss and gradients, which are added to the params as they are",
    )
    if first.operations:
        reached = first.operations / first.without.value / first.matrix_rate
        caption += (
            f"; its {first.operations / 1e6:.3g} million operations go at {reached:.1%} of this "
            f"device's rate for large products of matrices, {first.matrix_rate / 1e9:.3g} billion "
            "a second"
        )
    shown.caption = caption
    return shown
