"""Factorisation of a ratings table: users x items, some ratings known, the others predicted.

scikit-learn carries no ratings, but its digits have the same form. Call an image a user, a pixel an
item, and the darkness of the pixel (0 to 16) the rating. There are 1,797 users, 64 items and
115,008 ratings; users agree with each other on groups of items. One rating in ten is held back. A
rating is predicted as the sum of two biases and the product of two vectors, which are rows of two
tables. A step sees 256 ratings.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import lecture_opt as lo
from lecture_opt import rows

RANK, BATCH, STEPS, RATE, PENALTY = 16, 256, 6000, 0.3, 0.02

ratings = load_digits().data.astype("float32") / 16
rng = np.random.default_rng(0)
users, items = (index.ravel() for index in np.indices(ratings.shape))
order = rng.permutation(ratings.size)
held_out, known = np.split(order, [ratings.size // 10])


def batch_of(index):
    return {
        "user": jnp.asarray(users[index]),
        "item": jnp.asarray(items[index]),
        "rating": jnp.asarray(ratings[users[index], items[index]]),
    }


batches = batch_of(rng.choice(known, (STEPS, BATCH)))
test = batch_of(held_out)


def ids_fn(batch):
    return {"user": batch["user"], "item": batch["item"]}


def predict(params):
    """A row is a bias and a vector."""
    user, item = params["user"], params["item"]
    return params["mean"] + user[..., 0] + item[..., 0] + jnp.sum(user[..., 1:] * item[..., 1:], -1)


def loss_fn(params, batch):
    penalty = PENALTY * (jnp.mean(params["user"] ** 2) + jnp.mean(params["item"] ** 2))
    return lo.mean_squared_error(predict(params), batch["rating"]) + penalty


def initial():
    users, items = jax.random.split(jax.random.key(0))
    return {
        "user": 0.1 * jax.random.normal(users, (ratings.shape[0], 1 + RANK)),
        "item": 0.1 * jax.random.normal(items, (ratings.shape[1], 1 + RANK)),
        "mean": jnp.zeros(()),
    }


def train(step, optimizer):
    """The trained params, and the milliseconds per step, compilation not counted."""
    params, state = initial(), optimizer.init(initial())

    @jax.jit
    def run(params, state, batches):
        return jax.lax.scan(
            lambda carry, batch: (step(*carry, batch), None), (params, state), batches
        )[0]

    run = run.lower(params, state, batches).compile()
    begin = time.perf_counter()
    params, state = jax.block_until_ready(run(params, state, batches))
    return params, 1e3 * (time.perf_counter() - begin) / STEPS


def error(params):
    return float(
        jnp.sqrt(jnp.mean((predict(rows.gather(params, ids_fn(test))) - test["rating"]) ** 2))
    )


row_optimizer = rows.adagrad(RATE)
dense_optimizer = optax.adagrad(RATE, initial_accumulator_value=0.0, eps=1e-6)


def row_step(params, state, batch):
    _, grads = rows.value_and_row_grad(loss_fn, ids_fn)(params, batch)
    updates, state = row_optimizer.update(grads, state, params)
    return rows.apply_updates(params, updates), state


def dense_step(params, state, batch):
    grads = jax.grad(lambda p: loss_fn(rows.gather(p, ids_fn(batch)), batch))(params)
    updates, state = dense_optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state


if __name__ == "__main__":
    guess = np.sqrt(np.mean((test["rating"] - np.mean(ratings[users[known], items[known]])) ** 2))
    print(f"guessing the mean rating is off by {16 * guess:.2f} of 16 on the held-out ratings")
    for name, step, optimizer in (
        ("rows", row_step, row_optimizer),
        ("optax", dense_step, dense_optimizer),
    ):
        params, ms = train(step, optimizer)
        print(f"{name + ':':6} off by {16 * error(params):.2f} of 16, {ms:.3f} ms per step")
    print("Tables as small as these save little: see word_vectors.py and `lecture-opt bench rows`.")
