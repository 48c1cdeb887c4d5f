"""Tasks that single out one property: depth and initialisation, noise around a known optimum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import models
from lecture_opt.problems import tables
from lecture_opt.problems.task import Data, Params, Task, binary_classifier

LAYERS, WIDTH = 8, 10
CURVATURES = np.logspace(-2, 0, 50, dtype=np.float32)


def deep_good_init() -> Task:
    """The deep narrow network with Glorot and Bengio's (2010) initialisation."""
    return _deep("deep-good-init", models.glorot, "initialised after Glorot and Bengio (2010)")


def deep_poor_init() -> Task:
    """The deep narrow network whose weights start at a tenth of that: signals die out."""

    def small(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        return 0.1 * models.glorot(key, shape, dtype)

    return _deep("deep-poor-init", small, "initialised ten times too small")


def _deep(name: str, kernel_init: Any, how: str) -> Task:
    """Layers alike are one array, and a scan goes over them: it compiles as one layer does."""

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, LAYERS + 2)
        kernels = jax.vmap(lambda k: kernel_init(k, (WIDTH, WIDTH), jnp.float32))(keys[2:])
        return {
            "first": kernel_init(keys[0], (30, WIDTH), jnp.float32),
            "kernels": kernels,
            "biases": jnp.zeros((LAYERS, WIDTH)),
            "last": kernel_init(keys[1], (WIDTH, 1), jnp.float32)[:, 0],
        }

    def apply(params: Params, x: jax.Array) -> jax.Array:
        def layer(x: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            kernel, bias = one
            return jnp.tanh(x @ kernel + bias[None]), None

        hidden, _ = jax.lax.scan(
            layer, jnp.tanh(x @ params["first"]), (params["kernels"], params["biases"])
        )
        return hidden @ params["last"]

    text = f"569 tumours: a network of {LAYERS} layers of {WIDTH} tanh units, {how}."
    return binary_classifier(name, init, apply, tables.cancer(), text)


def noisy_quadratic() -> Task:
    """A quadratic bowl whose minibatches see its bottom in other places; the optimum is known.

    loss = 1/2 sum_i h_i (params_i - x_i)^2 over examples x of mean 0 and deviation 1; the metric
    is the excess over the optimum at 0, 1/2 sum_i h_i params_i^2. Curvatures h run from 0.01 to 1.
    """

    def init(key: jax.Array) -> Params:
        return jax.random.normal(key, CURVATURES.shape) * 3

    def loss(params: Params, part: Data) -> jax.Array:
        return 0.5 * jnp.mean(jnp.sum(CURVATURES[None] * (params[None] - part) ** 2, axis=-1))

    def excess(params: Params, part: Data) -> jax.Array:
        del part  # the optimum is known
        return 0.5 * jnp.sum(CURVATURES * params**2)

    def examples(seed: int, count: int) -> np.ndarray:
        # Each example has its mirror image, so that the part's mean is exactly the optimum.
        half = np.random.default_rng(seed).normal(size=(count // 2, len(CURVATURES)))
        return np.concatenate([half, -half]).astype(np.float32)

    data = examples(0, 2000), examples(1, 2), examples(2, 2)
    text = "A quadratic bowl of 50 curvatures from 0.01 to 1 with noisy gradients."
    return Task("noisy-quadratic", init, loss, excess, data, "excess loss", False, text)
