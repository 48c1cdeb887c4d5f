"""A recurrent network on the bytes of Python's own documentation, in Equinox."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from lecture_opt.problems import text
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.task import eval_params

CONTEXT, STATES = 32, 8


class Reader(eqx.Module):
    """Logits of the byte after each of the bytes (time,): a gated recurrent unit."""

    embedding: eqx.nn.Embedding
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, width: int, key: jax.Array) -> None:
        first, second, third = jax.random.split(key, 3)
        self.embedding = eqx.nn.Embedding(text.BYTES, width // 2, key=first)
        self.cell = eqx.nn.GRUCell(width // 2, width, key=second)
        self.head = eqx.nn.Linear(width, text.BYTES, key=third)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Reads from left to right."""

        def read(hidden: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            hidden = self.cell(x, hidden)
            return hidden, hidden

        first = jnp.zeros(self.cell.hidden_size)
        _, hidden = jax.lax.scan(read, first, jax.vmap(self.embedding)(tokens))
        return jax.vmap(self.head)(hidden)


def loss_fn(model: Reader, windows: jax.Array) -> jax.Array:
    """Nats per byte."""
    logits = jax.vmap(model)(windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


def make_step(optimizer: optax.GradientTransformation) -> Any:
    """A step that closes over its optimizer, as it stands in Equinox's own examples."""

    @eqx.filter_jit
    def step(model: Reader, opt_state: Any, windows: jax.Array) -> tuple[Reader, Any, jax.Array]:
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model, windows)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return eqx.apply_updates(model, updates), opt_state, loss

    return step


def bytes_gru(scale: int = 1) -> Loop:
    """The loop; its state carries the optimizer and the step that was made with it."""

    def start(optimizer: optax.GradientTransformation, key: jax.Array) -> tuple[Any, ...]:
        model = Reader(round(16 * scale**0.5) * 8, key)
        params = eqx.filter(model, eqx.is_inexact_array)
        return model, optimizer.init(params), make_step(optimizer), optimizer

    def step(state: tuple[Any, ...], windows: jax.Array) -> tuple[tuple[Any, ...], jax.Array]:
        model, opt_state, update, optimizer = state
        model, opt_state, loss = update(model, opt_state, windows)
        return (model, opt_state, update, optimizer), loss

    def metric(state: tuple[Any, ...], windows: jax.Array) -> jax.Array:
        model, opt_state, _, optimizer = state
        params, rest = eqx.partition(model, eqx.is_inexact_array)
        return loss_fn(eqx.combine(eval_params(optimizer, opt_state, params), rest), windows)

    return Loop(
        "bytes-gru",
        start,
        step,
        metric,
        text.byte_windows(CONTEXT + 1),
        batch_size=round(16 * scale**0.5),
        steps=200,
        evaluations=10,
        metric_name="nats per byte",
        description="Bytes of Python's documentation: a gated recurrent unit.",
        target=2.1,
    )
