"""Word vectors of Python's own documentation: skip-gram with negative sampling, on rows and dense.

The text is `pydoc_data.topics`, which every Python carries. A step looks up a few hundred rows of
two tables. The row-sparse step pays for these rows; optax's dense step pays for the whole tables.
Both see the same batches, so they end with the same loss and the same neighbours.
"""

import re
import time
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt import rows

WIDTH, WINDOW, NEGATIVES, BATCH, STEPS, RATE = 64, 4, 5, 256, 1200, 0.01

words = re.findall(r"[a-z_]+", " ".join(topics.values()).lower())
vocabulary, text, counts = np.unique(words, return_inverse=True, return_counts=True)
# Frequent words say little about their neighbours, so most of their occurrences are dropped.
rng = np.random.default_rng(0)
kept = rng.random(len(text)) < np.sqrt(1e-3 * len(text) / counts[text])
text = text[kept]
noise = counts**0.75 / np.sum(counts**0.75)

places = rng.integers(WINDOW, len(text) - WINDOW, (STEPS, BATCH))
offsets = rng.integers(1, WINDOW + 1, (STEPS, BATCH)) * rng.choice([-1, 1], (STEPS, BATCH))
batches = {
    "center": jnp.asarray(text[places]),
    "near": jnp.asarray(text[places + offsets]),
    "far": jnp.asarray(rng.choice(len(vocabulary), (STEPS, BATCH, NEGATIVES), p=noise)),
}


def ids_fn(batch):
    return {"center": batch["center"], "context": {"near": batch["near"], "far": batch["far"]}}


def loss_fn(params, batch):
    center, near, far = params["center"], params["context"]["near"], params["context"]["far"]
    similar = jnp.sum(center * near, axis=-1)
    different = jnp.einsum("bd,bnd->bn", center, far)
    return -jnp.mean(jax.nn.log_sigmoid(similar) + jax.nn.log_sigmoid(-different).sum(axis=-1))


def train(step, params, state):
    step = jax.jit(step, donate_argnums=(0, 1))
    losses = []
    for i in range(STEPS):
        batch = {name: values[i] for name, values in batches.items()}
        params, state, loss = step(params, state, batch)
        losses.append(loss)
        if i == 0:
            begin = time.perf_counter()
    jax.block_until_ready(params)
    per_step = 1e3 * (time.perf_counter() - begin) / (STEPS - 1)
    return params, state, float(jnp.stack(losses[-300:]).mean()), per_step


def initial():
    shape = (len(vocabulary), WIDTH)
    return {
        "center": jax.random.normal(jax.random.key(0), shape) / WIDTH**0.5,
        "context": jnp.zeros(shape),
    }


def nearest(params, word, k=5):
    vectors = params["center"] / jnp.linalg.norm(params["center"], axis=1, keepdims=True)
    similarity = vectors @ vectors[np.searchsorted(vocabulary, word)]
    frequent = jnp.asarray(counts >= 20)
    order = jnp.argsort(jnp.where(frequent, -similarity, 1))
    return [str(vocabulary[i]) for i in order[: k + 1] if vocabulary[i] != word][:k]


row_optimizer = rows.adam(RATE, tables=True)
grad_fn = rows.value_and_row_grad(loss_fn, ids_fn)


def row_step(params, state, batch):
    loss, grads = grad_fn(params, batch, opt_state=state)
    updates, state = row_optimizer.update(grads, state, params)
    return rows.apply_updates(params, updates), state, loss


dense_optimizer = optax.adam(RATE)


def dense_step(params, state, batch):
    loss, grads = jax.value_and_grad(lambda p: loss_fn(rows.gather(p, ids_fn(batch)), batch))(
        params
    )
    updates, state = dense_optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


if __name__ == "__main__":
    print(f"{len(text):,} words, {len(vocabulary):,} of them distinct")
    params, state, loss, ms = train(row_step, initial(), row_optimizer.init(initial()))
    params, _ = rows.finalize(params, state)
    dense, _, dense_loss, dense_ms = train(dense_step, initial(), dense_optimizer.init(initial()))
    print(f"rows:  loss {loss:.4f}, {ms:.2f} ms per step")
    print(f"optax: loss {dense_loss:.4f}, {dense_ms:.2f} ms per step")
    for word in ("class", "float", "exception", "list", "import"):
        print(
            f"{word}: {', '.join(nearest(params, word))} (optax: {', '.join(nearest(dense, word))})"
        )
