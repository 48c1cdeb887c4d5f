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


def mesh_of(axes):
    return jax.make_mesh((8,), ("devices",), axis_types=(axes,))


def typed(tree, axes):
    """Whether all arrays say in their types how they are cut, or none does."""
    return all(
        leaf.sharding.mesh.axis_types == (axes,)
        and ("devices" in jax.typeof(leaf).sharding.spec) == (cut(leaf) and axes != AxisType.Auto)
        for leaf in jax.tree.leaves(tree)
    )


def layouts_train_alike(axes, alone):
    mesh = mesh_of(axes)
    evaluation = {"eval_fn": jax.jit(lambda p: many_processes.loss_fn(p, many_processes.data()))}
    for layout in many_processes.LAYOUTS:
        result = many_processes.train(layout, mesh, **evaluation)
        np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
        wanted = evaluation["eval_fn"](alone.params)
        np.testing.assert_allclose(result.evaluations[-1][1], wanted, rtol=ROUNDING)
        assert typed((result.params, result.opt_state), axes)
        moments = result.opt_state.mu
        assert cut(moments["a"]) == (layout != "data_parallel"), layout
        assert cut(moments["b"]) == (layout != "data_parallel"), layout
        assert cut(result.params["a"]) == (layout == "fully_sharded"), layout
        assert not cut(moments["odd"])  # 3 numbers can't be cut over 8 devices
        again = many_processes.train(layout, mesh, **evaluation)
        np.testing.assert_array_equal(again.losses, result.losses)


def models_and_losses_on_explicit_axes():
    """Labels that are looked up, masks, weights and penalties, with all that can be cut, cut."""
    rng = np.random.default_rng(0)
    x, real = (rng.normal(size=(16, 8)).astype(np.float32) for _ in range(2))
    data = (x, real, rng.integers(0, 8, 16).astype(np.int32), np.arange(16) % 3 > 0)
    net, neuron = lo.mlp([8, 16, 8]), lo.logistic(8)
    options = {"class_weights": np.arange(1, 9, dtype=np.float32), "label_smoothing": 0.1}

    def loss_fn(params, batch):
        x, real, ids, where = batch
        outputs, logit = net.apply(params[0], x), neuron.apply(params[1], x)
        return (
            lo.softmax_cross_entropy(outputs, ids, where=where, **options)
            + lo.categorical_cross_entropy(lo.softmax.apply({}, outputs), ids)
            + lo.mean_squared_error(outputs, real)
            + lo.sigmoid_cross_entropy(logit, where.astype(jnp.float32), where=where)
            + lo.l2_penalty(params, 0.1)
        )

    params = [model.init(jax.random.key(0)) for model in (net, neuron)]
    run = {"steps": 2, "batch_size": 8, "key": jax.random.key(1)}
    alone = lo.fit(loss_fn, params, lo.adam(), data, **run)
    mesh = mesh_of(AxisType.Explicit)
    placed = lo.shard_params(params, mesh), lo.adam(), lo.shard_data(data, mesh)
    losses = lo.fit(loss_fn, *placed, **run).losses
    np.testing.assert_allclose(losses, alone.losses, rtol=ROUNDING)


def only_axes_of_the_data_are_gathered():
    """Layers cut over the model's axis stay so in the loss, which says how its sums are cut."""
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    params, seen = many_processes.parameters(), []

    def loss_fn(params, batch):
        seen.append((jax.typeof(params["a"]).sharding.spec, jax.typeof(batch[0]).sharding.spec))
        hidden = jnp.tanh(batch[0] @ params["a"])
        logits = jnp.matmul(hidden, params["b"], out_sharding=PartitionSpec("data", None))
        return lo.softmax_cross_entropy(logits + params["c"][None], batch[1])

    def put(leaf, *spec):
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*spec)))

    run = {"steps": many_processes.STEPS, "batch_size": 16, "key": jax.random.key(1)}
    alone = many_processes.parameters() | {"odd": np.zeros(3, np.float32)}
    alone = lo.fit(many_processes.loss_fn, alone, lo.sgd(), many_processes.data(), **run)
    params |= {"a": put(params["a"], "data", "model"), "b": put(params["b"], "model", "data")}
    data = jax.tree.map(lambda leaf: put(leaf, "data"), many_processes.data())
    result = lo.fit(loss_fn, params, lo.sgd(), data, **run)
    np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
    assert set(seen) == {(PartitionSpec(None, "model"), PartitionSpec("data", None))}
    assert jax.typeof(result.params["a"]).sharding.spec == PartitionSpec("data", "model")


def what_jax_can_not_type_is_told():
    mesh = mesh_of(AxisType.Explicit)
    data = lo.shard_data(many_processes.data(), mesh)
    params = {"table": jnp.ones((8, 2))}
    with pytest.raises(Exception, match="out_sharding") as caught:
        lo.fit(lambda p, batch: jnp.sum(p["table"][batch[1]]), params, lo.sgd(), data, steps=1)
    assert caught.type.__name__ == "ShardingTypeError"
    assert caught.value.__notes__[-1].startswith("fit: params, opt_state or data lie on Explicit")


