"""Problem: the optimizer on what a training loop of the user's trains, and in that loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt.check import probes
from lecture_opt.check.outcome import Outcome, failed, passed
from lecture_opt.check.probes import Tree
from lecture_opt.check.subject import Subject
from lecture_opt.environment import lenient
from lecture_opt.problems import Loop, bound
from lecture_opt.problems.loop import batches, start_key, step_key
from lecture_opt.problems.tracing import training

STEPS = 5


def updates_mirror_the_params(subject: Subject, loop: Loop) -> Outcome:
    """Updates of the problem's params are finite, of their tree, shapes, dtypes and sharding.

    Why: the battery's trees are small and of few kinds; yours may hold a scalar, a bfloat16 leaf,
    five axes, or a table cut over devices.
    Usual cause: a rule for matrices that meets another shape; a constant of another dtype.
    """
    params = bound.params_of(loop)
    grads = _normal_like(params)
    with lenient():
        state = subject.init(params)
        updates, _ = jax.jit(subject.optimizer.update)(grads, state, params)
        moved = jax.jit(optax.apply_updates)(params, updates)
    tree, own = probes.structure(updates), probes.structure(params)
    if tree != own:
        return failed(f"The updates' tree is {tree}, where the params' is {own}.")
    for name, p, u, new in probes.named(params, updates, moved):
        if (u.shape, u.dtype) != (p.shape, p.dtype):
            return failed(
                f"The update of {name} is {u.dtype}{list(u.shape)}, where the param is "
                f"{p.dtype}{list(p.shape)}.",
                leaf=name,
            )
        if not jnp.isfinite(u).all():
            return failed(f"The first update of {name} is not finite.", leaf=name)
        if not new.sharding.is_equivalent_to(p.sharding, p.ndim):
            return failed(f"{name} is placed as {new.sharding} after a step, not {p.sharding}.")
    count = len(jax.tree.leaves(params))
    return passed(f"Right on the {count} leaves that {loop.name} trains.", leaves=count)


def trains_the_loop(subject: Subject, loop: Loop) -> Outcome:
    """Some steps of the loop are compiled once, move the params and leave all finite.

    Why: a loop hands `update` what it likes: no params, no loss, a state it has copied.
    Usual cause: `update` needs the params and the loop gives none; a count that changes its dtype.
    """
    feed, key, traced = batches(loop, 0), start_key(0), 0
    batch = next(feed)
    trained = training(loop, subject.optimizer, batch)

    @jax.jit
    def step(arrays: bound.Arrays, batch: Tree, key: jax.Array) -> Any:
        nonlocal traced
        traced += 1
        return trained.step(arrays, batch, key)

    first = arrays = trained.start(key)
    for number in range(STEPS):
        arrays, loss = step(arrays, batch, step_key(key, number))
        if not np.isfinite(loss):
            return failed(f"The loss of step {number + 1} is {float(loss)}.", step=number + 1)
        batch = next(feed)
    if traced > 1:
        return failed(f"{STEPS} steps were traced {traced} times.", traced=traced)
    if all(map(probes.same_bits, first, arrays)):
        return failed(f"{STEPS} steps change nothing in the loop's state.")
    return passed(f"{STEPS} steps of {loop.name}: the loss ends at {float(loss):.3g}.")


def _normal_like(params: Tree) -> Tree:
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    drawn = [
        jax.device_put(jnp.asarray(rng.normal(size=p.shape), p.dtype), p.sharding) for p in leaves
    ]
    return jax.tree.unflatten(tree, drawn)
