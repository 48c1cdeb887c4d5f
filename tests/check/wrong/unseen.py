"""Bugs that only a deep model, a long run, exact zeros or short moments show."""

import jax
import jax.numpy as jnp
import optax

from .contract import Trace, tmap, zeros
from .registry import caught_by


def momentum(step, learning_rate, init=zeros):
    """Momentum whose new velocity is made by a function of (path, v, g)."""

    def update(grads, state, params=None):
        v = jax.tree_util.tree_map_with_path(step, state.velocity, grads)
        return tmap(lambda v, g: (-learning_rate * v).astype(g.dtype), v, grads), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(init(p)), update)


@caught_by("leaves.like_one_vector")
def velocities_by_the_last_name(learning_rate=0.1):
    """Two layers whose leaves have one name and shape share a velocity."""

    def key(path, leaf):
        return f"{path[-1:]}{leaf.shape}"

    def init(params):
        named = jax.tree_util.tree_leaves_with_path(params)
        return {key(path, leaf): jnp.zeros_like(leaf) for path, leaf in named}

    def update(grads, state, params=None):
        state = dict(state)

        def step(path, g):
            state[key(path, g)] = 0.9 * state[key(path, g)] + g
            return -learning_rate * state[key(path, g)]

        return jax.tree_util.tree_map_with_path(step, grads), state

    return optax.GradientTransformation(init, update)


@caught_by("leaves.like_one_vector")
def odd_leaves_lose_their_last_element(learning_rate=0.1):
    def step(path, v, g):
        even = jnp.arange(g.size).reshape(g.shape) < max(g.size // 2 * 2, 1)
        keep = even | (g.ndim < 2) | (g.size < 16)
        return jnp.where(keep, 0.9 * v + g, 0.0).astype(g.dtype)

    return momentum(step, learning_rate)


@caught_by("trees.many_axes")
def convolutions_never_move(learning_rate=0.1):
    def step(path, v, g):
        return 0.9 * v + g if g.ndim < 4 else jnp.zeros_like(g)

    return momentum(step, learning_rate)


@caught_by("state.moments_fall")
def second_moment_in_16_bits(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(
            lambda v, g: (0.999 * v + 0.001 * g * g).astype(jnp.bfloat16), state.velocity, grads
        )
        step = lambda v, g: (-learning_rate * g / (jnp.sqrt(v) + 1e-4)).astype(g.dtype)  # noqa: E731
        return tmap(step, v, grads), Trace(v)

    init = lambda p: Trace(tmap(lambda x: jnp.zeros(x.shape, jnp.bfloat16), p))  # noqa: E731
    return optax.GradientTransformation(init, update)


@caught_by("state.zeros_count")
def velocity_rests_where_the_gradient_is_zero(learning_rate=0.1):
    def step(path, v, g):
        return jnp.where(g == 0, v, 0.9 * v + g)

    return momentum(step, learning_rate)


@caught_by("hostile.recovers_from_nan")
def guard_that_forgets(learning_rate=0.1):
    def update(grads, state, params=None):
        bad = jnp.any(jnp.stack([jnp.any(jnp.isnan(g)) for g in jax.tree.leaves(grads)]))
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        kept = tmap(lambda v: jnp.where(bad, jnp.zeros_like(v), v), v)
        return tmap(lambda v: -learning_rate * v, kept), Trace(kept)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("state.moments_move")
def reset_every_64_steps(learning_rate=0.1):
    adam = optax.adam(learning_rate)

    def update(grads, state, params=None):
        updates, state = adam.update(grads, state, params)
        keep = state[0].count % 64 != 0
        return updates, tmap(lambda leaf: jnp.where(keep, leaf, jnp.zeros_like(leaf)), state)

    return optax.GradientTransformation(adam.init, update)
