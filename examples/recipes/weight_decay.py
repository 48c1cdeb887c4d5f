"""Weight decay: a penalty in the loss, or AdamW, made of the lecture's Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.mlp([64, 32, 10])
params = model.init(jax.random.key(0))


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


# In the loss: Adam divides the penalty's gradient by sqrt(v), as it divides the rest.
def penalised(params, batch):
    weights = lo.l2_penalty(params, 1e-3, select=lambda path: path.endswith("kernel"))
    return loss_fn(params, batch) + weights


# AdamW: each step shrinks the weights by learning_rate * 0.01, whatever v is. Adam with a rate of 1
# gives minus the direction; the decay joins it; then the rate, or a schedule, scales both.
def adamw(learning_rate, weight_decay):
    return optax.chain(
        lo.adam(learning_rate=1.0),
        optax.add_decayed_weights(-weight_decay),
        optax.scale(learning_rate),
    )


run = {"steps": 100, "batch_size": 64, "key": jax.random.key(1)}
for name, loss, optimizer in (
    ("Adam", loss_fn, lo.adam(0.01)),
    ("Adam and a penalty", penalised, lo.adam(0.01)),
    ("AdamW", loss_fn, adamw(0.01, 0.01)),
):
    result = lo.fit(loss, params, optimizer, data, **run)
    size = optax.global_norm(result.params)
    print(f"{name:20} loss {loss_fn(result.params, data):.3f}, norm of the weights {size:.2f}")

theirs = lo.fit(loss_fn, params, optax.adamw(0.01, weight_decay=0.01), data, **run)
apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), result.params, theirs.params)
print(f"AdamW here and optax.adamw differ by at most {max(jax.tree.leaves(apart)):.0e}")
