"""RowGrads: sums, padding, wrong ids, and that no table-sized gradient is made."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import row_walks as walks
from hypothesis import given

from lecture_opt import rows

row_grads = jax.jit(rows.row_grads, static_argnums=2)
grad_fn = jax.jit(rows.value_and_row_grad(walks.loss_fn, walks.ids_fn))
dense_grad_fn = jax.jit(jax.value_and_grad(walks.dense_loss_fn))


@given(st.lists(st.integers(-1, 8), min_size=6, max_size=6), st.integers(0, 1000))
def test_duplicates_are_summed_and_padding_is_dropped(ids, seed):
    values = np.random.default_rng(seed).integers(-8, 9, (6, 2)).astype(np.float32)
    dense = np.zeros((9, 2), np.float32)
    for i, v in zip(ids, values, strict=True):
        if i >= 0:
            dense[i] += v
    got = row_grads(jnp.array(ids), jnp.asarray(values), 9)
    scattered = jnp.zeros((9, 2)).at[got.ids].add(got.values, mode="drop")
    np.testing.assert_array_equal(scattered, dense)
    assert (np.diff(got.ids) > 0).all()
    assert set(np.asarray(got.ids)[np.asarray(got.ids) < 9]) == set(ids) - {-1}
    np.testing.assert_array_equal(np.asarray(got.values)[np.asarray(got.ids) >= 9], 0)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,), ()])
def test_the_gradient_is_the_dense_one_for_ids_of_any_shape(shape):
    batch = jnp.asarray(np.random.default_rng(1).integers(0, 5, shape))
    params = walks.start()
    loss, grads = grad_fn(params, batch)
    wanted_loss, wanted = dense_grad_fn(params, batch)
    got = jnp.zeros((walks.V, walks.D)).at[grads["table"].ids].add(grads["table"].values)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)
    np.testing.assert_allclose(got, wanted["table"], rtol=1e-6)
    np.testing.assert_allclose(grads["bias"], wanted["bias"], rtol=1e-5)


def test_several_lookups_in_one_table_and_several_tables():
    params = {"in": jnp.arange(8.0).reshape(4, 2), "out": jnp.ones((5, 2)), "dense": [jnp.ones(2)]}

    def ids_fn(batch):
        return {"in": batch[0], "out": {"positive": batch[0], "negative": batch[1]}}

    def loss_fn(params, batch):
        out, scale = params["out"], params["dense"][0][None, :]
        return jnp.sum(params["in"] * out["positive"] * scale) + jnp.sum(out["negative"] ** 3)

    batch = jnp.array([1, 3]), jnp.array([[0, 1], [1, 4]])
    _, grads = jax.jit(rows.value_and_row_grad(loss_fn, ids_fn))(params, batch)
    wanted = jax.jit(jax.grad(lambda p: loss_fn(rows.gather(p, ids_fn(batch)), batch)))(params)
    for name in ("in", "out"):
        got = jnp.zeros_like(params[name]).at[grads[name].ids].add(grads[name].values)
        np.testing.assert_allclose(got, wanted[name], rtol=1e-6)
    np.testing.assert_allclose(grads["dense"][0], wanted["dense"][0], rtol=1e-6)


def test_has_aux_and_a_table_that_is_the_whole_tree():
    fn = rows.value_and_row_grad(lambda r, b: (jnp.sum(r), 2 * r), lambda b: b, has_aux=True)
    (loss, aux), grads = jax.jit(fn)(jnp.ones((5, 2)), jnp.array([1, 1, 1]))
    assert (float(loss), aux.shape) == (6.0, (3, 2))
    np.testing.assert_array_equal(grads.values[0], [3, 3])


def test_under_vmap_each_member_has_its_own_rows():
    params = jnp.arange(30.0).reshape(2, 5, 3)
    batch = jnp.array([[0, 0], [1, 4]])
    fn = jax.jit(rows.value_and_row_grad(lambda r, b: jnp.sum(r**2), lambda b: b))
    _, grads = jax.jit(jax.vmap(fn))(params, batch)
    for member in range(2):
        _, alone = fn(params[member], batch[member])
        np.testing.assert_array_equal(grads.ids[member], alone.ids)
        np.testing.assert_array_equal(grads.values[member], alone.values)


def test_nothing_of_the_tables_size_is_made():
    params = walks.start(size=1000)
    jaxpr = jax.make_jaxpr(grad_fn)(params, jnp.array([1, 1, 2]))

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.size for v in equation.outvars)
            for value in jax.tree.leaves(list(equation.params.values())):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from sizes(inner)

    assert max(sizes(jaxpr.jaxpr)) < 1000


@pytest.mark.parametrize("bad", [12, -2, 2**31 - 1])
def test_ids_outside_the_table_raise_outside_jit_and_are_dropped_and_counted_inside(bad):
    params, batch = walks.start(), jnp.array([3, bad, -1])
    with pytest.raises(ValueError, match=f"id {bad} is outside a table of 12 rows"):
        rows.value_and_row_grad(walks.loss_fn, walks.ids_fn)(params, batch)
    with pytest.raises(ValueError, match="outside a table"):
        rows.gather(params, walks.ids_fn(batch))
    with pytest.raises(ValueError, match=f"catch_up: id {bad} is outside a table"):
        rows.catch_up(params, None, walks.ids_fn(batch))
    with pytest.raises(ValueError, match=f"row_grads: id {bad} is outside a table"):
        rows.row_grads(batch, jnp.ones((3, 1)), walks.V)
    _, grads = grad_fn(params, batch)
    _, wanted = grad_fn(params, jnp.array([3, -1, -1]))
    np.testing.assert_array_equal(grads["table"].ids[0], 3)
    np.testing.assert_array_equal(grads["table"].values[0], wanted["table"].values[0])
    np.testing.assert_array_equal(grads["table"].values[1:], 0)
    assert (grads["table"].ids[1:] >= 12).all()
    assert jax.jit(rows.out_of_range)(params, walks.ids_fn(batch)) == 1


def test_ids_of_small_and_unsigned_types():
    for dtype in (jnp.uint8, jnp.int8, jnp.uint32):
        got = row_grads(jnp.array([7, 7], dtype), jnp.ones((2, 1)), 1000)
        assert (int(got.ids[0]), float(got.values[0, 0])) == (7, 2.0)


def test_16_bit_duplicates_are_summed_in_float32():
    values = jnp.full((300, 1), 1.0, jnp.bfloat16)  # in bfloat16, 256 + 1 is 256
    got = row_grads(jnp.zeros(300, jnp.int32), values, 4)
    assert got.values.dtype == jnp.bfloat16
    assert got.values[0, 0] == 300


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ({"tabel": jnp.array([0])}, ValueError, r"ids\['tabel'\] is for no leaf"),
        ({"table": jnp.array([0.5])}, TypeError, "float32; wanted integers"),
    ],
)
def test_wrong_ids_are_named(ids, error, message):
    with pytest.raises(error, match=message):
        rows.gather(walks.start(), ids)


def test_ids_that_end_above_a_leaf_say_its_keys():
    params = {"embedding": {"value": jnp.ones((3, 1))}}
    with pytest.raises(ValueError, match=r"\['embedding'\] ends above a leaf, .*\['value'\]"):
        rows.gather(params, {"embedding": jnp.array([0])})
