"""Your loop in Flax nnx, judged as it is: modules changed in place, an optimizer made deep inside.

The first part is a training script as one has it. The second is what `compare` needs to know of it.

    python examples/your_loop_nnx.py
    lecture-opt compare --task examples/your_loop_nnx.py:loop --optimizer own --optimizer optax:lion
"""

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from lecture_opt import compare, specs

# ---- the training script ------------------------------------------------------------------------

STEPS, BATCH = 100, 64


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 48, rngs=rngs)
        self.norm = nnx.BatchNorm(48, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        self.last = nnx.Linear(48, 10, rngs=rngs)

    def __call__(self, x):
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))


class Trainer(nnx.Module):
    """The optimizer is made in here: weight decay on the kernels alone."""

    def __init__(self, rngs, learning_rate=0.01, weight_decay=0.01):
        self.net = Net(rngs)
        kernels = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
        tx = optax.adamw(learning_rate, weight_decay=weight_decay, mask=kernels)
        self.optimizer = nnx.Optimizer(self.net, tx, wrt=nnx.Param)


def loss_fn(net, batch):
    return optax.softmax_cross_entropy_with_integer_labels(net(batch[0]), batch[1]).mean()


@nnx.jit
def train_step(trainer, batch):
    trainer.net.train()
    loss, grads = nnx.value_and_grad(loss_fn)(trainer.net, batch)
    trainer.optimizer.update(trainer.net, grads)
    return loss


@nnx.jit
def evaluate(trainer, batch):
    trainer.net.eval()
    return (trainer.net(batch[0]).argmax(axis=-1) == batch[1]).mean()


def load():
    x, labels = load_digits(return_X_y=True)
    x, labels = (x / 16).astype(np.float32), labels.astype(np.int32)
    parts = np.split(np.arange(len(labels)), [1000, 1400])
    return tuple((x[part], labels[part]) for part in parts)


def train(trainer, batches):
    for batch in batches:
        train_step(trainer, batch)
    return trainer


# ---- what `compare` needs to know of it ---------------------------------------------------------


def own(key, learning_rate):
    """The script's own optimizer at another rate: the entrant `own`."""
    return Trainer(nnx.Rngs(key), learning_rate)


def start(optimizer, key):
    """The script's modules with another optimizer."""
    trainer = Trainer(nnx.Rngs(key))
    trainer.optimizer = nnx.Optimizer(trainer.net, optimizer, wrt=nnx.Param)
    return trainer


loop = compare.Loop(
    "digits-nnx",
    start,
    train_step,
    evaluate,
    load(),
    own=own,
    batch_size=BATCH,
    steps=STEPS,
    evaluations=4,
    metric_name="accuracy",
    higher_is_better=True,
)


def main():
    (x, y), _, test = loop.data
    rows = np.random.default_rng(0).integers(len(y), size=(STEPS, BATCH))
    trainer = train(Trainer(nnx.Rngs(0)), ((x[r], y[r]) for r in rows))
    print(f"the script: accuracy {evaluate(trainer, test):.3f}")

    optimizers = [specs.parse(text) for text in ("own", "optax:adamw")]
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
