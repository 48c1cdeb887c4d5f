"""Bugs in the contract: arguments, return values, types of the state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .registry import caught_by

tmap = jax.tree.map


class Trace(NamedTuple):
    velocity: object


class Counted(NamedTuple):
    count: object


def zeros(params):
    return tmap(jnp.zeros_like, params)


@caught_by("interface.depends_on_grads")
def params_and_grads_swapped(learning_rate=0.1):
    def update(params, state, grads=None):
        return tmap(lambda g: -learning_rate * g, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("interface.update_runs")
def state_and_params_swapped(learning_rate=0.1):
    def update(grads, params, state=None):
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("interface.update_returns_pair")
def returns_state_first(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        return Trace(v), tmap(lambda v: -learning_rate * v, v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("interface.update_returns_pair")
def returns_only_updates(learning_rate=0.1):
    return optax.GradientTransformation(
        lambda p: (), lambda g, s, p=None: tmap(lambda g: -learning_rate * g, g)
    )


@caught_by("interface.returns_updates")
def returns_new_params(learning_rate=0.1):
    def update(grads, state, params):
        return tmap(lambda p, g: p - learning_rate * g, params, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("interface.returns_updates")
def returns_the_params(learning_rate=0.1):
    return optax.GradientTransformation(lambda p: (), lambda g, s, p: (p, s))


@caught_by("interface.init_returns_arrays")
def python_int_counter(learning_rate=0.1):
    def update(grads, state, params=None):
        rate = learning_rate / (1 + 0.01 * state.count)
        return tmap(lambda g: -rate * g, grads), Counted(state.count + 1)

    return optax.GradientTransformation(lambda p: Counted(0), update)


@caught_by("interface.init_returns_arrays")
def python_float_in_state(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -state.count * g, grads), Counted(state.count * 0.999)

    return optax.GradientTransformation(lambda p: Counted(learning_rate), update)


@caught_by("interface.init_returns_arrays")
def function_in_state(learning_rate=0.1):
    class State(NamedTuple):
        schedule: object

    def update(grads, state, params=None):
        return tmap(lambda g: -state.schedule(0) * g, grads), state

    return optax.GradientTransformation(lambda p: State(lambda count: learning_rate), update)


@caught_by("state.is_fixed_point")
def weakly_typed_counter_becomes_float(learning_rate=0.1):
    def update(grads, state, params=None):
        count = state.count + 1.0
        return tmap(lambda g: -learning_rate / jnp.sqrt(count) * g, grads), Counted(count)

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("state.is_fixed_point")
def list_state_becomes_tuple(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + g, state[0], grads)
        return tmap(lambda v: -learning_rate * v, v), (v,)

    return optax.GradientTransformation(lambda p: [zeros(p)], update)


@caught_by("state.is_fixed_point")
def scalar_moment_grows_to_leaf_shape(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    init = lambda p: Trace(tmap(lambda x: jnp.zeros([]), p))  # noqa: E731
    return optax.GradientTransformation(init, update)


@caught_by("interface.updates_match_params")
def drops_the_matrix(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * jnp.mean(g, axis=0), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("interface.params_optional")
def forgets_decay_without_params(learning_rate=0.1):
    def update(grads, state, params=None):
        if params is None:
            params = zeros(grads)
        return tmap(lambda g, p: -learning_rate * (g + 0.1 * p), grads, params), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("interface.params_optional")
def needs_params_without_saying(learning_rate=0.1):
    def update(grads, state, params=None):
        step = lambda g, p: -learning_rate * (g + 0.1 * p)  # noqa: E731
        return tmap(step, grads, params), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("dtypes.bfloat16")
def float32_constant_promotes(learning_rate=0.1):
    rate = jnp.asarray(np.float32(learning_rate))

    def update(grads, state, params=None):
        return tmap(lambda g: -jnp.float32(learning_rate) * g + 0 * rate, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("dtypes.bfloat16")
def casts_to_float32(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * g.astype(jnp.float32), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("dtypes.float64")
def float32_moments_leave_as_float32(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: (0.9 * v + g).astype(jnp.float32), state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    init = lambda p: Trace(tmap(lambda x: jnp.zeros(x.shape, jnp.float32), p))  # noqa: E731
    return optax.GradientTransformation(init, update)


@caught_by("dtypes.complex_numbers")
def squares_complex_gradients(learning_rate=0.1):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: v + g**2, state.velocity, grads)
        step = lambda g, v: -learning_rate * g / (jnp.sqrt(v) + 1e-8)  # noqa: E731
        return tmap(step, grads, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("long_run.counter_at_maximum")
def counter_wraps(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * g, grads), Counted(state.count + 1)

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("long_run.counter_at_maximum")
def float_counter(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: -learning_rate * g, grads), Counted(state.count + 1)

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.float32)), update)


@caught_by("purity.donation_safe")
def moments_share_a_buffer(learning_rate=0.1):
    class State(NamedTuple):
        mu: object
        nu: object

    def init(params):
        blank = zeros(params)
        return State(blank, blank)

    def update(grads, state, params=None):
        mu = tmap(lambda m, g: 0.9 * m + 0.1 * g, state.mu, grads)
        nu = tmap(lambda v, g: 0.99 * v + 0.01 * g * g, state.nu, grads)
        step = lambda m, v: -learning_rate * m / (jnp.sqrt(v) + 1e-6)  # noqa: E731
        return tmap(step, mu, nu), State(mu, nu)

    return optax.GradientTransformation(init, update)