def other_errors_are_left_alone():
    data = lo.shard_data(many_processes.data(), mesh_of(AxisType.Explicit))
    with pytest.raises(ZeroDivisionError) as caught:
        lo.fit(lambda p, _: p / (1 // 0), 1.0, lo.sgd(), data, steps=1)
    assert not any(note.startswith("fit:") for note in getattr(caught.value, "__notes__", ()))


def explicit_axes_of_an_old_jax_are_told():
    data = lo.shard_data(many_processes.data(), mesh_of(AxisType.Explicit))
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(jax, "set_mesh", raising=False)
        with pytest.raises(ValueError, match=r"ones need jax 0\.7\.1 or newer, and this is \d"):
            lo.fit(lambda p, _: p, 1.0, lo.sgd(), data, steps=1)


def two_meshes_are_told():
    meshes = mesh_of(AxisType.Auto), jax.make_mesh((8,), ("others",))
    params, data = (lo.shard_data(jnp.ones(8), mesh) for mesh in meshes)
    told = (
        r"fit: data is cut over Mesh\('others': 8.* and params\['w'\] is cut over Mesh\('devices'"
    )
    with pytest.raises(ValueError, match=told):
        lo.fit(lambda p, b: jnp.sum(p["w"] * b), {"w": params}, lo.sgd(), data, steps=1)


def what_was_made_inside_another_mesh_is_moved(axes):
    """There JAX lays whatever is made whole on each device of the mesh that is set."""
    for other in AxisType.Auto, AxisType.Explicit:
        with jax.set_mesh(jax.make_mesh((4, 2), ("a", "b"), axis_types=(other,) * 2)):
            data, params = np.ones((8, 3), np.float32), jnp.ones(3)
            inside = {"opt_state": lo.adam().init(params), "key": jax.random.key(0)}
        assert params.sharding.mesh.axis_names == ("a", "b")
        run = {"steps": 3, "batch_size": 8, **inside}
        placed = lo.shard_data(data, mesh_of(axes))
        result = lo.fit(lambda w, b: jnp.mean((b @ w) ** 2), params, lo.adam(), placed, **run)
        assert typed(result.params, axes)
        np.testing.assert_allclose(result.losses[0], 9.0)


def a_stream_trains_on_a_mesh(axes):
    mesh, params = mesh_of(axes), many_processes.parameters()
    x, labels = many_processes.data()

    def stream(epoch):
        return [(x[i : i + 8], labels[i : i + 8]) for i in (epoch % 2, 8)]

    def placed(epoch):
        return (lo.shard_data(batch, mesh) for batch in stream(epoch))

    alone = lo.fit(many_processes.loss_fn, params, lo.adam(), stream, epochs=3)
    layouts = (params, lo.adam()), (lo.shard_params(params, mesh), lo.zero1(lo.adam(), mesh))
    for p, optimizer in layouts:
        result = lo.fit(many_processes.loss_fn, p, optimizer, placed, epochs=3)
        np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
        assert typed((result.params, result.opt_state), axes)


def a_mesh_that_is_set_around_fit_is_left(axes, alone):
    for other in many_processes.AXES:
        with jax.set_mesh(jax.make_mesh((4, 2), ("a", "b"), axis_types=(other,) * 2)):
            result = many_processes.train("data_parallel", mesh_of(axes))
        np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)


def optax_trains_under_zero1(axes, alone):
    mesh = mesh_of(axes)
    optimizer = lo.zero1(optax.adam(1e-2), mesh)
    params, examples = many_processes.parameters(), many_processes.data()
    result = lo.fit(
        many_processes.loss_fn, params, optimizer, lo.shard_data(examples, mesh),
        steps=many_processes.STEPS, batch_size=16, key=jax.random.key(1),
    )  # fmt: skip
    np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)


def zero1_in_a_loop_of_ones_own(axes):
    """On arrays that lie on no mesh."""
    mesh = mesh_of(axes)
    params = grads = {"w": jnp.linspace(-1.0, 1.0, 32).reshape(16, 2)}
    ours, plain = lo.zero1(lo.adam(), mesh), lo.adam()
    updates, state = jax.jit(ours.update)(grads, jax.jit(ours.init)(params), params)
    wanted, _ = plain.update(grads, plain.init(params), params)
    np.testing.assert_allclose(updates["w"], wanted["w"], rtol=ROUNDING)
    assert cut(state.mu["w"])
    assert not cut(updates["w"])


def resumed_on_other_devices(axes, folder, alone):
    """From 8 devices, fully sharded, to one and back."""
    mesh, train = mesh_of(axes), many_processes.train
    train("fully_sharded", mesh, steps=4, checkpoint=folder)
    train("data_parallel", None, steps=8, checkpoint=folder)
    result = train("fully_sharded", mesh, checkpoint=folder)
    np.testing.assert_allclose(result.losses, alone.losses, rtol=ROUNDING)
    assert typed((result.params, result.opt_state), axes)
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
    for axes in many_processes.AXES:
        states_are_sharded_as_params(axes)
        layouts_train_alike(axes, alone)
        optax_trains_under_zero1(axes, alone)
        if hasattr(jax, "set_mesh"):
            a_mesh_that_is_set_around_fit_is_left(axes, alone)
            what_was_made_inside_another_mesh_is_moved(axes)
        zero1_in_a_loop_of_ones_own(axes)
        a_stream_trains_on_a_mesh(axes)
        resumed_on_other_devices(axes, f"{folder}/{axes}", alone)
    if AxisType.Explicit in many_processes.AXES:
        models_and_losses_on_explicit_axes()
        only_axes_of_the_data_are_gathered()
        what_jax_can_not_type_is_told()
        other_errors_are_left_alone()
    explicit_axes_of_an_old_jax_are_told()
    two_meshes_are_told()
    what_can_not_be_cut_is_told()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1])
