"""A schedule for the learning rate, and gradients clipped to a norm."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
data = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
model = lo.mlp([64, 32, 10])


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


STEPS = 200
schedule = optax.warmup_cosine_decay_schedule(0.0, 0.5, warmup_steps=20, decay_steps=STEPS)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), lo.momentum(schedule, momentum=0.9))
print("rate at steps 0, 20, 110, 199:", [round(float(schedule(t)), 3) for t in (0, 20, 110, 199)])

result = lo.fit(
    loss_fn,
    model.init(jax.random.key(0)),
    optimizer,
    data,
    steps=STEPS,
    batch_size=64,
    key=jax.random.key(1),
)
print(f"loss of the first batch {result.losses[0]:.2f}, of the last {result.losses[-1]:.2f}")
