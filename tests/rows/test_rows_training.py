"""Tables in `fit`, in optax's combinators, and under clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import row_walks as walks

import lecture_opt as lo
from lecture_opt import rows

DATA = walks.batches(40)[:, :1].ravel()


def fit(optimizer, **options):
    # Found by fit in its cache: one program for all calls with this optimizer.
    return lo.fit(
        walks.loss_fn,
        walks.start(),
        optimizer,
        DATA,
        **{"steps": 30, "batch_size": 4, "key": jax.random.key(0), "ids_fn": walks.ids_fn}
        | options,
    )


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_fit_on_rows_is_fit_on_the_dense_table(name):
    ours, dense = walks.optimizers(name)
    seen = []
    got = fit(
        ours,
        callback=lambda step, params, losses: seen.append(params),
        eval_fn=jax.jit(lambda p: p["table"]),
    )
    wanted = lo.fit(
        walks.dense_loss_fn,
        walks.start(),
        dense,
        DATA,
        steps=30,
        batch_size=4,
        key=jax.random.key(0),
    )
    for table in (got.params["table"], seen[-1]["table"], got.evaluations[-1][1]):
        np.testing.assert_allclose(table, wanted.params["table"], atol=1e-5)
    np.testing.assert_allclose(got.losses, wanted.losses, rtol=1e-4)


def test_a_dense_optimizer_is_told_of_lazy():
    with pytest.raises((TypeError, ValueError)) as caught:
        fit(lo.adam(0.1))
    assert "rows.lazy(optimizer)" in caught.value.__notes__[0]


def test_an_optimizers_own_error_stays_as_it_is():
    def update(grads, state, params=None):
        raise ValueError("mine")

    optimizer = optax.GradientTransformation(optax.sgd(0.1).init, update)
    with pytest.raises(ValueError, match="mine") as caught:
        fit(optimizer, ids_fn=None)
    assert "rows.lazy" not in str(getattr(caught.value, "__notes__", ""))


def test_a_run_continues_from_its_result():
    ours, _ = walks.optimizers("adam")
    whole = fit(ours)
    half = fit(ours, steps=15)
    rest = lo.fit(
        walks.loss_fn,
        half.params,
        ours,
        DATA,
        steps=15,
        batch_size=4,
        key=jax.random.key(0),
        ids_fn=walks.ids_fn,
        opt_state=half.opt_state,
        start_step=15,
    )
    np.testing.assert_allclose(rest.params["table"], whole.params["table"], atol=1e-5)


def test_clipping_counts_a_row_once_summed():
    clip, dense = rows.clip_by_global_norm(0.7), optax.clip_by_global_norm(0.7)
    params, batch = walks.start(), jnp.array([3, 3, 3, 5])
    _, grads = jax.jit(rows.value_and_row_grad(walks.loss_fn, walks.ids_fn))(params, batch)
    dense_grads = jax.jit(jax.grad(walks.dense_loss_fn))(params, batch)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(dense_grads)))
    np.testing.assert_allclose(rows.global_norm(grads), norm, rtol=1e-6)
    got, _ = jax.jit(clip.update)(grads, clip.init(params))
    wanted, _ = dense.update(dense_grads, dense.init(params))
    np.testing.assert_allclose(got["bias"], wanted["bias"], rtol=1e-6)
    np.testing.assert_allclose(
        got["table"].values[:2], wanted["table"][jnp.array([3, 5])], rtol=1e-6
    )
    np.testing.assert_allclose(rows.global_norm(got), 0.7, rtol=1e-6)


def test_small_and_zero_gradients_are_not_clipped():
    clip = rows.clip_by_global_norm(0.7)
    for values in (jnp.zeros((2, 3)), jnp.full((2, 3), 0.01)):
        grads = {"table": rows.RowGrads(jnp.array([1, 2]), values), "none": None}
        got, _ = clip.update(grads, clip.init(None))
        np.testing.assert_array_equal(got["table"].values, values)
        assert got["none"] is None


def test_the_state_is_found_inside_optaxs_combinators():
    tables = {"table": True}
    plain = optax.chain(rows.clip_by_global_norm(0.5), rows.adam(0.1, tables=tables))
    split = optax.chain(
        rows.clip_by_global_norm(0.5),
        optax.multi_transform(
            {"rows": rows.adam(0.1, tables=tables), "dense": lo.adam(0.1)},
            {"table": "rows", "bias": "dense"},
        ),
    )
    dense = optax.chain(optax.clip_by_global_norm(0.5), lo.adam(0.1))
    ids = walks.batches(60)
    (wanted, _), _ = walks.dense_walk(dense, walks.start(), ids)
    for optimizer in (plain, split):
        (params, state), _ = walks.walk(optimizer, walks.start(), ids)
        params, _ = rows.finalize(params, state)
        np.testing.assert_allclose(params["table"], wanted["table"], atol=2e-5)
        np.testing.assert_allclose(params["bias"], wanted["bias"], atol=2e-5)


def test_apply_updates_drops_ids_past_the_table_and_keeps_none():
    params = {"table": jnp.zeros((3, 1), jnp.float16), "none": None, "dense": jnp.ones(2)}
    update = rows.RowGrads(jnp.array([1, 3, 4]), jnp.ones((3, 1)))
    got = rows.apply_updates(params, {"table": update, "none": None, "dense": jnp.ones(2)})
    np.testing.assert_array_equal(got["table"].ravel(), [0, 1, 0])
    assert got["table"].dtype == jnp.float16
    np.testing.assert_array_equal(got["dense"], 2)
