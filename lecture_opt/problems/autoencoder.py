"""A variational autoencoder of handwritten digits (Kingma and Welling, 2014), in Flax nnx."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lecture_opt import losses
from lecture_opt.problems import tables
from lecture_opt.problems.parts import Pool
from lecture_opt.problems.task import Data, Params, Task

LATENT = 8


class Autoencoder(nnx.Module):
    """Mean and log-variance of a code for images (batch, 64), and logits of the pixels."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.encoder = nnx.Linear(64, width, rngs=rngs)
        self.code = nnx.Linear(width, 2 * LATENT, rngs=rngs)
        self.decoder = nnx.Linear(LATENT, width, rngs=rngs)
        self.pixels = nnx.Linear(width, 64, rngs=rngs)

    def __call__(self, x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Encodes, draws a code and decodes."""
        mean, log_variance = jnp.split(self.code(nnx.relu(self.encoder(x))), 2, axis=-1)
        noise = jax.random.normal(key, mean.shape)
        code = mean + jnp.exp(0.5 * log_variance) * noise
        return mean, log_variance, self.pixels(nnx.relu(self.decoder(code)))


def digits_vae(scale: int = 1) -> Task:
    """The task; its loss takes the key of the noise."""
    width = 128 * scale

    def init(key: jax.Array) -> Params:
        return nnx.state(Autoencoder(width, nnx.Rngs(key)))

    graph = nnx.graphdef(nnx.eval_shape(lambda: Autoencoder(width, nnx.Rngs(0))))

    def loss(params: Params, x: Data, key: jax.Array) -> jax.Array:
        mean, log_variance, logits = nnx.merge(graph, params)(x, key)
        pixels = losses.sigmoid_cross_entropy(logits, x, reduction="none").sum(axis=-1)
        to_prior = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(axis=-1)
        return (pixels + to_prior).mean()

    x, _ = tables.load("load_digits")
    return Task(
        "digits-vae",
        init,
        loss,
        loss,
        Pool((x / 16).astype(np.float32)),
        "nats per image",
        description="1,797 handwritten digits: a variational autoencoder, minus its bound.",
        batch_size=round(64 * scale**0.5),
        steps=400,
        target=25.0,
    )
