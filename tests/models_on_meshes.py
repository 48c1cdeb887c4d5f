"""Models and losses on a mesh's Explicit axes, in a process of eight devices."""

import os

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lecture_opt as lo

KERNELS = {
    "columns": (P(None, "model"), P("model")),
    "rows": (P("model", None), P()),
    "whole": (P(), P()),
    "the data's axis": (P(None, "data"), P("data")),
}
NET, NEURON = lo.mlp([8, 16, 4]), lo.logistic(8)
WEIGHTS = np.arange(1, 5, dtype=np.float32)


def loss_fn(params, batch):
    x, labels, where = batch
    logits, logit = NET.apply(params[0], x), NEURON.apply(params[1], x)
    options = {"class_weights": WEIGHTS, "label_smoothing": 0.1, "where": where}
    return (
        lo.softmax_cross_entropy(logits, labels, **options)
        + lo.softmax_cross_entropy(logits, labels)
        + lo.categorical_cross_entropy(lo.softmax.apply({}, logits), labels)
        + lo.sigmoid_cross_entropy(logit, where.astype(jnp.float32))
    )


def main():
    rng = np.random.default_rng(0)
    x, ids = rng.normal(size=(8, 8)).astype("float32"), np.arange(8, dtype="int32") % 4
    params = [model.init(jax.random.key(0)) for model in (NET, NEURON)]
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    value_and_grad = jax.jit(jax.value_and_grad(loss_fn))
    for labels in (ids, np.eye(4, dtype="float32")[ids]):
        batch = x, labels, ids > 0
        expected = value_and_grad(params, batch)
        for (name, (kernel, bias)), batch_axis in itertools.product(
            KERNELS.items(), ("data", None)
        ):
            cuts = {2: kernel, 1: bias, 0: P()}
            net = jax.tree.map(
                lambda leaf, cuts=cuts: jax.device_put(leaf, NamedSharding(mesh, cuts[leaf.ndim])),
                params[0],
            )
            neuron = jax.device_put(params[1], NamedSharding(mesh, P()))
            placed = jax.device_put(batch, NamedSharding(mesh, P(batch_axis)))
            with jax.set_mesh(mesh):
                got = value_and_grad([net, neuron], placed)
            for ours, exact in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
                np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-6, err_msg=name)


if __name__ == "__main__":
    main()
