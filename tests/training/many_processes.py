"""One of several processes that train together: `python many_processes.py PORT COUNT ID FOLDER`.

Each layout trains on all devices; the first process writes the losses, for the test to compare.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

import lecture_opt as lo

STEPS = 12
AXES = [AxisType.Auto] + [AxisType.Explicit] * hasattr(jax, "set_mesh")
LAYOUTS = ("data_parallel", "zero1", "fully_sharded")
OPTIMIZER = lo.adam(1e-2)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(64, 16)).astype(np.float32), rng.integers(0, 8, 64).astype(np.int32)


def parameters():
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape, scale=0.3).astype(np.float32) for name, shape in
            {"a": (16, 32), "b": (32, 8), "c": (8,), "odd": (3,)}.items()}  # fmt: skip


def loss_fn(params, batch):
    hidden = jnp.tanh(batch[0] @ params["a"])
    logits = hidden @ params["b"] + params["c"][None] + jnp.sum(params["odd"])
    return lo.softmax_cross_entropy(logits, batch[1])


def train(layout, mesh, steps=STEPS, **options):
    """Train in a layout; mesh None is one device."""
    params, optimizer, examples = parameters(), OPTIMIZER, data()
    if mesh is not None:
        examples = lo.shard_data(examples, mesh)
    if layout == "zero1":
        optimizer = lo.zero1(optimizer, mesh)
    if layout == "fully_sharded":
        params = lo.shard_params(params, mesh)
    return lo.fit(
        loss_fn, params, optimizer, examples,
        steps=steps, batch_size=16, key=jax.random.key(1), chunk=4, **options,
    )  # fmt: skip


def main(port, count, process, folder):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(process))
    meshes = [jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(a,)) for a in AXES]
    results = {layout: train(layout, meshes[0]).losses for layout in LAYOUTS}
    saved, mesh = lo.Checkpoint(f"{folder}/run", every=4), meshes[-1]
    results["undisturbed"] = train("fully_sharded", mesh).losses
    train("fully_sharded", mesh, steps=8, checkpoint=saved)
    results["resumed"] = train("fully_sharded", mesh, checkpoint=saved).losses
    if jax.process_index() == 0:
        np.savez(f"{folder}/losses.npz", devices=jax.device_count(), **results)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
