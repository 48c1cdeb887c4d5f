"""What must hold on 8 devices, for one process that has them: the test starts it and reads "ok"."""

import re
import sys

import jax
import jax.numpy as jnp
import many_processes
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import lecture_opt as lo

SIX = (lo.sgd, lo.momentum, lo.nesterov, lo.adagrad, lo.rmsprop, lo.adam)
AXES = [AxisType.Auto] + [AxisType.Explicit] * hasattr(jax, "set_mesh")
ROUNDING = 20 * many_processes.STEPS * np.finfo(np.float32).eps


def cut(leaf):
    return not leaf.sharding.is_fully_replicated


def states_are_sharded_as_params(axes):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axes,) * 2)
    where = NamedSharding(mesh, PartitionSpec("data", "model"))
    params = {"w": jnp.ones((8, 4)), "half": jnp.ones((8, 4), jnp.bfloat16)}
    params = jax.device_put(params, where)
    for make in SIX:
        optimizer = make()
        state = jax.jit(optimizer.init)(params)
        updates, after = jax.jit(optimizer.update)(params, state, params)
        for leaf in jax.tree.leaves((state, updates, after)):
            assert leaf.ndim == 0 or leaf.sharding.is_equivalent_to(where, 2), (make, leaf.sharding)


def layouts_train_alike(axes, alone):
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(axes,))
    for layout in many_processes.LAYOUTS:
        result = many_processes.train(layout, mesh)
        np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
        moments = result.opt_state.mu
        assert cut(moments["a"]) == (layout != "data_parallel"), layout
        assert cut(moments["b"]) == (layout != "data_parallel"), layout
        assert cut(result.params["a"]) == (layout == "fully_sharded"), layout
        assert not cut(moments["odd"])  # 3 numbers can't be cut over 8 devices
        again = many_processes.train(layout, mesh)
        np.testing.assert_array_equal(again.losses, result.losses)


def optax_trains_under_zero1(alone):
    mesh = jax.make_mesh((8,), ("devices",))
    optimizer = lo.zero1(optax.adam(1e-2), mesh)
    params, examples = many_processes.parameters(), many_processes.data()
    result = lo.fit(
        many_processes.loss_fn, params, optimizer, lo.shard_data(examples, mesh),
        steps=many_processes.STEPS, batch_size=16, key=jax.random.key(1),
    )  # fmt: skip
    np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)


def zero1_in_a_loop_of_ones_own():
    mesh = jax.make_mesh((8,), ("devices",))
    params = grads = {"w": jnp.linspace(-1.0, 1.0, 32).reshape(16, 2)}
    ours, plain = lo.zero1(lo.adam(), mesh), lo.adam()
    updates, state = jax.jit(ours.update)(grads, jax.jit(ours.init)(params), params)
    wanted, _ = plain.update(grads, plain.init(params), params)
    np.testing.assert_allclose(updates["w"], wanted["w"], rtol=ROUNDING)
    assert cut(state.mu["w"])
    assert not cut(updates["w"])


def resumed_on_other_devices(folder, alone):
    """From 8 devices, fully sharded, to one and back."""
    mesh = jax.make_mesh((8,), ("devices",))
    train = many_processes.train
    train("fully_sharded", mesh, steps=4, checkpoint=folder)
    train("data_parallel", None, steps=8, checkpoint=folder)
    result = train("fully_sharded", mesh, checkpoint=folder)
    np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
    assert cut(result.params["a"])


def what_can_not_be_cut_is_told():
    mesh = jax.make_mesh((8,), ("devices",))
    for call, text in (
        (lambda: lo.shard_data({"x": np.ones((9, 2))}, mesh), "data['x'] has shape (9, 2); wanted"),
        (lambda: lo.shard_data(3.0, mesh), "shard_data: data has shape (); wanted"),
        (
            lambda: lo.fit(
                many_processes.loss_fn, many_processes.parameters(), lo.sgd(),
                lo.shard_data(many_processes.data(), mesh), steps=1, batch_size=12,
                key=jax.random.key(0),
            ),
            "batch_size is 12 and data is cut over 8 devices; wanted a multiple",
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(text)):
            call()


def main(folder):
    assert jax.device_count() == 8
    alone = many_processes.train("data_parallel", None)
    for axes in AXES:
        states_are_sharded_as_params(axes)
        layouts_train_alike(axes, alone)
    optax_trains_under_zero1(alone)
    zero1_in_a_loop_of_ones_own()
    resumed_on_other_devices(folder, alone)
    what_can_not_be_cut_is_told()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1])
