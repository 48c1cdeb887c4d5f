"""A training run as a process, for tests that kill it: `python a_run.py FOLDER`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import lecture_opt as lo

STEPS, EVERY = 4000, 20


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)


def accuracy_like(params):
    return {"norm": jnp.sum(params["w"] ** 2)}


def params():
    return {"w": jnp.zeros((16, 300)), "none": None, "empty": jnp.zeros((0, 3))}


def run(checkpoint=None, steps=STEPS, seed=1, **options):
    rng = np.random.default_rng(0)
    data = (
        rng.normal(size=(64, 16)).astype(np.float32),
        rng.normal(size=(64, 300)).astype(np.float32),
    )
    return lo.fit(
        loss_fn,
        params(),
        OPTIMIZER,
        data,
        steps=steps,
        batch_size=8,
        key=jax.random.key(seed),
        eval_fn=accuracy_like,
        eval_every=100,
        checkpoint=checkpoint,
        **options,
    )


OPTIMIZER = lo.adam(1e-2)

if __name__ == "__main__":
    run(lo.Checkpoint(sys.argv[1], every=EVERY))
    print("done")
