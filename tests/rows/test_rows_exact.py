"""On rows, each of the six walks the dense path."""

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import row_walks as walks
from hypothesis import HealthCheck, given, settings

import lecture_opt as lo
from lecture_opt import rows
from lecture_opt.rows import _missed

each = pytest.mark.parametrize("name", walks.ALL)
each_and_lazy = pytest.mark.parametrize("name", [*walks.ALL, "lazy"])
exact = pytest.mark.parametrize("name", walks.EXACT)


def assert_same_path(name, steps, tolerance, **hyperparameters):
    ours, dense = walks.optimizers(name, **hyperparameters)
    params, ids = walks.start(), walks.batches(steps)
    (got, state), losses = walks.walk(ours, params, ids)
    (wanted, _), dense_losses = walks.dense_walk(dense, params, ids)
    got, _ = rows.finalize(got, state)
    length = np.abs(wanted["table"] - params["table"]).max()
    assert length > 1e-3
    for leaf in ("table", "bias"):
        np.testing.assert_allclose(got[leaf], wanted[leaf], rtol=0, atol=tolerance)
    scale = float(np.abs(dense_losses).max()) * walks.K * walks.D
    np.testing.assert_allclose(losses, dense_losses, rtol=0, atol=tolerance * scale)


@each
def test_float64_walk_is_the_dense_walk(name, x64):
    assert_same_path(name, 400, 1e-11)


@each
def test_float32_walk_is_the_dense_walk(name):
    # Rounding of 400 steps of params near 1; Adam's dense rule also rounds b2^t to 2^-24 beside
    # 1 - b2^t = 0.001 t, 6e-5 / t of the early steps' 0.001 each.
    ulps = 400**0.5 * 2.0**-24 * 2
    assert_same_path(name, 400, ulps + (1e-3 * 6e-5 * 10 if name == "adam" else 0))


BATCH = st.lists(st.integers(-1, walks.V + 1), min_size=4, max_size=4)


@each_and_lazy
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BATCH, min_size=8, max_size=8))
def test_any_ids_give_the_dense_walk(name, x64, ids):
    """Duplicates, padding and ids outside the table, which are dropped, among them."""
    ours, dense = walks.optimizers(name)
    walked, losses = walks.walk(ours, walks.start(), jnp.array(ids))
    got, _ = rows.finalize(*walked)
    dense_walk = functools.partial(walks.dense_walk, lazy=name == "lazy")
    (wanted, _), dense_losses = dense_walk(dense, walks.start(), jnp.array(ids))
    np.testing.assert_allclose(losses, dense_losses, rtol=1e-11)
    for leaf in ("table", "bias"):
        np.testing.assert_allclose(got[leaf], wanted[leaf], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_ten_thousand_steps_of_adam_in_float64(x64):
    assert_same_path("adam", 10_000, 1e-11)


@pytest.mark.slow
def test_ten_thousand_steps_of_adam_in_float32():
    # As far from the dense path in float64 as the dense path in float32 is, to a factor of 2.
    ours, dense = walks.optimizers("adam")
    params, ids = walks.start(), walks.batches(10_000)
    (got, state), _ = walks.walk(ours, params, ids)
    got, _ = rows.finalize(got, state)
    (dense32, _), _ = walks.dense_walk(dense, params, ids)
    jax.config.update("jax_enable_x64", True)
    try:
        wide = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)
        # b1_decay rounds to 1 in float32.
        _, dense64 = walks.optimizers("adam", b1_decay=1.0)
        (wanted, _), _ = walks.dense_walk(dense64, wide, ids)
    finally:
        jax.config.update("jax_enable_x64", False)
    wanted = np.asarray(wanted["table"])
    ours_off = np.abs(np.asarray(got["table"], float) - wanted).max()
    dense_off = np.abs(np.asarray(dense32["table"], float) - wanted).max()
    assert ours_off <= 2 * dense_off + 2.0**-22


def test_adam_with_a_schedule_that_jumps(x64):
    def schedule(count):
        return jnp.select([count < 60, count < 90, count < 200], [0.01, 0.001, 0.02], 0.005)

    assert_same_path("adam", 300, 1e-11, learning_rate=schedule)


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_a_schedule_is_inside_the_velocity(name, x64):
    assert_same_path(
        name, 200, 1e-11, learning_rate=lambda count: 0.01 * 0.98 ** count.astype(float)
    )


def test_adam_without_epsilon_leaves_rows_of_zero_gradient():
    optimizer = rows.adam(0.1, eps=0.0, tables=True)
    table = jnp.ones((3, 2))
    state = optimizer.init(table)
    for row in (0, 1, 1):
        grads = rows.RowGrads(jnp.array([row]), jnp.zeros((1, 2)))
        updates, state = optimizer.update(grads, state, table)
        table = rows.apply_updates(table, updates)
    table, _ = rows.finalize(table, state)
    np.testing.assert_array_equal(table, jnp.ones((3, 2)))


