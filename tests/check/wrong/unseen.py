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


def standing(rests):
    """Momentum that never moves the leaves of some shapes."""
    return lambda learning_rate=0.1: momentum(
        lambda path, v, g: jnp.zeros_like(g) if rests(g.shape) else 0.9 * v + g, learning_rate
    )


STANDING = {
    "numbers_never_move": ("trees.scalar_leaves", lambda shape: shape == ()),
    "first_layers_of_one_input_never_move": ("trees.many_axes", lambda shape: shape[:1] == (1,)),
    "kernels_of_five_axes_never_move": ("trees.many_axes", lambda shape: len(shape) == 5),
}
for name, (prop, rests) in STANDING.items():
    constructor = standing(rests)
    constructor.__name__ = name
    caught_by(prop)(constructor)


def is_nan(grads):
    return jnp.any(jnp.stack([jnp.any(jnp.isnan(g)) for g in jax.tree.leaves(grads)]))


@caught_by("hostile.recovers_from_nan")
def guard_that_forgets_most(learning_rate=0.1):
    def update(grads, state, params=None):
        keep = jnp.where(is_nan(grads), 1e-3, 0.9)
        v = tmap(lambda v, g: keep * v + jnp.nan_to_num(g), state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("hostile.recovers_from_nan")
def guard_that_never_lets_go(learning_rate=0.1):
    def update(grads, state, params=None):
        bad = state[0] | is_nan(grads)
        v = tmap(lambda v, g: 0.9 * v + jnp.nan_to_num(g), state[1], grads)
        return tmap(lambda v: jnp.where(bad, 0.0, -learning_rate * v), v), (bad, v)

    return optax.GradientTransformation(lambda p: (jnp.zeros((), bool), zeros(p)), update)


@caught_by("state.zeros_count")
def velocity_lost_where_the_gradient_is_zero(learning_rate=0.1):
    return momentum(lambda path, v, g: jnp.where(g == 0, 0.0, 0.9 * v + g), learning_rate)


@caught_by("state.repeats_count")
def repeated_gradients_are_skipped(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g, old: jnp.where(g == old, v, 0.9 * v + g), state[0], grads, state[1])
        return tmap(lambda v: -learning_rate * v, v), (v, grads)

    return optax.GradientTransformation(lambda p: (zeros(p), zeros(p)), update)


@caught_by("state.moments_go_on")
def first_moment_stops_at_step_90(learning_rate=0.1):
    adam = optax.adam(learning_rate)

    def update(grads, state, params=None):
        updates, new = adam.update(grads, state, params)
        keep = new[0].count < 90
        mu = tmap(lambda new, old: jnp.where(keep, new, old), new[0].mu, state[0].mu)
        return updates, (new[0]._replace(mu=mu), *new[1:])

    return optax.GradientTransformation(adam.init, update)


@caught_by("state.moments_go_on")
def velocity_of_the_first_hundred_steps(learning_rate=0.1):
    def update(grads, state, params=None):
        count, v = state
        v = tmap(lambda v, g: jnp.where(count < 100, 0.9 * v + g, v), v, grads)
        return tmap(lambda v, g: -learning_rate * (v + g), v, grads), (count + 1, v)

    return optax.GradientTransformation(lambda p: (jnp.zeros((), jnp.int32), zeros(p)), update)


@caught_by("learning.convex_quadratic")
def adam_with_exchanged_decays(learning_rate=0.01):
    return optax.adam(learning_rate, b1=0.999, b2=0.9)


@caught_by("learning.ill_conditioned")
def adam_that_remembers_too_long(learning_rate=0.01):
    return optax.adam(learning_rate, b1=0.999, b2=0.99)


@caught_by("learning.ill_conditioned")
def momentum_that_remembers_too_long(learning_rate=0.1):
    return optax.sgd(learning_rate, momentum=0.999)
