"""Bugs in the arithmetic that break a property: signs, epsilons, roots, schedules."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from .contract import Counted, Trace, tmap, zeros
from .registry import caught_by


class Moments(NamedTuple):
    count: object
    mu: object
    nu: object


def start(params):
    return Moments(jnp.zeros([], jnp.int32), zeros(params), zeros(params))


@caught_by("direction.goes_down")
def missing_minus(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: learning_rate * g, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("direction.goes_down")
def two_minuses(learning_rate=0.1):
    return optax.chain(optax.sgd(learning_rate, momentum=0.9), optax.scale(-1.0))


@caught_by("direction.decay_shrinks")
def decay_with_the_wrong_sign(learning_rate=0.1):
    def update(grads, state, params):
        if params is None:
            raise ValueError("params are needed for the weight decay")
        return tmap(lambda g, p: -learning_rate * (g - 0.01 * p), grads, params), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("hostile.zero_gradients")
def no_epsilon(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: v + g * g, state.velocity, grads)
        return tmap(lambda g, v: -learning_rate * g / jnp.sqrt(v), grads, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("hostile.zero_gradients")
def normalises_by_the_norm(learning_rate=0.1):
    def update(grads, state, params=None):
        norm = optax.global_norm(grads)
        return tmap(lambda g: -learning_rate * g / norm.astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("hostile.tiny_gradients")
def guards_only_the_exact_zero(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + 0.1 * g * g, state.velocity, grads)
        step = lambda g, v: jnp.where(g == 0, 0, -learning_rate * g / jnp.sqrt(v))  # noqa: E731
        return tmap(step, grads, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("hostile.zero_gradients_float16")
def epsilon_below_float16(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + 0.1 * g * g, state.velocity, grads)
        step = lambda g, v: -learning_rate * g / (jnp.sqrt(v) + 1e-8)  # noqa: E731
        return tmap(step, grads, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("long_run.constant_gradients")
def variance_below_zero(learning_rate=0.1):
    def update(grads, state, params=None):
        mu = tmap(lambda m, g: 0.9 * m + 0.1 * g, state.mu, grads)
        nu = tmap(lambda v, g: 0.9 * v + 0.1 * g * g, state.nu, grads)
        step = lambda g, m, v: -learning_rate * g / (jnp.sqrt(v - m**2) + 1e-4)  # noqa: E731
        return tmap(step, grads, mu, nu), Moments(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(start, update)


@caught_by("long_run.after_a_million_steps")
def correction_by_a_negative_power(learning_rate=0.1):
    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        growth = jnp.float32(0.9) ** -count
        mu = tmap(lambda m, g: 0.9 * m + 0.1 * g, state.mu, grads)
        step = lambda m: (-learning_rate * m * growth / (growth - 1)).astype(m.dtype)  # noqa: E731
        return tmap(step, mu), Moments(count, mu, state.nu)

    return optax.GradientTransformation(start, update)


@caught_by("long_run.thousands_of_steps")
def moment_multiplied_not_decayed(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 1.1 * v + g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("arguments.rate_scales_the_step")
def ignores_the_rate(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -0.01 * g, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("arguments.rate_scales_the_step")
def rate_applied_twice(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + learning_rate * g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


def scheduled(learning_rate, shift):
    rate = learning_rate if callable(learning_rate) else lambda count: learning_rate

    def update(grads, state, params=None):
        now = rate(state.count + shift)
        updates = tmap(lambda g: jnp.asarray(-now * g, g.dtype), grads)
        return updates, Counted(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("arguments.schedule_at_the_right_count")
def schedule_one_early(learning_rate=0.1):
    return scheduled(learning_rate, 1)


@caught_by("arguments.schedule_at_the_right_count")
def schedule_one_late(learning_rate=0.1):
    return scheduled(learning_rate, -1)


@caught_by("learning.convex_quadratic")
def moment_that_cancels(learning_rate=0.1):
    def update(grads, state, params=None):
        updates = tmap(lambda g, last: -learning_rate * (g - last), grads, state.velocity)
        return updates, Trace(grads)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("state.moments_move")
def returns_the_old_state(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), state

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("state.moments_move")
def forgets_every_ten_steps(learning_rate=0.1):
    adam = optax.adam(learning_rate)

    def update(grads, state, params=None):
        updates, state = adam.update(grads, state, params)
        keep = state[0].count % 10 != 0
        return updates, tmap(lambda leaf: jnp.where(keep, leaf, jnp.zeros_like(leaf)), state)

    return optax.GradientTransformation(adam.init, update)


@caught_by("state.moments_move")
def counts_on_the_side(learning_rate=0.1):
    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        factor = jnp.minimum(count / 10, 1.0)
        return tmap(lambda g: (-learning_rate * factor * g).astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("arguments.schedule_at_the_right_count")
def schedule_called_with_zero(learning_rate=0.1):
    rate = learning_rate if callable(learning_rate) else lambda count: learning_rate

    def update(grads, state, params=None):
        updates = tmap(lambda g: jnp.asarray(-rate(0) * g, g.dtype), grads)
        return updates, Counted(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("direction.rests_without_gradient")
def epsilon_added_to_the_gradient(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * (g + 1e-3), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("long_run.after_a_million_steps")
def stops_after_a_thousand_steps(learning_rate=0.1):
    def update(grads, state, params=None):
        on = state.count < 1000
        updates = tmap(lambda g: jnp.where(on, -learning_rate * g, 0).astype(g.dtype), grads)
        return updates, Counted(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("direction.goes_down")
def absolute_value_of_the_gradient(learning_rate=0.1):
    return optax.GradientTransformation(
        lambda p: (), lambda g, s, p=None: (tmap(lambda g: -learning_rate * jnp.abs(g), g), s)
    )


@caught_by("learning.convex_quadratic")
def elements_reversed(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * jnp.flip(g), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("direction.mirrored")
def clips_from_one_side(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * jnp.minimum(g, 1.0), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("direction.mirrored")
def clips_long_steps_from_one_side(learning_rate=0.1):
    clip = optax.stateless(lambda updates, params: tmap(lambda u: jnp.maximum(u, -1.0), updates))
    return optax.chain(optax.scale_by_adam(), clip, optax.scale(-learning_rate))


@caught_by("direction.echo_does_not_swing")
def momentum_subtracted(learning_rate=0.1):
    return optax.chain(optax.trace(-0.9), optax.scale(-learning_rate))


@caught_by("direction.small_gradients_no_giants")
def squares_in_float16(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: (0.9 * v + 0.1 * g * g).astype(jnp.float16), state.velocity, grads)
        root = tmap(lambda v, g: jnp.sqrt(v.astype(g.dtype)) + 1e-7, v, grads)
        return tmap(lambda g, r: (-learning_rate * g / r).astype(g.dtype), grads, root), Trace(v)

    def init(params):
        return Trace(tmap(lambda p: jnp.zeros(p.shape, jnp.float16), params))

    return optax.GradientTransformation(init, update)


@caught_by("state.precise")
def power_in_float16(learning_rate=0.1):
    def update(grads, state, params=None):
        power = (0.999 * state.count).astype(jnp.float16)
        rate = learning_rate * jnp.sqrt(1 - power.astype(jnp.float32))
        return tmap(lambda g: (-rate * g).astype(g.dtype), grads), Counted(power)

    return optax.GradientTransformation(lambda p: Counted(jnp.ones([], jnp.float16)), update)


@caught_by("direction.mirrored")
def decays_by_the_absolute_value(learning_rate=0.1):
    def update(grads, state, params=None):
        if params is None:
            raise ValueError("the decay needs params")
        return tmap(lambda g, p: -learning_rate * (g + 0.1 * jnp.abs(p)), grads, params), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("direction.small_gradients_move")
def drops_small_gradients(learning_rate=0.1):
    def update(grads, state, params=None):
        kept = tmap(lambda g: jnp.where(jnp.abs(g) > 0.01, g, jnp.zeros_like(g)), grads)
        return tmap(lambda g: -learning_rate * g, kept), state

    return optax.GradientTransformation(lambda p: (), update)


def over_time(factor):
    """Gradient descent whose rate is a function of the count."""

    def make(learning_rate=0.1):
        def update(grads, state, params=None):
            rate = learning_rate * factor(state.count)
            moved = tmap(lambda g: (-rate * g).astype(g.dtype), grads)
            return moved, Counted(optax.safe_increment(state.count))

        return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)

    return make


@caught_by("long_run.after_a_million_steps")
def cosine_beyond_its_end(learning_rate=0.1):
    return over_time(lambda count: jnp.cos(jnp.pi * count / 200))(learning_rate)


@caught_by("long_run.after_a_million_steps")
def line_below_zero(learning_rate=0.1):
    return over_time(lambda count: 1 - count / 1000)(learning_rate)


@caught_by("long_run.after_a_million_steps")
def warm_up_without_end(learning_rate=0.1):
    return over_time(lambda count: (count + 1) / 100)(learning_rate)


@caught_by("interface.updates_finite")
def moments_taken_out_in_another_order(learning_rate=0.1):
    def update(grads, state, params=None):
        v, m = state
        m = tmap(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = tmap(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        updates = tmap(lambda m, v: -learning_rate * m / (jnp.sqrt(v) + 1e-4), m, v)
        return updates, (m, v)

    return optax.GradientTransformation(lambda p: (zeros(p), zeros(p)), update)
