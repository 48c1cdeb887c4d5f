"""What must hold of tables cut over devices; a test starts the processes and reads "same".

Arguments: how many processes, which of them this is, the port they meet at, 1 for the slow part.
"""

import functools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import row_walks as walks
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import lecture_opt as lo
from lecture_opt import rows

SIZE, STEPS = 64, 5
LONG = 4000
IDS = np.random.default_rng(0).integers(0, SIZE, (STEPS, 16))
IDS[:, 0] = 3
IDS[1, 1] = SIZE  # of no row

ALL = {name: walks.optimizers(name)[0] for name in [*walks.ALL, "lazy"]}


def mesh_of(axes, shape=None, names=("rows",)):
    return Mesh(
        np.array(jax.devices()).reshape(shape or -1), names, axis_types=(axes,) * len(names)
    )


def entered(mesh):
    """As one writes it for Explicit axes; jax.grad outside jit needs it."""
    return (jax.set_mesh if hasattr(jax, "set_mesh") else jax.sharding.use_mesh)(mesh)


def put(value, mesh, *spec):
    value, where = np.asarray(value), NamedSharding(mesh, PartitionSpec(*spec))
    return jax.make_array_from_callback(value.shape, where, lambda index: value[index])


def placed(params, mesh):
    return {"table": put(params["table"], mesh, "rows"), "bias": put(params["bias"], mesh)}


def assert_cut_by_rows(tree, size=SIZE):
    for leaf in jax.tree.leaves(tree):
        if leaf.shape[:1] == (size,):
            where = NamedSharding(leaf.sharding.mesh, PartitionSpec("rows"))
            assert leaf.sharding.is_equivalent_to(where, leaf.ndim), leaf.sharding


def assert_same(got, wanted):
    for leaf, whole in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        for shard in leaf.addressable_shards:
            np.testing.assert_allclose(shard.data, whole[shard.index], rtol=1e-5, atol=1e-6)


def rows_alone_move_between_devices(axes):
    mesh, (optimizer, _) = mesh_of(axes), walks.optimizers("adam")
    start = walks.start(size=LONG)
    params = placed(start, mesh)
    state = jax.tree.map(
        lambda leaf: put(leaf, mesh, *["rows"] * (leaf.shape[:1] == (LONG,))), optimizer.init(start)
    )
    ids = np.random.default_rng(0).integers(0, LONG, (STEPS, 64))
    step = jax.jit(walks.step_of(optimizer), donate_argnums=(0, 1))
    step = step.lower(params, state, put(ids[0], mesh)).compile()
    moved = re.findall(r"= (.*?) (?:all-|collective-|reduce-scatter)", step.as_text())
    assert moved, "the rows looked up are summed over devices"
    lengths = [int(n) for shapes in moved for n in re.findall(r"\[(\d+)", shapes)]
    assert max(lengths) <= 64, moved
    for batch in ids:
        params, state, _ = step(params, state, put(batch, mesh))
        assert_cut_by_rows((params, state), LONG)
    assert_same((params, state), walks.walk(optimizer, start, jnp.asarray(ids))[0])


def optimizers_walk_as_on_one_device(names):
    mesh = mesh_of(AxisType.Explicit)
    read = {"table": jnp.array([[3, 60, -1]])}

    @functools.partial(jax.jit, static_argnums=0)
    def run(optimizer, params, ids):
        walked, losses = walks.walk(optimizer, params, ids)
        return losses, walked, rows.catch_up(*walked, read), rows.finalize(*walked)

    start = walks.start(size=SIZE)
    for name in names:
        optimizer = ALL[name]
        wanted = run(optimizer, start, jnp.asarray(IDS))
        with entered(mesh):
            params = placed(start, mesh)
            assert_cut_by_rows(optimizer.init(params))
            got = run(optimizer, params, put(IDS, mesh, None, "rows"))
        assert_cut_by_rows(got)
        assert_same(got, wanted)


def a_step_outside_jit():
    mesh, (optimizer, _) = mesh_of(AxisType.Explicit), walks.optimizers("adagrad")
    step, start = walks.step_of(optimizer), walks.start(size=SIZE)
    wanted = step(start, optimizer.init(start), jnp.asarray(IDS[0]))
    params = placed(start, mesh)
    with entered(mesh):
        got = step(params, optimizer.init(params), put(IDS[0], mesh, "rows"))
    assert_cut_by_rows(got)
    assert_same(got, wanted)


