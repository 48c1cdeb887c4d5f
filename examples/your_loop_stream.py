"""Your loop by hand, judged as it is: batches from a stream, a metric of scikit-learn.

The first part is a training script as one has it. The second is what `compare` needs to know of it.

    python examples/your_loop_stream.py
    lecture-opt compare --task examples/your_loop_stream.py:loop \
        --optimizer lecture:momentum --optimizer optax:adam
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score

from lecture_opt import compare, specs

# ---- the training script ------------------------------------------------------------------------

STEPS, BATCH = 100, 64


def load():
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int32)
    parts = np.split(np.arange(len(labels)), [1000, 1400])
    return [(images[part], labels[part]) for part in parts]


TRAIN, VALIDATION, TEST = load()


def batches(seed):
    """An epoch of images, each moved by up to a pixel. It could read files or a DataLoader."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(TRAIN[1]))
    for rows in np.split(order, range(BATCH, len(order), BATCH)):
        shifts = rng.integers(-1, 2, (len(rows), 2))
        moved = [
            np.roll(TRAIN[0][row], shift, (0, 1)) for row, shift in zip(rows, shifts, strict=True)
        ]
        yield np.stack(moved), TRAIN[1][rows]


def init(key):
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (64, 48)) / 8, "b1": jnp.zeros(48),
        "w2": jax.random.normal(second, (48, 10)) / 7, "b2": jnp.zeros(10),
    }  # fmt: skip


def apply(params, images):
    x = images.reshape(len(images), 64)
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def loss_fn(params, batch):
    logits = apply(params, batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def update(optimizer, params, opt_state, batch):
    loss, grads = jax.value_and_grad(loss_fn)(params, batch)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def f1(params, part):
    predictions = np.argmax(apply(params, part[0]), axis=-1)
    return f1_score(part[1], predictions, average="macro")


def train(optimizer, key, stream):
    params = init(key)
    opt_state = optimizer.init(params)
    jitted = jax.jit(update, static_argnums=0)
    for batch in stream:
        params, opt_state, _ = jitted(optimizer, params, opt_state, batch)
    return params


# ---- what `compare` needs to know of it ---------------------------------------------------------


def start(optimizer, key):
    params = init(key)
    return params, optimizer.init(params), optimizer


def step(state, batch):
    params, opt_state, optimizer = state
    params, opt_state, loss = update(optimizer, params, opt_state, batch)
    return (params, opt_state, optimizer), loss


loop = compare.Loop(
    "digits-stream",
    start,
    step,
    lambda state, part: f1(state[0], part),
    (batches, VALIDATION, TEST),
    host_metric=True,  # scikit-learn can't be traced
    steps=STEPS,
    evaluations=4,
    metric_name="macro F1",
    higher_is_better=True,
)


def main():
    epochs = (batch for epoch in range(8) for batch in batches(epoch))
    params = train(optax.adam(0.01), jax.random.key(0), epochs)
    print(f"the script: macro F1 {f1(params, TEST):.3f}")

    optimizers = [specs.parse(text) for text in ("lecture:momentum", "optax:adam")]
    protocol = compare.Protocol(
        draws=3,
        seeds=3,
        tuning_seed_count=2,
        baseline="optax:adam",
        rates=specs.Range("log", 1e-3, 1e-1),
    )
    for cell in compare.run([loop], optimizers, protocol).tasks[0].cells:
        rate = cell.hyperparameters["learning_rate"]
        print(f"{cell.optimizer}: macro F1 {cell.test.mean:.3f} at a rate of {rate:.2g}")


if __name__ == "__main__":
    main()
