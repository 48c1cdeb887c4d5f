"""Your loop in Equinox, judged as it is: a jitted step that closes over its optimizer.

The first part is a training script as one has it. The second is what `compare` needs to know of it.

    python examples/your_loop_equinox.py
    lecture-opt compare --task examples/your_loop_equinox.py:loop \
        --optimizer optax:adamw --optimizer optax:lion
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from lecture_opt import compare, specs

# ---- the training script ------------------------------------------------------------------------

STEPS, BATCH = 100, 64


class Reader(eqx.Module):
    """Reads an image row by row."""

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear
    hidden_size: int

    def __init__(self, hidden_size, key):
        first, second = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(8, hidden_size, key=first)
        self.head = eqx.nn.Linear(hidden_size, 10, key=second)
        self.hidden_size = hidden_size

    def __call__(self, rows):
        def read(hidden, row):
            return self.cell(row, hidden), None

        return self.head(jax.lax.scan(read, jnp.zeros(self.hidden_size), rows)[0])


def loss_fn(model, batch):
    logits = jax.vmap(model)(batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def make_step(optimizer):
    @eqx.filter_jit
    def step(model, opt_state, batch):
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model, batch)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return eqx.apply_updates(model, updates), opt_state, loss

    return step


def evaluate(model, batch):
    return (jax.vmap(model)(batch[0]).argmax(axis=-1) == batch[1]).mean()


def load():
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int32)
    parts = np.split(np.arange(len(labels)), [1000, 1400])
    return tuple((images[part], labels[part]) for part in parts)


def train(optimizer, key, batches):
    model = Reader(24, key)
    opt_state, step = optimizer.init(eqx.filter(model, eqx.is_inexact_array)), make_step(optimizer)
    for batch in batches:
        model, opt_state, _ = step(model, opt_state, batch)
    return model


# ---- what `compare` needs to know of it ---------------------------------------------------------


def start(optimizer, key):
    """Made anew in each run, the step closes over that run's optimizer; the state carries it."""
    model = Reader(24, key)
    return model, optimizer.init(eqx.filter(model, eqx.is_inexact_array)), make_step(optimizer)


def step(state, batch):
    model, opt_state, made = state
    model, opt_state, loss = made(model, opt_state, batch)
    return (model, opt_state, made), loss


loop = compare.Loop(
    "digits-equinox",
    start,
    step,
    lambda state, part: evaluate(state[0], part),
    load(),
    batch_size=BATCH,
    steps=STEPS,
    evaluations=4,
    metric_name="accuracy",
    higher_is_better=True,
)


def main():
    (x, y), _, test = loop.data
    rows = np.random.default_rng(0).integers(len(y), size=(STEPS, BATCH))
    model = train(optax.adamw(0.01), jax.random.key(0), ((x[r], y[r]) for r in rows))
    print(f"the script: accuracy {evaluate(model, test):.3f}")

    optimizers = [specs.parse(text) for text in ("optax:adamw", "optax:lion")]
    protocol = compare.Protocol(
        draws=3,
        seeds=3,
        tuning_seed_count=2,
        baseline="optax:adamw",
        rates=specs.Range("log", 1e-3, 1e-1),
    )
    for cell in compare.run([loop], optimizers, protocol).tasks[0].cells:
        rate = cell.hyperparameters["learning_rate"]
        print(f"{cell.optimizer}: accuracy {cell.test.mean:.3f} at a rate of {rate:.2g}")


if __name__ == "__main__":
    main()