def test_adam_where_epsilon_rules(x64):
    assert_same_path("adam", 300, 1e-11, learning_rate=0.1, eps=3.0)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [("momentum", {"momentum": 0.0}), ("rmsprop", {"decay": 0.0}), ("adam", {"b1": 0.0})],
)
def test_decays_of_zero(name, hyper, x64):
    assert_same_path(name, 100, 1e-11, **hyper)


@settings(max_examples=60)
@given(
    st.integers(1, 3000),
    st.integers(0, 3000),
    st.floats(-12, 3),
    st.sampled_from([1e-8, 1e-3, 1.0]),
    st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.95, 0.99), (0.0, 0.5)]),
)
def test_adams_missed_movement_is_the_sum_step_by_step(started, missed, log_v, eps, decays):
    b1, b2 = decays
    m, v = 0.3, 10.0**log_v
    t = started + np.arange(1, missed + 1)
    terms = b1 ** (t - started) * m / (1 - b1**t)
    terms /= np.sqrt(b2 ** (t - started) * v / (1 - b2**t)) + eps
    wanted = -0.01 * terms.sum()
    form = _missed.Adam(_missed.window(b1, b2))
    hyper = {"learning_rate": 0.01, "b1": b1, "b2": b2, "eps": eps, "b1_decay": 1.0}
    hyper = {name: jnp.float32(value) for name, value in hyper.items()}
    slots = jnp.full((1, 1), m, jnp.float32), jnp.full((1, 1), v, jnp.float32)
    (new_m, new_v), moved = closed_form(
        form, hyper, slots, jnp.array([started]), jnp.int32(started + missed)
    )
    # float32 of b1 and b2 is 2^-25 off, beside 1 - b1 and 1 - b2 >= 1e-3 at most 3e-5.
    np.testing.assert_allclose(moved[0, 0], wanted, rtol=4e-5)
    np.testing.assert_allclose(new_m[0, 0], m * b1**missed, rtol=3e-4, atol=1e-37)
    np.testing.assert_allclose(new_v[0, 0], v * b2**missed, rtol=3e-4, atol=1e-37)


closed_form = jax.jit(
    lambda form, hyper, slots, start, stop: form(slots, start, stop, **hyper), static_argnums=0
)


@pytest.mark.parametrize(
    ("window", "per_octave", "degree", "bound"), [(181, 2, 7, 1e-6), (407, 6, 9, 1e-11)]
)
def test_the_bound_on_the_series_error(window, per_octave, degree, bound):
    b1, b2 = 0.9, 0.999
    nodes, basis = _missed._interpolation(window, per_octave, degree)
    j = np.arange(1, window + 1)
    falling = (b1 / np.sqrt(b2)) ** j
    for start in (1, 2, 3, 5, 10, 30, 100, 1000, 100_000):
        t = start + j
        c = np.sqrt(-np.expm1(t * np.log(b2)))
        for eps_over_root in (0, 0.01, 0.1, 1, 10, 100, 1e4):
            h = c / -np.expm1(t * np.log(b1)) / (1 + eps_over_root * c * b2 ** (-j / 2))
            wanted = np.cumsum(falling * h)
            got = h[nodes.astype(int) - 1] @ np.cumsum(falling * basis, axis=1)
            assert np.abs(got / wanted - 1).max() < bound


@exact
def test_catch_up_gives_rows_as_the_dense_path_has_them(name, x64):
    ours, dense = walks.optimizers(name)
    ids = walks.batches(50)
    (params, state), _ = walks.walk(ours, walks.start(), ids)
    (wanted, dense_state), _ = walks.dense_walk(dense, walks.start(), ids)
    read = jnp.array([[0, 7], [7, -1]])
    params, state = rows.catch_up(params, state, walks.ids_fn(read))
    for row in (0, 7):
        np.testing.assert_allclose(params["table"][row], wanted["table"][row], atol=1e-12)
        for got, slot in zip(state.inner[1:], dense_state[1:], strict=True):
            np.testing.assert_allclose(got["table"][row], slot["table"][row], rtol=1e-9, atol=1e-14)
        assert state.touched["table"][row] == 50
    again, _ = rows.catch_up(params, state, walks.ids_fn(read))
    np.testing.assert_array_equal(again["table"], params["table"])


