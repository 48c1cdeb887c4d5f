"""Word vectors of Python's own documentation (GloVe; Pennington and others, 2014), on rows.

The logarithm of how often two words stand near each other is predicted as the product of their
vectors and two biases: a matrix factorised into two tables, of which a batch reads a few rows. An
optimizer of `lecture_opt.rows` is given the gradients of these rows, any other those of the tables.
"""

import collections
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt import rows
from lecture_opt.numerics import PyTree
from lecture_opt.problems import text
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.parts import Pool
from lecture_opt.problems.task import Params, eval_params

NEAR, COMMON = 5, 10.0
"""How far apart near words are; the count from which on pairs weigh alike."""


class Pairs(NamedTuple):
    """Numbers of words and of words near them, and how often both stand together."""

    word: Any
    context: Any
    count: Any


class State(NamedTuple):
    """What the loop carries."""

    params: Params
    opt_state: PyTree
    optimizer: optax.GradientTransformationExtraArgs
    on_rows: bool


def ids_fn(pairs: Pairs) -> dict[str, jax.Array]:
    """The rows that a batch reads."""
    return {"word": pairs.word, "context": pairs.context}


def loss_fn(params: Params, pairs: Pairs) -> jax.Array:
    """The weighted squared error; a row is a bias and a vector."""
    word, context = params["word"], params["context"]
    predicted = word[:, 0] + context[:, 0] + (word[:, 1:] * context[:, 1:]).sum(axis=-1)
    weight = jnp.minimum(pairs.count / COMMON, 1) ** 0.75
    return (weight * (predicted - jnp.log(pairs.count)) ** 2).mean()


def text_glove(scale: int = 1) -> Loop:
    """The loop; `Loop.metric` reads rows as the dense optimizer would have left them."""
    width, (words, pairs) = 32 * scale, co_occurrences()

    def start(optimizer: optax.GradientTransformation, key: jax.Array) -> State:
        keys = dict(zip(("word", "context"), jax.random.split(key), strict=True))
        params = {
            name: jax.random.uniform(k, (words, 1 + width), minval=-0.5, maxval=0.5) / width
            for name, k in keys.items()
        }
        extended = optax.with_extra_args_support(optimizer)
        return State(params, extended.init(params), extended, takes_rows(extended, params))

    def step(state: State, pairs: Pairs) -> tuple[State, jax.Array]:
        params, opt_state, optimizer, on_rows = state
        if on_rows:
            value_and_grad = rows.value_and_row_grad(loss_fn, ids_fn)
            loss, grads = value_and_grad(params, pairs, opt_state=opt_state)
        else:
            loss, grads = jax.value_and_grad(dense_loss)(params, pairs)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return State(rows.apply_updates(params, updates), opt_state, optimizer, on_rows), loss

    def metric(state: State, pairs: Pairs) -> jax.Array:
        params, opt_state = state.params, state.opt_state
        if state.on_rows:
            params, _ = rows.finalize(params, opt_state)
        return dense_loss(eval_params(state.optimizer, opt_state, params), pairs)

    return Loop(
        "text-glove",
        start,
        step,
        metric,
        Pool(pairs, shares=(0.05, 0.05)),
        batch_size=round(256 * scale**0.5),
        evaluations=10,
        metric_name="weighted squared error",
        description=f"Which of {words:,} words of Python's documentation stand near each other: "
        "a matrix factorised into two tables of vectors (GloVe).",
        target=0.185,
    )


def dense_loss(params: Params, pairs: Pairs) -> jax.Array:
    """The loss as a function of whole tables."""
    return loss_fn(rows.gather(params, ids_fn(pairs)), pairs)


def takes_rows(optimizer: optax.GradientTransformationExtraArgs, params: Params) -> bool:
    """Whether the optimizer takes gradients of rows; others fail, as ids have no arithmetic.

    >>> params = {"word": jnp.ones((9, 2))}
    >>> takes_rows(rows.adam(0.1, tables=True), params)
    True
    >>> takes_rows(optax.with_extra_args_support(optax.adam(0.1)), params)
    False
    """
    ids = jnp.zeros(1, jnp.int32)

    def update(params: Params) -> Any:
        grads = {name: rows.row_grads(ids, p[:1], p.shape[0]) for name, p in params.items()}
        return optimizer.update(grads, optimizer.init(params), params)

    try:
        jax.eval_shape(update, params)
    except (TypeError, ValueError):
        return False
    return True


def co_occurrences() -> tuple[int, Pairs]:
    """How many words there are, and the pairs that stand together.

    A pair d words apart counts 1/d. Words that occur fewer than five times are left out.
    """
    said = [text.words(paragraph) for paragraph, _ in text.paragraphs()]
    often = collections.Counter(word for words in said for word in words)
    known = {word: i for i, word in enumerate(sorted(w for w, n in often.items() if n >= 5))}
    together: dict[tuple[int, int], float] = collections.defaultdict(float)
    for words in said:
        numbers = [known[word] for word in words if word in known]
        for apart in range(1, NEAR + 1):
            for a, b in zip(numbers, numbers[apart:], strict=False):
                together[a, b] += 1 / apart
                together[b, a] += 1 / apart
    both = np.array(list(together), np.int32)
    count = np.array(list(together.values()), np.float32)
    return len(known), Pairs(both[:, 0], both[:, 1], count)
