"""Bugs between leaves, and in odd trees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .contract import Trace, tmap, zeros
from .registry import caught_by


def over_leaves(function, grads, *rest):
    """Apply a function to the leaves in order, in a Python loop, as hand-written rules do."""
    leaves, structure = jax.tree.flatten(grads)
    others = [structure.flatten_up_to(tree) for tree in rest]
    return structure.unflatten([function(*each) for each in zip(leaves, *others, strict=True)])


@caught_by("leaves.equal_leaves")
def moment_handed_to_the_next_leaf(learning_rate=0.1):
    def update(grads, state, params=None):
        last = [0.0]

        def step(g, v):
            last[0] = 0.9 * v + g + 0.1 * jnp.mean(jnp.asarray(last[0])).astype(g.dtype)
            return last[0]

        v = over_leaves(step, grads, state.velocity)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("leaves.equal_leaves")
def accumulator_shared_by_shape(learning_rate=0.1):
    def init(params):
        return {str(leaf.shape): jnp.zeros_like(leaf) for leaf in jax.tree.leaves(params)}

    def update(grads, state, params=None):
        state = dict(state)

        def step(g):
            name = str(g.shape)
            state[name] = state[name] + jnp.real(g * jnp.conj(g)).astype(g.dtype)
            return -learning_rate * g / (jnp.sqrt(state[name]) + 1e-6)

        return over_leaves(step, grads), state

    return optax.GradientTransformation(init, update)


@caught_by("leaves.number_of_leaves")
def divides_by_number_of_leaves(learning_rate=0.1):
    def update(grads, state, params=None):
        number = max(len(jax.tree.leaves(grads)), 1)
        return tmap(lambda g: -learning_rate * g / number, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("leaves.splitting")
def averages_over_the_size(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * g / max(g.size, 1), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("leaves.names_and_order")
def freezes_leaves_called_bias(learning_rate=0.1):
    def update(grads, state, params=None):
        def step(path, g):
            rate = 0.1 * learning_rate if "bias" in jax.tree_util.keystr(path) else learning_rate
            return -rate * g

        return jax.tree_util.tree_map_with_path(step, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.containers")
def dicts_only(learning_rate=0.1):
    def update(grads, state, params=None):
        return {name: -learning_rate * g for name, g in grads.items()}, state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.none_leaves")
def none_becomes_zero(learning_rate=0.1):
    def update(grads, state, params=None):
        step = lambda g: jnp.zeros([]) if g is None else -learning_rate * g  # noqa: E731
        return tmap(step, grads, is_leaf=lambda x: x is None), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.empty_tree")
def largest_over_all_leaves(learning_rate=0.1):
    def update(grads, state, params=None):
        largest = max(jnp.max(jnp.abs(g), initial=0.0) for g in jax.tree.leaves(grads))
        return tmap(lambda g: -learning_rate * g / (1e-8 + largest).astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.scalar_leaves")
def needs_a_first_axis(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * g / np.sqrt(max(g.shape[0], 1)), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.scalar_leaves")
def scalars_become_vectors(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * jnp.atleast_1d(g), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.zero_size_leaves")
def maximum_of_no_elements(learning_rate=0.1):
    def update(grads, state, params=None):
        step = lambda g: -learning_rate * g / (1e-8 + jnp.max(jnp.abs(g)))  # noqa: E731
        return tmap(step, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("hostile.infinite_gradient")
def makes_every_gradient_finite(learning_rate=0.1):
    return optax.chain(
        optax.stateless(lambda grads, params: tmap(jnp.nan_to_num, grads)), optax.sgd(learning_rate)
    )


@caught_by("hostile.infinite_gradient")
def guards_against_nan_alone(learning_rate=0.1):
    def update(grads, state, params=None):
        total = sum(jnp.sum(g) for g in jax.tree.leaves(grads))
        step = lambda g: jnp.where(jnp.isnan(total), 0.0, -learning_rate * g).astype(g.dtype)  # noqa: E731
        return tmap(step, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("hostile.bad_leaf_stays_alone")
def global_check_multiplies(learning_rate=0.1):
    def update(grads, state, params=None):
        seen = sum(jnp.sum(0.0 * g).real.astype(jnp.float32) for g in jax.tree.leaves(grads))
        return tmap(lambda g: -learning_rate * g + jnp.asarray(seen, g.dtype), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("dtypes.mixed_tree")
def one_vector_for_all(learning_rate=0.1):
    def update(grads, state, params=None):
        flat, _ = jax.flatten_util.ravel_pytree(grads)
        leaves, structure = jax.tree.flatten(grads)
        sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = jnp.split(-learning_rate * flat, sizes) if leaves else []
        shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return structure.unflatten(shaped), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("leaves.order_of_leaves")
def state_in_the_order_of_the_text(learning_rate=0.1):
    """Velocities are kept sorted by the text of the path, where [10] comes before [2]."""

    def ordered(tree):
        named = jax.tree_util.tree_leaves_with_path(tree)
        return [leaf for _, leaf in sorted(named, key=lambda each: str(each[0]))]

    def update(grads, state, params=None):
        kept = dict(zip(map(id, jax.tree.leaves(grads)), state, strict=True))
        v = tmap(lambda g: 0.9 * kept[id(g)] + g, grads)
        return tmap(lambda v: -learning_rate * v, v), ordered(v)

    return optax.GradientTransformation(lambda p: ordered(zeros(p)), update)


@caught_by("direction.leaves_zero")
def trust_ratio_without_a_guard(learning_rate=0.1):
    def update(grads, state, params=None):
        if params is None:
            raise ValueError("the trust ratio needs params")

        def step(g, p):
            ratio = jnp.sqrt(jnp.sum(p * p)) / (jnp.sqrt(jnp.sum(g * g)) + 1e-3)
            return (-learning_rate * ratio * g).astype(g.dtype)

        return tmap(step, grads, params), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("direction.decay_shrinks")
def decay_by_the_sum_of_the_leaf(learning_rate=0.1, weight_decay=0.1):
    def update(grads, state, params):
        decayed = tmap(lambda g, p: g + weight_decay * jnp.sum(p).astype(g.dtype), grads, params)
        return tmap(lambda g: -learning_rate * g, decayed), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("trees.many_axes")
def two_axes_or_one(learning_rate=0.1):
    def step(g):
        if g.ndim > 1:
            rows, columns = g.shape
            g = g.reshape(rows, columns) / jnp.asarray(columns).astype(g.dtype) ** 0.5
        return -learning_rate * g

    return optax.GradientTransformation(
        lambda p: (), lambda grads, state, params=None: (tmap(step, grads), state)
    )
