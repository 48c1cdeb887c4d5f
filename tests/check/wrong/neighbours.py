"""Formulas one step beside a known one: the reference mode must name the step."""

import jax
import jax.numpy as jnp
import optax

from .contract import tmap, zeros
from .formulas import ADAM, corrected
from .numbers import Moments, start
from .registry import named_by

LION = optax.lion(1e-3, weight_decay=0.0)
NADAM = optax.nadam(1e-2)
ADAMW = optax.adamw(1e-2, weight_decay=0.1, mask=lambda tree: tmap(lambda x: x.ndim > 1, tree))


@named_by(ADAM, "the first moment's bias correction has a decay of its own, and c1 is 0.95")
def adam_with_another_decay_in_its_first_correction():
    return corrected(lambda m, v, t: m / (1 - 0.95**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8))


@named_by(ADAM, "the second moment's bias correction has a decay of its own, and c2 is 0.99")
def adam_with_another_decay_in_its_second_correction():
    return corrected(lambda m, v, t: m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.99**t)) + 1e-8))


@named_by(optax.amsgrad(1e-2), "taken before its bias correction")
def amsgrad_over_raw_moments():
    def update(grads, state, params=None):
        inner, highest = state
        count = optax.safe_increment(inner.count)
        mu = tmap(lambda m, g: 0.9 * m + 0.1 * g, inner.mu, grads)
        nu = tmap(lambda v, g: 0.999 * v + 0.001 * g * g, inner.nu, grads)
        highest = tmap(jnp.maximum, highest, nu)
        t = count.astype(jnp.result_type(float))
        step = lambda m, v: m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)  # noqa: E731
        moved = tmap(lambda m, v: (-1e-2 * step(m, v)).astype(m.dtype), mu, highest)
        return moved, (Moments(count, mu, nu), highest)

    return optax.GradientTransformation(lambda p: (start(p), zeros(p)), update)


def lion(*, mix=0.9, keep=0.99, late=False):
    def update(grads, state, params=None):
        new = tmap(lambda m, g: keep * m + (1 - keep) * g, state, grads)
        along = new if late else state
        step = lambda m, g: -1e-3 * jnp.sign(mix * m + (1 - mix) * g)  # noqa: E731
        return tmap(step, along, grads), new

    return optax.GradientTransformation(zeros, update)


@named_by(LION, "b1 and 1 - b1 are exchanged")
def lion_with_a_turned_mixture():
    return lion(mix=0.1)


@named_by(LION, "b2 and 1 - b2 are exchanged")
def lion_with_a_turned_memory():
    return lion(keep=0.01)


@named_by(LION, "the new moment is used")
def lion_with_the_new_moment():
    return lion(late=True)


@named_by(NADAM, "corrected by t, not by t + 1")
def nadam_looking_ahead_at_t():
    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        mu = tmap(lambda m, g: 0.9 * m + 0.1 * g, state.mu, grads)
        nu = tmap(lambda v, g: 0.999 * v + 0.001 * g * g, state.nu, grads)
        t = count.astype(jnp.result_type(float))

        def step(m, v, g):
            ahead = (0.9 * m + 0.1 * g) / (1 - 0.9**t)
            return (-1e-2 * ahead / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)).astype(g.dtype)

        return tmap(step, mu, nu, grads), Moments(count, mu, nu)

    return optax.GradientTransformation(start, update)


@named_by(ADAM, "the corrected moments are put back")
def adam_that_stores_corrected_moments():
    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        t = count.astype(jnp.result_type(float))
        cast = lambda x, g: x.astype(g.dtype)  # noqa: E731
        mu = tmap(lambda m, g: cast((0.9 * m + 0.1 * g) / (1 - 0.9**t), g), state.mu, grads)
        square = lambda v, g: cast((0.999 * v + 0.001 * g * g) / (1 - 0.999**t), g)  # noqa: E731
        nu = tmap(square, state.nu, grads)
        moved = tmap(lambda m, v: -1e-2 * m / (jnp.sqrt(v) + 1e-8), mu, nu)
        return moved, Moments(count, mu, nu)

    return optax.GradientTransformation(start, update)


@named_by(ADAM, "steps are clipped to 1 learning rates")
def adam_clipped_afterwards():
    return optax.chain(optax.scale_by_adam(), optax.clip(1.0), optax.scale(-1e-2))


@named_by(ADAMW, "only some leaves differ: ['conv']['kernel'] of shape (3, 3, 2, 2)")
def adamw_whose_mask_is_for_matrices_alone():
    return optax.adamw(1e-2, weight_decay=0.1, mask=lambda tree: tmap(lambda x: x.ndim == 2, tree))


@named_by(ADAMW, "only some leaves differ: ['layer_0']['bias'] of shape (3,)")
def adamw_whose_mask_is_lost():
    return optax.adamw(1e-2, weight_decay=0.1)


@named_by(ADAM, "In a run of 260 steps")
def adam_whose_correction_stops_at_step_50():
    adam = optax.adam(1e-2)

    def update(grads, state, params=None):
        updates, state = adam.update(grads, state, params)
        late = state[0].count > 50
        return jax.tree.map(lambda u: jnp.where(late, 0.9, 1.0).astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(adam.init, update)


@named_by(ADAMW, "So a mask of weight decay is lost, turned round or of other leaves")
def adamw_whose_mask_is_turned_round():
    return optax.adamw(1e-2, weight_decay=0.1, mask=lambda tree: tmap(lambda x: x.ndim < 2, tree))


@named_by(optax.adamw(1e-3, weight_decay=0.1), "weight decay is of the params after the step")
def adamw_that_decays_the_new_params():
    adam = optax.adam(1e-3)

    def update(grads, state, params):
        updates, state = adam.update(grads, state, params)
        return tmap(lambda u, p: (u - 1e-4 * (p + u)).astype(u.dtype), updates, params), state

    return optax.GradientTransformation(adam.init, update)


@named_by(ADAM, "nan, the reference")
def adam_whose_first_step_is_nan():
    adam = optax.adam(1e-2)

    def update(grads, state, params=None):
        first = jnp.where(state[0].count == 0, jnp.nan, 1.0)
        updates, state = adam.update(grads, state, params)
        return tmap(lambda u: first.astype(u.dtype) * u, updates), state

    return optax.GradientTransformation(adam.init, update)


@named_by(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)), "In a run of 260 steps")
def clip_that_scales_small_gradients_up():
    def update(grads, state, params=None):
        norm = jnp.maximum(optax.global_norm(grads), 1e-12)
        return tmap(lambda g: (-0.1 * g / norm).astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda params: (), update)
