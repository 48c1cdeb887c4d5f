"""A hand-written training loop: softmax regression on digits with the lecture's momentum."""

import jax
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo

x, labels = load_digits(return_X_y=True)
x = (x / 16).astype("float32")

model = lo.softmax_regression(64, 10)
optimizer = lo.momentum(learning_rate=0.1)


def loss_fn(params):
    return lo.softmax_cross_entropy(model.apply(params, x), labels)


@jax.jit
def step(params, state):
    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


params = model.init(jax.random.key(0))
state = optimizer.init(params)
for epoch in range(200):
    params, state, loss = step(params, state)
    if epoch % 50 == 49:
        accuracy = (model.apply(params, x).argmax(axis=-1) == labels).mean()
        print(f"epoch {epoch + 1}: loss {loss:.4f}, accuracy {accuracy:.3f}")
