"""Exercises on the slides about modules and costs: sections 1 to 7 of the guides."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import losses, models
from lecture_opt.exercises.checkers import Exercise, function, number

_X = np.array([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]], np.float32)
_PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
_IDS = np.array([1, 2])
_LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], np.float32)
_TRUE, _PREDICTED = np.array([1.0, 0.0], np.float32), np.array([0.9, 0.4], np.float32)

_model = models.chain(models.dense(4, 8), models.relu, models.dense(8, 3))
_PARAMS: Any = [
    {"kernel": np.cos(np.arange(32.0, dtype=np.float32)).reshape(4, 8), "bias": np.ones(8) / 4},
    {},
    {"kernel": np.sin(np.arange(24.0, dtype=np.float32)).reshape(8, 3), "bias": np.ones(3) / 2},
]


def _net(params: Any, x: Any) -> jax.Array:
    hidden = x @ params[0]["kernel"] + params[0]["bias"]
    return jnp.maximum(hidden, 0) @ params[2]["kernel"] + params[2]["bias"]


def _linear(params: Any, x: Any) -> jax.Array:
    hidden = x @ params[0]["kernel"] + params[0]["bias"]
    return hidden @ params[2]["kernel"] + params[2]["bias"]


def _picked(probs: Any, ids: Any) -> jax.Array:
    return jnp.log(jnp.asarray(probs)[jnp.arange(len(ids)), ids])


def _softmax_loss(logits: Any, ids: Any) -> jax.Array:
    return losses.softmax_cross_entropy(jnp.asarray(logits), jnp.asarray(ids))


def _naive(logits: Any, ids: Any) -> jax.Array:
    q = jnp.exp(logits) / jnp.exp(logits).sum(axis=1, keepdims=True)
    return -_picked(q, ids).mean()


def _by_logits(logits: Any, ids: Any) -> jax.Array:
    return (jax.nn.softmax(jnp.asarray(logits)) - jnp.eye(3)[ids]) / len(ids)


COSTS = (
    Exercise(
        "1.1",
        "a number",
        number(67, {56: "These are the kernels; each output also has a bias."}),
        "answer = 4 * 8 + 8 + 8 * 3 + 3",
    ),
    Exercise(
        "1.2",
        "a function (params, x) -> y",
        function(_net, [(_PARAMS, _X)], [(_linear, "The relu between the layers is missing.")]),
        """\
import jax.numpy as jnp

def answer(params, x):
    hidden = jnp.maximum(x @ params[0]["kernel"] + params[0]["bias"], 0)
    return hidden @ params[2]["kernel"] + params[2]["bias"]
""",
    ),
    Exercise(
        "2.1",
        "a number",
        number(
            np.log(0.75**3 * 0.25),
            {
                0.75**3 * 0.25: "This is the likelihood; take its logarithm.",
                np.log(0.75**3 * 0.25) / 4: "This is the mean over the tosses; wanted their sum.",
            },
        ),
        "import math\n\nanswer = 3 * math.log(0.75) + math.log(0.25)",
    ),
    Exercise(
        "2.2",
        "a number",
        number(2 / 3, {0.7: "This maximises the likelihood; multiply it by the prior first."}),
        "answer = (7 + 1) / (10 + 2)  # the derivative of 8 log q + 4 log(1 - q) is 0 there",
    ),
    Exercise(
        "3.1",
        "a function (probs, labels) -> a number",
        function(
            lambda probs, ids: _picked(probs, ids).sum(),
            [(_PROBS, _IDS)],
            [
                (lambda probs, ids: _picked(probs, ids).mean(), "This is the mean; wanted a sum."),
                (
                    lambda probs, ids: -_picked(probs, ids).sum(),
                    "This is minus the log-likelihood: the cost.",
                ),
            ],
        ),
        """\
import jax.numpy as jnp

def answer(probs, labels):
    return jnp.log(probs[jnp.arange(len(labels)), labels]).sum()
""",
    ),
    Exercise(
        "4.1",
        "a number",
        number(
            -np.log(0.2),
            {
                -np.log(0.7): "This is the cost of class 0; classes are counted from 0.",
                -np.log2(0.2): "These are bits; nats come from the natural logarithm.",
                np.log(0.2): "A cost is minus the logarithm.",
            },
        ),
        "import math\n\nanswer = -math.log(0.2)",
    ),
    Exercise(
        "4.2",
        "a number",
        number(3.0, {np.log(8): "These are nats; divide by log 2."}),
        "import math\n\nanswer = math.log2(8)",
    ),
    Exercise(
        "4.3",
        "a function (logits, labels) -> a number",
        function(
            _softmax_loss,
            [(_LOGITS, _IDS), (np.array([[1000.0, 0.0, 0.0]], np.float32), np.array([1]))],
            [
                (_naive, "It overflows for a logit of 1000; subtract the largest logit first."),
                (lambda z, i: 2 * _softmax_loss(z, i), "This is the sum; wanted the mean."),
            ],
        ),
        """\
import jax.numpy as jnp

def answer(logits, labels):
    z = logits - logits.max(axis=1, keepdims=True)
    log_q = z - jnp.log(jnp.exp(z).sum(axis=1, keepdims=True))
    return -log_q[jnp.arange(len(labels)), labels].mean()
""",
    ),
    Exercise(
        "4.4",
        "a function (logits, labels) -> an array like logits",
        function(
            _by_logits,
            [(_LOGITS, _IDS)],
            [
                (lambda z, i: len(i) * _by_logits(z, i), "The cost is a mean: divide by N."),
                (lambda z, i: -_by_logits(z, i), "The sign is turned: q - p, not p - q."),
            ],
        ),
        """\
import jax
import jax.numpy as jnp

def answer(logits, labels):
    return (jax.nn.softmax(logits) - jnp.eye(3)[labels]) / len(labels)
""",
    ),
    Exercise(
        "5.1",
        "a number",
        number(np.log(2), {0.5: "This is the probability; the cost is minus its logarithm."}),
        "import math\n\nanswer = math.log(2)",
    ),
    Exercise(
        "5.2",
        "a number",
        number(
            -0.004,
            {
                0.004: "A step goes against the gradient.",
                -0.002: "The derivative of w^2 is 2 w.",
                -0.04: "This is the gradient with a minus; multiply it by the learning rate.",
            },
        ),
        "answer = -0.1 * 0.01 * 2 * 2.0",
    ),
    Exercise(
        "6.1",
        "a number",
        number(6.0, {23.2: "This is the mean, which the squared error has."}),
        "answer = 6.0  # the median",
    ),
    Exercise(
        "6.2",
        "a function (f, y) -> a number",
        function(
            lambda f, y: np.sqrt(np.mean((y - f) ** 2)),
            [(np.array([1.0, 2.0, 4.0]), np.array([2.0, 0.0, 4.5]))],
            [
                (lambda f, y: np.mean((y - f) ** 2), "This is sigma squared."),
                (
                    lambda f, y: np.sqrt(np.sum((y - f) ** 2) / (len(y) - 1)),
                    "The likelihood divides by N, not by N - 1.",
                ),
            ],
        ),
        """\
import numpy as np

def answer(f, y):
    return np.sqrt(np.mean((y - f) ** 2))
""",
    ),
    Exercise(
        "7.1",
        "a function (y_true, y_pred) -> a number",
        function(
            lambda true, predicted: losses.binary_cross_entropy(predicted, true),
            [(_TRUE, _PREDICTED)],
        ),
        """\
import lecture_opt as lo

def answer(y_true, y_pred):
    return lo.binary_cross_entropy(y_pred, y_true)
""",
    ),
)
