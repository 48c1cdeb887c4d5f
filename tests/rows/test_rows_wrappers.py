"""RowGrads in the hands of transformations that know nothing of rows: refused, or right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo
from lecture_opt import rows

PARAMS = {"bias": jnp.ones(2), "table": jnp.ones((10, 2))}


def gradients():
    def loss_fn(params, batch):
        return jnp.sum(params["table"] ** 2) + jnp.sum(params["bias"] ** 2)

    grad_fn = rows.value_and_row_grad(loss_fn, lambda batch: {"table": batch})
    return grad_fn(PARAMS, jnp.array([3, 4]))[1]


def updates_of(transformation):
    grads = gradients()
    return transformation.update(grads, transformation.init(PARAMS), PARAMS)[0]


STRANGERS = {
    "scale by an integer": lambda: updates_of(optax.scale(2)),
    "scale by a float": lambda: updates_of(optax.scale(0.5)),
    "sgd": lambda: updates_of(optax.sgd(0.1)),
    "adam": lambda: updates_of(optax.adam(0.1)),
    "clip": lambda: updates_of(optax.clip(1.0)),
    "clip by norm": lambda: updates_of(optax.clip_by_global_norm(1.0)),
    "weight decay": lambda: updates_of(optax.add_decayed_weights(0.1)),
    "ema": lambda: updates_of(optax.ema(0.9)),
    "trace": lambda: updates_of(optax.trace(0.9)),
    "multi steps": lambda: updates_of(optax.MultiSteps(optax.sgd(0.1), 2)),
    "norm": lambda: optax.tree_utils.tree_norm(gradients()),
    "apply": lambda: optax.apply_updates(PARAMS, gradients()),
    "after rows": lambda: updates_of(optax.chain(rows.sgd(0.1), optax.scale(2))),
    "before rows": lambda: updates_of(optax.chain(optax.scale(2), rows.sgd(0.1))),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_transformation_that_knows_no_rows_is_told(stranger, compiled):
    run = STRANGERS[stranger]
    with pytest.raises((TypeError, ValueError), match="RowGrads"):
        (jax.jit(run) if compiled else run)()


TOLD = {
    "add_noise": lambda: optax.add_noise(0.1, 0.5, 0),
    "adaptive_grad_clip": lambda: optax.adaptive_grad_clip(1.0),
    "centralize": lambda: optax.centralize(),
    "clip_by_block_rms": lambda: optax.clip_by_block_rms(1.0),
    "keep_params_nonnegative": lambda: optax.keep_params_nonnegative(),
    "lamb": lambda: optax.lamb(0.1),
    "lion": lambda: optax.lion(0.1),
    "lookahead": lambda: optax.lookahead(rows.sgd(0.1), 2, 0.5),
    "muon": lambda: optax.contrib.muon(0.1),
    "noisy_sgd": lambda: optax.noisy_sgd(0.1, key=0),
    "normalize": lambda: optax.normalize_by_update_norm(),
    "sam": lambda: optax.contrib.sam(rows.sgd(0.1), optax.sgd(0.05), sync_period=2),
    "scale_by_factored_rms": lambda: optax.scale_by_factored_rms(),
    "scale_by_schedule": lambda: optax.scale_by_schedule(lambda count: 0.1),
    "scale_by_sign": lambda: optax.scale_by_sign(),
    "scale_by_trust_ratio": lambda: optax.scale_by_trust_ratio(),
    "schedule_free": lambda: optax.contrib.schedule_free(rows.sgd(0.1), 0.1),
    "skip_not_finite": lambda: optax.MultiSteps(
        rows.sgd(0.1), 2, should_skip_update_fn=optax.skip_not_finite
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_any_transformation_that_calculates_with_leaves_is_told(name):
    transformation = TOLD[name]()
    params = optax.LookaheadParams(PARAMS, PARAMS) if name == "lookahead" else PARAMS
    standard = jax.numpy_dtype_promotion("standard")  # add_noise mixes dtypes
    with pytest.raises((TypeError, ValueError), match="RowGrads"), standard:
        transformation.update(gradients(), transformation.init(params), params)


@pytest.mark.parametrize("clip", ["per_example_global_norm_clip", "per_example_layer_norm_clip"])
def test_clipping_per_example_is_told(clip):
    grads = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), gradients())
    with pytest.raises((TypeError, ValueError), match="RowGrads"):
        getattr(optax, clip)(grads, 1.0)


KNOWN = {
    "apply_if_finite": lambda inner: optax.apply_if_finite(inner, 3),
    "conditionally_mask": lambda inner: optax.conditionally_mask(inner, lambda step: step > 0),
    "conditionally_transform": lambda inner: optax.conditionally_transform(
        inner, lambda step: step > 0
    ),
    "inject_hyperparams": lambda inner: optax.inject_hyperparams(lambda unused: inner)(unused=0.1),
    "masked": lambda inner: optax.masked(inner, {"bias": False, "table": True}),
    "named_chain": lambda inner: optax.named_chain(("inner", inner)),
    "partition": lambda inner: optax.multi_transform(
        {"one": inner, "other": optax.set_to_zero()}, {"bias": "other", "table": "one"}
    ),
    "set_to_zero": lambda inner: optax.chain(optax.set_to_zero(), inner),
    "stateless": lambda inner: optax.chain(optax.stateless(lambda grads, params: grads), inner),
    "split_real_and_imaginary": optax.contrib.split_real_and_imaginary,
    "zero_nans": lambda inner: optax.chain(optax.zero_nans(), inner),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_transformation_that_moves_leaves_gives_what_it_gives_dense(name):
    """In two steps, the second with a NaN, which some of them look for."""

    def walked(optimizer, dense):
        state, params = optimizer.init(PARAMS), PARAMS
        for scale in (1.0, jnp.nan):
            grads = gradients()
            grads["table"] = rows.RowGrads(grads["table"].ids, scale * grads["table"].values)
            if dense:
                grads["table"] = rows.apply_updates(jnp.zeros((10, 2)), grads["table"])
            updates, state = optimizer.update(grads, state, params)
            params = rows.apply_updates(params, updates)
        return params

    ours = walked(KNOWN[name](rows.sgd(0.1)), dense=False)
    wanted = walked(KNOWN[name](lo.sgd(0.1)), dense=True)
    jax.tree.map(np.testing.assert_array_equal, ours, wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_of_the_leaves_is_told(dtype):
    for cast in (lambda leaf: leaf.astype(dtype), lambda leaf: jnp.asarray(leaf, dtype)):
        with pytest.raises((TypeError, ValueError), match="RowGrads"):
            jax.tree.map(cast, gradients())


@pytest.mark.parametrize("compiled", [False, True])
def test_zero_nans_leaves_the_ids_alone(compiled):
    def run():
        return updates_of(optax.chain(optax.zero_nans(), rows.sgd(0.1)))["table"]

    got = (jax.jit(run) if compiled else run)()
    np.testing.assert_array_equal(got.ids, [3, 4])
    np.testing.assert_allclose(got.values, np.full((2, 2), -0.2), rtol=1e-6)


def test_the_first_leaf_has_the_dtype_of_the_values():
    """Older optax gives it to the numbers of `inject_hyperparams`."""
    first = jax.tree.leaves(rows.RowGrads(jnp.array([1]), jnp.ones((1, 2), jnp.bfloat16)))[0]
    assert first.dtype == jnp.bfloat16
    injected = optax.inject_hyperparams(rows.sgd)(learning_rate=0.5)
    np.testing.assert_allclose(updates_of(injected)["table"].values, np.full((2, 2), -1.0))


def test_jit_scan_and_vmap_carry_the_ids():
    stacked = jax.vmap(lambda i: rows.RowGrads(i + jnp.arange(2), jnp.ones((2, 1))))(jnp.arange(3))
    _, scanned = jax.lax.scan(lambda carry, grads: (carry, grads), 0, stacked)
    mapped = jax.jit(jax.vmap(lambda grads: grads))(scanned)
    np.testing.assert_array_equal(mapped.ids, [[0, 1], [1, 2], [2, 3]])


BIG = np.array([3, 2**32 + 3])


@pytest.mark.parametrize(
    "use",
    [
        lambda table: rows.gather({"w": table}, {"w": BIG}),
        lambda table: jax.jit(lambda t: rows.gather({"w": t}, {"w": BIG}))(table),
        lambda table: rows.gather({"w": table}, {"w": [3, 2**40]}),
        lambda table: rows.row_grads(BIG, jnp.ones((2, 1)), 10),
        lambda table: rows.RowGrads(BIG, jnp.ones((2, 1))),
        lambda table: rows.catch_up({"w": table}, (), {"w": BIG}),
        lambda table: rows.value_and_row_grad(jnp.sum, lambda batch: batch)(table, BIG),
    ],
)
def test_ids_past_32_bits_are_named(use):
    with pytest.raises(ValueError, match=r"ids holds 4294967299|ids holds 1099511627776"):
        use(jnp.ones((10, 1)))


@pytest.mark.parametrize("x64_on", [False, True])
@pytest.mark.parametrize(
    "ids",
    [
        BIG, BIG.astype(np.uint64), BIG.astype(">i8"), BIG.tolist(), list(BIG), [3, 2**70],
        np.array([-(2**32)]), np.array([2**32 - 1], np.uint32),
    ],
    ids=["int64", "uint64", "swapped", "ints", "scalars", "huge", "negative", "uint32"],
)  # fmt: skip
def test_the_ids_of_row_gradients_fit_32_bits(ids, x64_on):
    with jax.enable_x64(x64_on):
        with pytest.raises(ValueError, match=r"RowGrads: ids holds .* past int32, the dtype"):
            rows.RowGrads(ids, jnp.ones((2, 1)))
        with pytest.raises(ValueError, match="gather: id"):
            rows.gather(jnp.ones((10, 1)), np.asarray(ids))


@pytest.mark.parametrize("ids", [[1.5], [True], np.array([1], object)])
def test_ids_that_are_no_integers_are_told(ids):
    ids, table = np.asarray(ids), jnp.ones((10, 1))
    with pytest.raises(TypeError, match="RowGrads: ids have dtype"):
        rows.RowGrads(ids, jnp.ones((1, 1)))
    with pytest.raises(TypeError, match="gather: ids have dtype"):
        rows.gather(table, ids)
    if ids.dtype != object:
        with pytest.raises(TypeError, match="out_of_range: ids have dtype"):
            rows.out_of_range(table, ids)


def test_ids_in_the_other_order_of_bytes_are_read():
    got = rows.gather(jnp.arange(10.0)[:, None], np.array([3, 7], ">i8"))
    np.testing.assert_array_equal(got, [[3.0], [7.0]])


def test_fit_names_data_past_32_bits():
    with pytest.raises(ValueError, match=r"fit: data\['ids'\] holds 4294967299"):
        lo.fit(jnp.sum, jnp.ones(3), lo.sgd(), {"ids": BIG}, steps=1, key=jax.random.key(0))


def test_ids_past_32_bits_are_counted_as_outside():
    assert rows.out_of_range(jnp.ones((10, 1)), np.array([3, -1, 2**32 + 3, -(2**32) + 4])) == 2
