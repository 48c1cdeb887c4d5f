"""RowGrads in the hands of transformations that know nothing of rows: refused, or right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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


def test_ids_past_32_bits_are_counted_as_outside():
    assert rows.out_of_range(jnp.ones((10, 1)), np.array([3, -1, 2**32 + 3, -(2**32) + 4])) == 2
