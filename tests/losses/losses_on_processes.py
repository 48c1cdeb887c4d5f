"""One of two processes that share arrays: `python losses_on_processes.py PORT ID`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import lecture_opt as lo


def main(port, process):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    mesh = jax.make_mesh((2,), ("data",))

    def spread(array):
        local = np.split(array, 2)[int(process)]
        return jax.make_array_from_process_local_data(
            NamedSharding(mesh, PartitionSpec("data")), local
        )

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    probs = np.asarray(jax.nn.softmax(jnp.asarray(logits)))
    ids, units, where = np.array([0, 2, 1, 1], np.int32), probs[:, 0], np.arange(4) > 0
    soft = np.eye(3, dtype=np.float32)[ids]
    for loss, predictions, targets in (
        (lo.softmax_cross_entropy, logits, ids),
        (lo.softmax_cross_entropy, logits, soft),
        (lo.categorical_cross_entropy, probs, ids),
        (lo.categorical_cross_entropy, probs, soft),
        (lo.sigmoid_cross_entropy, logits[:, 0], units),
        (lo.binary_cross_entropy, units, units),
        (lo.mean_squared_error, logits, probs),
        (lo.gaussian_nll, logits, probs),
    ):
        mask = where if loss.__name__.endswith("cross_entropy") else None
        expected = loss(predictions, targets, where=mask)
        shared = (spread(a) for a in (predictions, targets))
        value = loss(*shared, where=None if mask is None else spread(mask))
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    scale = spread(np.full(4, 2, np.float32))
    lo.gaussian_nll(spread(units), spread(units), scale)


if __name__ == "__main__":
    main(*sys.argv[1:])
