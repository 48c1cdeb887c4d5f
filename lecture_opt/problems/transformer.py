"""A decoder-only transformer on the bytes of Python's own documentation, in Flax linen."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from lecture_opt.problems import text
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.task import Params, eval_params

LAYERS, HEADS, CONTEXT = 2, 4, 32


class Block(nn.Module):
    """Attention to what came before, then a network of one hidden layer; norms come first."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """One layer."""
        width, mask = x.shape[-1], nn.make_causal_mask(x[..., 0])
        x = x + nn.MultiHeadDotProductAttention(HEADS)(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x)))
        return x + nn.Dense(width)(hidden)


class Transformer(nn.Module):
    """Logits of the byte after each of the bytes (batch, time)."""

    width: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """All places at once; no place sees what comes after it."""
        places = jnp.arange(tokens.shape[-1])
        x = nn.Embed(text.BYTES, self.width)(tokens) + nn.Embed(CONTEXT, self.width)(places)
        for _ in range(LAYERS):
            x = Block()(x)
        return nn.Dense(text.BYTES)(nn.LayerNorm()(x))


def loss_of(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Nats per byte."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens).mean()


def bytes_transformer(scale: int = 1) -> Loop:
    """The loop; its TrainState is an ordinary one."""
    net = Transformer(width=round(16 * scale**0.5) * HEADS)

    def start(optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
        params = net.init(key, jnp.zeros((1, CONTEXT), jnp.int32))["params"]
        return TrainState.create(apply_fn=net.apply, params=params, tx=optimizer)

    def step(state: TrainState, windows: jax.Array) -> tuple[TrainState, jax.Array]:
        def loss_fn(params: Params) -> jax.Array:
            return loss_of(state.apply_fn({"params": params}, windows[:, :-1]), windows[:, 1:])

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        return state.apply_gradients(grads=grads), loss

    def metric(state: TrainState, windows: jax.Array) -> jax.Array:
        params = eval_params(state.tx, state.opt_state, state.params)
        return loss_of(state.apply_fn({"params": params}, windows[:, :-1]), windows[:, 1:])

    return Loop(
        "bytes-transformer",
        start,
        step,
        metric,
        text.byte_windows(CONTEXT + 1),
        batch_size=round(8 * scale**0.5),
        steps=200,
        evaluations=10,
        metric_name="nats per byte",
        description="Bytes of Python's documentation: a decoder-only transformer of two layers.",
        target=2.8,
    )
