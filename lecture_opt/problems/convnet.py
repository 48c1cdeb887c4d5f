"""A convolutional network with batch normalisation and dropout, in Flax linen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training import train_state

from lecture_opt.problems import tables
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.task import Data, eval_params, split


class TrainState(train_state.TrainState):
    """With the running statistics of the batch norms and the key of the dropout masks."""

    batch_stats: Any
    key: jax.Array


class ConvNet(nn.Module):
    """Logits of ten digits from images (batch, 8, 8)."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """With batch statistics and dropout where `train`."""
        x = x[..., None]
        for width, stride in ((self.width, 1), (2 * self.width, 2), (2 * self.width, 1)):
            x = nn.Conv(width, (3, 3), stride, use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(0.3, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(10)(x)


def digits_batchnorm(scale: int = 1) -> Loop:
    """The loop; an image is moved by up to a pixel before each step."""
    net = ConvNet(width=round(16 * scale**0.5))

    def start(optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
        variables = net.init(key, jnp.zeros((1, 8, 8)), train=False)
        return TrainState.create(  # type: ignore[no-untyped-call]  # flax's own
            apply_fn=net.apply,
            params=variables["params"],
            tx=optimizer,
            batch_stats=variables["batch_stats"],
            key=key,
        )

    def step(state: TrainState, batch: Data) -> tuple[TrainState, jax.Array]:
        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            logits, changed = state.apply_fn(
                {"params": params, "batch_stats": state.batch_stats},
                batch[0],
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(state.key, state.step)},
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()
            return loss, changed["batch_stats"]

        (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        after = state.apply_gradients(  # type: ignore[no-untyped-call]  # flax's own
            grads=grads, batch_stats=batch_stats
        )
        return after, loss

    def accuracy(state: TrainState, part: Data) -> jax.Array:
        params = eval_params(state.tx, state.opt_state, state.params)
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits = state.apply_fn(variables, part[0], train=False)
        return (logits.argmax(axis=-1) == part[1]).mean()

    x, labels = tables.load("load_digits")
    return Loop(
        "digits-batchnorm",
        start,
        step,
        accuracy,
        split(np.reshape(x / 16, (-1, 8, 8)), labels, standardise=False),
        steps=200,
        metric_name="accuracy",
        higher_is_better=True,
        description="1,797 handwritten digits: three convolutions with batch norm, and dropout.",
        target=0.97,
    )
