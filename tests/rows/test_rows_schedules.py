"""Exact Adam under a schedule: asked as Python outside jit, pickled, and made anew."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import rows

STEPS = ([0, 1], [2], [2], [0], [3], [1, 2], [3])
EXTREME = {"rtol": 0, "atol": 64 * np.finfo(np.float32).eps}


def optimizer_of(schedule):
    return rows.adam(schedule, tables=True)


def walk(optimizer, steps=STEPS, carry=None, compiled=False):
    table = jnp.zeros((5, 1))
    table, state = carry or (table, optimizer.init(table))

    def step(table, state, ids):
        grads = rows.RowGrads(ids, jnp.ones((ids.shape[0], 1)))
        updates, state = optimizer.update(grads, state, table)
        return rows.apply_updates(table, updates), state

    for ids in steps:
        take = jax.jit(step) if compiled else step
        table, state = take(table, state, jnp.array(ids))
    return table, state


def in_python(count):
    """It can't be traced."""
    return 0.1 if count < 3 else 0.01


def traced(count):
    return jnp.where(count < 3, 0.1, 0.01)


def test_outside_jit_a_schedule_is_called_as_python():
    wanted = walk(optimizer_of(traced), compiled=True)
    got = walk(optimizer_of(in_python))
    np.testing.assert_allclose(rows.finalize(*got)[0], rows.finalize(*wanted)[0], **EXTREME)
    ids = jnp.array([0, 4])
    caught, _ = rows.catch_up(*got, ids)
    np.testing.assert_allclose(caught, rows.catch_up(*wanted, ids)[0], **EXTREME)
    assert jax.tree.structure(rows.finalize(*got)[1]) == jax.tree.structure(got[1])


def test_a_rate_lowered_from_outside_counts():
    rate = {"now": 0.1}
    table, state = walk(optimizer_of(lambda count: rate["now"]), [[0]])
    rate["now"] = 0.0
    np.testing.assert_array_equal(rows.finalize(table, state)[0], table)


def made_anew():
    def warm(count):
        return 0.1 * jnp.minimum(count, 3) / 3

    return optax.join_schedules([warm, optax.cosine_decay_schedule(0.1, 10)], [3])


@pytest.mark.parametrize("stored", [lambda state: state, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_state_goes_on_under_an_optimizer_made_anew(stored):
    with jax.numpy_dtype_promotion("standard"):
        whole = walk(optimizer_of(made_anew()), compiled=True)
        table, state = walk(optimizer_of(made_anew()), STEPS[:3], compiled=True)
        other = optimizer_of(made_anew())
        state = stored(state)
        assert jax.tree.structure(state) == jax.tree.structure(other.init(table))
        got = walk(other, STEPS[3:], (table, state), compiled=True)
        np.testing.assert_array_equal(rows.finalize(*got)[0], rows.finalize(*whole)[0])


def test_the_state_under_another_schedule_has_another_structure():
    table = jnp.zeros((5, 1))
    states = [
        optimizer_of(optax.cosine_decay_schedule(rate, steps)).init(table)
        for rate, steps in ((0.1, 10), (0.1, 20), (0.2, 10))
    ]
    assert all(jax.tree.structure(a) != jax.tree.structure(states[0]) for a in states[1:])


def test_a_schedule_that_holds_a_traced_rate_equals_itself_alone():
    @jax.jit
    def equal(rate):
        one, other = (optimizer_of(lambda n: rate * n).init(jnp.zeros((2, 1))) for _ in range(2))
        assert jax.tree.structure(one) == jax.tree.structure(one)
        assert jax.tree.structure(one) != jax.tree.structure(other)
        return rate

    equal(0.1)
