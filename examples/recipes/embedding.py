"""An embedding with `lo.rows`: a step pays for the words of its batch, not for the vocabulary.

Limit: a table that the output layer uses too (tied weights) gets a gradient in every row. `rows`
has nothing to save there and does not take it: leave the table out of `tables` and use the dense
optimizer for it.
"""

import jax
import jax.numpy as jnp

import lecture_opt as lo
from lecture_opt import rows

WORDS, WIDTH, LENGTH = 50_000, 32, 12
words = jax.random.randint(jax.random.key(0), (4096, LENGTH), 0, WORDS)
labels = (words % 2).mean(axis=1) > 0.5  # whether most words are odd
data = (words, labels.astype(jnp.int32))
head = lo.dense(WIDTH, 2)
params = {
    "words": jax.random.normal(jax.random.key(1), (WORDS, WIDTH)) / WIDTH**0.5,
    "head": head.init(jax.random.key(2)),
}


def ids_fn(batch):
    """The rows of each table that the loss will read."""
    return {"words": batch[0]}


def loss_fn(params, batch):
    """`params["words"]` is the rows looked up, of shape (batch, LENGTH, WIDTH)."""
    logits = head.apply(params["head"], params["words"].mean(axis=1))
    return lo.softmax_cross_entropy(logits, batch[1])


optimizer = rows.adam(0.02, tables={"words": True})
result = lo.fit(
    loss_fn,
    params,
    optimizer,
    data,
    steps=300,
    batch_size=128,
    key=jax.random.key(3),
    ids_fn=ids_fn,
)
print(f"loss of the first batch {result.losses[0]:.3f}, of the last {result.losses[-1]:.3f}")