def test_lazy_is_the_dense_rule_on_rows_whenever_touched():
    optimizer = rows.lazy(lo.adam(0.1, b1_decay=1.0))
    params = {"table": jnp.zeros((5, 2)), "bias": jnp.zeros(2)}
    state = optimizer.init(params)
    for value in (1.0, -3.0):
        row = rows.RowGrads(jnp.array([3]), jnp.full((1, 2), value))
        grads = {"table": row, "bias": jnp.ones(2)}
        updates, state = optimizer.update(grads, state, params)
        params = rows.apply_updates(params, updates)
    before = params
    empty = rows.RowGrads(jnp.array([5]), jnp.zeros((1, 2)))
    updates, state = optimizer.update({"table": empty, "bias": jnp.ones(2)}, state, params)
    params = rows.apply_updates(params, updates)
    np.testing.assert_array_equal(params["table"], before["table"])
    assert (params["bias"] < before["bias"]).all()
    np.testing.assert_allclose(state.mu["table"][3], -0.21, rtol=1e-6)
    np.testing.assert_array_equal(state.mu["table"][:3], 0)


@pytest.mark.parametrize("optimizer", [optax.adam(0.1), optax.lion(0.1), optax.adamw(0.1)])
@jax.numpy_dtype_promotion("standard")  # optax's adam raises a float to an int
def test_lazy_takes_optaxs_optimizers(optimizer):
    lazy = rows.lazy(optax.chain(optax.identity(), optimizer))
    params = {"table": jnp.ones((5, 2)), "bias": jnp.ones(2)}
    grads = {"table": rows.RowGrads(jnp.array([1, 4]), jnp.ones((2, 2))), "bias": jnp.ones(2)}
    updates, _ = lazy.update(grads, lazy.init(params), params)
    got = rows.apply_updates(params, updates)
    dense = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    wanted = optax.apply_updates(params, dense[0])
    touched = jnp.array([1, 4])
    np.testing.assert_allclose(got["table"][touched], wanted["table"][touched], rtol=1e-6)
    np.testing.assert_array_equal(got["table"][0], 1)
    np.testing.assert_allclose(got["bias"], wanted["bias"], rtol=1e-6)


@each_and_lazy
def test_an_empty_batch_moves_rows_only_as_the_dense_rule_does(name, x64):
    ours, dense = walks.optimizers(name)
    empty = jnp.zeros((3, 0), jnp.int32)
    (params, state), _ = walks.walk(ours, walks.start(), empty)
    (wanted, _), _ = walks.dense_walk(dense, walks.start(), empty)
    np.testing.assert_allclose(params["bias"], wanted["bias"], rtol=1e-12)
    np.testing.assert_array_equal(rows.finalize(params, state)[0]["table"], wanted["table"])


@each
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_16_bit_tables_have_float32_state_and_keep_their_dtype(name, dtype):
    ours, dense = walks.optimizers(name)
    ids = walks.batches(20)
    (params, state), _ = walks.walk(ours, walks.start(dtype), ids)
    params, state = rows.finalize(params, state)
    assert params["table"].dtype == dtype
    floating = [s.dtype for s in jax.tree.leaves(state) if jnp.issubdtype(s.dtype, jnp.floating)]
    assert set(floating) <= {jnp.dtype(jnp.float32)}
    (wanted, _), _ = walks.dense_walk(dense, walks.start(), ids)
    # A rounding of the param, the gradient and the update a step, of values near 2.
    tolerance = 20 * 2 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        np.asarray(params["table"], np.float32), wanted["table"], atol=tolerance
    )


def test_hyperparameters_may_be_swept_with_vmap():
    def run(rate, b1):
        optimizer = rows.adam(rate, b1=b1, tables=walks.TABLES)
        (params, state), _ = walks.walk(optimizer, walks.start(), walks.batches(30))
        return rows.finalize(params, state)[0]["table"]

    swept = jax.vmap(run)(jnp.array([0.01, 0.1]), jnp.array([0.9, 0.5]))
    for member, (rate, b1) in enumerate([(0.01, 0.9), (0.1, 0.5)]):
        np.testing.assert_allclose(swept[member], run(rate, b1), atol=2e-5 * 30 * rate)


@exact
def test_a_gradient_of_the_wrong_kind_is_named(name):
    ours, _ = walks.optimizers(name)
    params = walks.start()
    state = ours.init(params)
    row = rows.RowGrads(jnp.array([0]), jnp.ones((1, 3)))
    with pytest.raises(TypeError, match=r"grads\['table'\] is .* a table; wanted RowGrads"):
        ours.update(params, state)
    with pytest.raises(TypeError, match=r"grads\['bias'\] is RowGrads .* not a table"):
        ours.update({"table": row, "bias": row}, state)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"b1=0\.9 and b2=0\.5"):
        rows.adam(b2=0.5, tables=True)
    with pytest.raises(ValueError, match=r"tables.* is for no leaf"):
        rows.adam(tables={"tabel": True}).init(walks.start())
    with pytest.raises(TypeError, match="ids have dtype float32; wanted integers"):
        rows.RowGrads(jnp.array([0.5]), jnp.ones((1, 3)))
