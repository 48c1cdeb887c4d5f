"""Your loop in Flax linen, judged as it is: BatchNorm, dropout, clipping, a schedule.

The first part is a training script as one has it. The second is what `compare` needs to know of it.

    python examples/your_loop_linen.py
    lecture-opt compare --task examples/your_loop_linen.py:loop \
        --optimizer examples/your_loop_linen.py:mine --optimizer optax:lion
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training import train_state
from sklearn.datasets import load_digits

from lecture_opt import compare, specs

# ---- the training script ------------------------------------------------------------------------

CONFIG = {"learning_rate": 3e-3, "steps": 60, "batch_size": 64}


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(8, (3, 3), strides=2)(x[..., None])
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(0.25, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(10)(x)


class TrainState(train_state.TrainState):
    batch_stats: Any
    key: jax.Array


def mine(learning_rate=CONFIG["learning_rate"], steps=CONFIG["steps"]):
    """The optimizer of this script; the horizon of its schedule is an argument."""
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 20, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-3))


def create_train_state(key):
    net = Net()
    variables = net.init(key, jnp.zeros((1, 8, 8)), train=False)
    return TrainState.create(
        apply_fn=net.apply,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        key=key,
        tx=mine(),
    )


@jax.jit
def train_step(state, batch):
    images, labels = batch

    def loss_fn(params):
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(state.key, state.step)},
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, changed["batch_stats"]

    (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), {"loss": loss}


@jax.jit
def evaluate(state, batch):
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits = state.apply_fn(variables, batch[0], train=False)
    return {"accuracy": (logits.argmax(axis=-1) == batch[1]).mean()}


def load():
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int32)
    parts = np.split(np.arange(len(labels)), [1000, 1400])
    return tuple((images[part], labels[part]) for part in parts)


def train(state, batches):
    for batch in batches:
        state, _ = train_step(state, batch)
    return state


# ---- what `compare` needs to know of it ---------------------------------------------------------


def swap(state, optimizer):
    """The state with another optimizer; the script's own goes, clipping and schedule with it."""
    return state.replace(tx=optimizer, opt_state=optimizer.init(state.params))


loop = compare.Loop(
    "digits-linen",
    lambda optimizer, key: swap(create_train_state(key), optimizer),
    train_step,
    evaluate,
    load(),
    batch_size=CONFIG["batch_size"],
    steps=CONFIG["steps"],
    evaluations=3,
    metric_name="accuracy",
    higher_is_better=True,
)


def main():
    train_part, _, test = loop.data
    rng = np.random.default_rng(0)
    rows = rng.integers(len(train_part[0]), size=(CONFIG["steps"], CONFIG["batch_size"]))
    state = train(
        create_train_state(jax.random.key(0)), ((train_part[0][r], train_part[1][r]) for r in rows)
    )
    print(f"the script: accuracy {evaluate(state, test)['accuracy']:.3f}")

    # `mine` as an entrant keeps its clipping and its schedule, which ends where the run does.
    optimizers = [specs.parse(f"{__file__}:mine"), specs.parse("optax:adamw")]
    protocol = compare.Protocol(
        draws=3,
        seeds=3,
        tuning_seed_count=2,
        baseline="optax:adamw",
        rates=specs.Range("log", 1e-3, 1e-1),
    )
    study = compare.run([loop], optimizers, protocol)
    for cell in study.tasks[0].cells:
        rate = cell.hyperparameters["learning_rate"]
        print(f"{cell.optimizer}: accuracy {cell.test.mean:.3f} at a peak rate of {rate:.2g}")


if __name__ == "__main__":
    main()
