"""BatchNorm in Flax linen: its running statistics change in a step and are not trained."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(32)(x))
        return nn.Dense(10)(nn.relu(x))


model = Net()
variables = model.init(jax.random.key(0), x[:1], train=False)
params, stats = variables["params"], variables["batch_stats"]
optimizer = lo.adam(learning_rate=0.01)
state = optimizer.init(params)


@jax.jit
def step(params, stats, state, batch):
    def loss_fn(params):
        logits, changed = model.apply(
            {"params": params, "batch_stats": stats}, batch[0], train=True, mutable=["batch_stats"]
        )
        return lo.softmax_cross_entropy(logits, batch[1]), changed["batch_stats"]

    (loss, stats_after), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), stats_after, state, loss


for epoch in range(3):
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(1), epoch), len(x))
    for rows in order[: len(x) // 64 * 64].reshape(-1, 64):
        params, stats, state, loss = step(params, stats, state, (x[rows], labels[rows]))
logits = model.apply({"params": params, "batch_stats": stats}, x, train=False)
print(f"linen: loss {loss:.3f}, accuracy {(logits.argmax(axis=-1) == labels).mean():.3f}")
