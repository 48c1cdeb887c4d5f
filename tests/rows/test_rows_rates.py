"""A learning rate changed from outside, as `optax.inject_hyperparams` does it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import row_walks as walks

import lecture_opt as lo
from lecture_opt import rows


def walk_with_rates(make, rates, batches):
    """From zero, with the rate set from outside before each step."""
    fixed = set(inspect.signature(make).parameters) - {"learning_rate"}
    options = {"tables": True} if "tables" in fixed else {}
    if "b1_decay" in fixed:
        options["b1_decay"] = 1.0
    optimizer = optax.inject_hyperparams(make, static_args=fixed)(rates[0], **options)

    @jax.jit
    def step(params, state, rate, grads):
        state = state._replace(hyperparams={"learning_rate": rate})
        updates, state = optimizer.update(grads, state, params)
        return rows.apply_updates(params, updates), state

    params = jnp.zeros((walks.V, 1))
    state = optimizer.init(params)
    for rate, (ids, values) in zip(rates, batches, strict=True):
        grads = rows.RowGrads(jnp.array(ids), jnp.array(values)[:, None])
        if not options.get("tables"):
            grads = jnp.zeros_like(params).at[grads.ids].set(grads.values)
        params, state = step(params, state, jnp.array(rate), grads)
    return np.asarray(rows.finalize(params, state)[0])[:, 0]


def adam_with_rates(rates, batches):
    """The missed steps of a row at the rate of the last update before they are made up."""
    w, m, v, done = (np.zeros(walks.V) for _ in range(4))
    known = rates[0]

    def step(row, t, g, rate):
        m[row], v[row] = 0.9 * m[row] + 0.1 * g, 0.999 * v[row] + 0.001 * g**2
        w[row] -= rate * (m[row] / (1 - 0.9**t)) / (np.sqrt(v[row] / (1 - 0.999**t)) + 1e-8)
        done[row] = t

    for t, (rate, (ids, values)) in enumerate(zip(rates, batches, strict=True), 1):
        for row, g in zip(ids, values, strict=True):
            for missed in range(int(done[row]) + 1, t):
                step(row, missed, 0.0, known)
            step(row, t, g, rate)
        known = rate
    for row in range(walks.V):
        for missed in range(int(done[row]) + 1, len(rates) + 1):
            step(row, missed, 0.0, known)
    return w


def rates_and_batches():
    rng = np.random.default_rng(3)
    rates = [0.1] * 10 + [0.03] * 10 + [0.2] * 7 + [0.01] * 3
    batches = [(np.sort(rng.permutation(walks.V)[:3]), rng.normal(size=3)) for _ in rates]
    return rates, batches


def test_a_rate_changed_from_outside_is_that_of_all_steps_made_up_after_the_next_update(x64):
    rates, batches = rates_and_batches()
    got = walk_with_rates(rows.adam, rates, batches)
    np.testing.assert_allclose(got, adam_with_rates(rates, batches), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "rmsprop"])
def test_a_rate_changed_from_outside_is_in_the_state_already(name, x64):
    rates, batches = rates_and_batches()
    got = walk_with_rates(getattr(rows, name), rates, batches)
    wanted = walk_with_rates(getattr(lo, name), rates, batches)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
