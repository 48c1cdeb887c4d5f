"""Mixed precision: parameters and state in float32, the forward and backward pass in bfloat16."""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.mlp([64, 32, 10])


def as_bfloat16(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def loss_fn(params, batch):
    """The cast is part of the loss, so its gradient comes back in float32."""
    logits = model.apply(as_bfloat16(params), batch[0].astype(jnp.bfloat16))
    return lo.softmax_cross_entropy(logits.astype(jnp.float32), batch[1])


params = model.init(jax.random.key(0))
gradient_dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(jax.grad(loss_fn)(params, data))}
result = lo.fit(
    loss_fn, params, lo.adam(0.01), data, steps=100, batch_size=64, key=jax.random.key(1)
)
dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(result.params)}
print(f"gradients in {gradient_dtypes}, params in {dtypes}, loss {result.losses[-1]:.3f}")