def lookups_are_cut_as_their_ids_and_rows():
    """On two axes, with rows long enough for `lanes`, in bfloat16 too, and two lookups."""
    mesh = mesh_of(AxisType.Explicit, (4, 2), ("data", "model"))
    whole = np.random.default_rng(1).normal(size=(SIZE, 16))
    ids = {"a": np.arange(8) * 5 % 7, "b": np.arange(16).reshape(2, 8) * 9 % 67}
    ids["b"][ids["b"] >= SIZE] = -1

    seen = []

    def loss_fn(table, ids):
        seen.append(jax.typeof(table["b"]).sharding.spec)
        a, b = table["a"].astype(jnp.float32), table["b"].astype(jnp.float32)
        return jnp.sum(a**2) + jnp.sum(b**3)

    def both(table, ids):
        dense = jax.grad(lambda table: loss_fn(rows.gather(table, ids), ids))(table)
        loss, grads = rows.value_and_row_grad(loss_fn, lambda ids: ids)(table, ids)
        return loss, grads, dense, rows.apply_updates(table, grads)

    cut_ids = {"a": put(ids["a"], mesh, "data"), "b": put(ids["b"], mesh, None, "data")}
    for dtype, specs in (
        (jnp.float32, [("data", "model"), (None, "data")]),
        (jnp.bfloat16, [(("data", "model"),)]),
    ):
        wanted = jax.jit(both)(jnp.asarray(whole, dtype), ids)
        for spec in specs:
            table = put(jnp.asarray(whole, dtype), mesh, *spec)
            with entered(mesh):
                got = jax.jit(both)(table, cut_ids)
                touched = jax.jit(rows.adam(tables=True).init)(table).touched
            by_rows = NamedSharding(mesh, PartitionSpec(*spec[:1]))
            assert touched.sharding.is_equivalent_to(by_rows, 1), touched.sharding
            row = "model" if spec == ("data", "model") else None  # "data" cuts the ids already
            assert all(cut == PartitionSpec(None, "data", row) for cut in seen[-2:]), seen
            np.testing.assert_array_equal(got[1].ids, wanted[1].ids)
            for leaf in got[2:]:
                assert leaf.sharding.is_equivalent_to(table.sharding, 2), leaf.sharding
            numbers = [jax.tree.leaves((r[0], r[1].values, *r[2:])) for r in (got, wanted)]
            for leaf, right in zip(*numbers, strict=True):
                leaf, right = np.asarray(leaf, float), np.asarray(right, float)
                # Sums of a few terms, in another order.
                atol = 4 * float(jnp.finfo(dtype).eps) * np.abs(right).max()
                np.testing.assert_allclose(leaf, right, rtol=0, atol=atol)


def fit_trains_as_on_one_device():
    mesh, (optimizer, _) = mesh_of(AxisType.Explicit), walks.optimizers("nesterov")
    start, data = walks.start(size=SIZE), walks.batches(40).ravel()
    run = {"steps": 20, "batch_size": 8, "key": jax.random.key(0), "ids_fn": walks.ids_fn}
    wanted = lo.fit(walks.loss_fn, start, optimizer, data, **run)
    params = {"table": put(start["table"], mesh, "rows"), "bias": start["bias"]}
    got = lo.fit(walks.loss_fn, params, optimizer, put(data, mesh, "rows"), **run)
    assert_cut_by_rows((got.params, got.opt_state))
    np.testing.assert_allclose(got.losses, wanted.losses, rtol=1e-5)
    assert_same((got.params, got.opt_state), (wanted.params, wanted.opt_state))


def main(processes, index, port, slow):
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", processes, index)
    for axes in (AxisType.Auto, AxisType.Explicit):
        rows_alone_move_between_devices(axes)
    if processes == 1:
        optimizers_walk_as_on_one_device(ALL if slow else ["adagrad", "momentum"])
        lookups_are_cut_as_their_ids_and_rows()
        if hasattr(jax, "set_mesh"):
            fit_trains_as_on_one_device()
            if slow:  # jax 0.6.0 waits for itself there
                a_step_outside_jit()
    print("same", len(jax.devices()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
