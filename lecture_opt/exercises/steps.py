"""Exercises on the optimizers: sections 11 to 18 of the guides."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from lecture_opt import check, optimizers
from lecture_opt.exercises.checkers import Exercise, function, number, word

_GRADIENTS = [1.0, -0.5, 2.0, 0.25]


def _sgd(answer: Any) -> str | None:
    """The pair against `sgd`, over three steps of a tree."""
    try:
        init, update = answer(0.1)
    except Exception as error:
        return f"answer(0.1) raises {type(error).__name__}: {error}; wanted a pair (init, update)."
    params = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(0.5)}
    state = init(params)
    for _ in range(3):
        updates, state = update(params, state, params)
        if jnp.allclose(updates["w"], 0.1 * params["w"]):
            return "The updates are added to the parameters, so they need the minus sign."
        if not all(jnp.allclose(updates[name], -0.1 * params[name]) for name in params):
            return f"For the gradient {params['w']} the update is {updates['w']}."
    return None


def _adagrad(gradients: Any, learning_rate: float, eps: float, inside: bool = True) -> Any:
    acc, steps = 0.0, []
    for g in gradients:
        acc += g**2
        root = np.sqrt(acc + eps) if inside else np.sqrt(acc) + eps
        steps.append(-learning_rate * g / root)
    return np.array(steps)


def _adam(gradients: Any, decay: float, *, product: bool = False, inside: bool = False) -> Any:
    """The slide's steps; `product` corrects by the decays as they were."""
    m = v = 0.0
    steps, left = [], 1.0
    for t, g in enumerate(gradients, start=1):
        b1_t = 0.9 * decay ** (t - 1)
        left *= b1_t
        m, v = b1_t * m + (1 - b1_t) * g, 0.999 * v + 0.001 * g**2
        m_c, v_c = m / (1 - (left if product else 0.9**t)), v / (1 - 0.999**t)
        steps.append(-0.1 * m_c / (np.sqrt(v_c + 0.1) if inside else np.sqrt(v_c) + 0.1))
    return np.array(steps)


def _broken(answer: Any) -> str | None:
    """Whether `check` names the missing correction of what `answer()` makes."""
    try:
        subject = check.make(answer())
    except Exception as error:
        return f"answer() raises {type(error).__name__}: {error}; wanted a pair (init, update)."
    outcome = check.against(subject, optimizers.adam(0.001))
    if outcome.status != "fail":
        return "lecture-opt check finds no difference to lecture:adam; is it broken?"
    if "correction" not in outcome.message:
        return f"It is broken in another way. lecture-opt check says: {outcome.message}"
    return None


STEPS = (
    Exercise(
        "11.1",
        "a number",
        number(1.2, {0.8: "The gradient p - 3 is negative, so the step goes up."}),
        "answer = 1.0 - 0.1 * (1.0 - 3.0)",
    ),
    Exercise(
        "11.2",
        "a function learning_rate -> (init, update)",
        _sgd,
        """\
import jax

def answer(learning_rate):
    def init(params):
        return ()

    def update(grads, state, params=None):
        return jax.tree.map(lambda g: -learning_rate * g, grads), state

    return init, update
""",
    ),
    Exercise(
        "12.1",
        "a number",
        number(
            -0.2,
            {
                0.2: "The velocity goes against the gradient.",
                -0.02: "This is SGD's step; the past steps add up to ten times as much.",
            },
        ),
        "answer = -0.01 * 2 / (1 - 0.9)",
    ),
    Exercise(
        "12.2",
        "a number",
        number(0.05, {-0.15: "The second gradient is -1, so its step goes up.", 0.1: "m is -0.1."}),
        "v1 = -0.1 * 1\nanswer = 0.5 * v1 - 0.1 * -1",
    ),
    Exercise(
        "13.1",
        "a number",
        number(
            0.028,
            {-0.08: "This is v, momentum's step.", -0.172: "Use the new v, not the old m, too."},
        ),
        "v = 0.9 * -0.2 - 0.1 * -1\nanswer = 0.9 * v - 0.1 * -1",
    ),
    Exercise(
        "13.2",
        "a number",
        number(1.09, {0.91: "p = theta + momentum m, so theta = p - momentum m."}),
        "answer = 1.0 - 0.9 * -0.1",
    ),
    Exercise(
        "14.1",
        "a number",
        number(0.04, {0.02: "At 1 / c one step ends in the minimum; the limit is 2 / c."}),
        "answer = 2 / 50",
    ),
    Exercise(
        "14.2",
        "a number",
        number(
            459, {5: "This is the steep direction; the flat one takes 0.99 of its error along."}
        ),
        "import math\n\nanswer = math.ceil(math.log(0.01) / math.log(1 - 0.01))",
    ),
    Exercise(
        "15.1",
        "a number",
        number(
            -0.2,
            {
                0.2: "A step goes against the gradient.",
                -0.3: "Divide by the root of the sum of all squares, not by the last gradient.",
                -0.3 * 2 / 9: "Divide by the root of the sum.",
            },
        ),
        "answer = -0.3 * 2 / (1 + 4 + 4) ** 0.5",
    ),
    Exercise(
        "15.2",
        "a function (gradients, learning_rate, eps) -> an array of steps",
        function(
            _adagrad,
            [(_GRADIENTS, 0.1, 0.1)],
            [(lambda g, rate, eps: _adagrad(g, rate, eps, False), "Put eps inside the root.")],
        ),
        """\
import numpy as np

def answer(gradients, learning_rate, eps):
    g = np.array(gradients)
    return -learning_rate * g / np.sqrt(np.cumsum(g**2) + eps)
""",
    ),
    Exercise(
        "16.1",
        "a number",
        number(0.01, {0.001: "The accumulator starts at 0, so it holds 0.01 g^2 after one step."}),
        "answer = 0.001 / (1 - 0.99) ** 0.5",
    ),
    Exercise(
        "16.2",
        "a number",
        number(57, {10: "1 / (1 - rho) steps divide the burst by e alone."}),
        "import math\n\nanswer = math.ceil(math.log(1 / 399) / math.log(0.9))",
    ),
    Exercise(
        "17.1",
        "a number",
        number(
            0.001,
            {
                -0.001: "The gradient is negative, so the step goes up.",
                0.007: "m_c / sqrt(v_c) is the sign of the gradient.",
            },
        ),
        "answer = 0.001",
    ),
    Exercise(
        "17.2",
        "a number",
        number(
            0.1 / 0.001**0.5, {1.0: "This is with the correction.", 100.0: "Take the root of v."}
        ),
        "answer = (1 - 0.9) / (1 - 0.999) ** 0.5",
    ),
    Exercise(
        "17.3",
        "a function (gradients, b1_decay) -> an array of steps",
        function(
            _adam,
            [(_GRADIENTS, 0.9), (_GRADIENTS, 1.0)],
            [
                (partial(_adam, product=True), "The slide corrects by b1^t."),
                (partial(_adam, inside=True), "Put epsilon outside the root."),
                (lambda g, _: _adam(g, 1.0), "b1 must be multiplied by l^(t - 1)."),
            ],
        ),
        """\
import numpy as np

def answer(gradients, b1_decay):
    m = v = 0.0
    steps = []
    for t, g in enumerate(gradients, start=1):
        b1_t = 0.9 * b1_decay ** (t - 1)
        m = b1_t * m + (1 - b1_t) * g
        v = 0.999 * v + 0.001 * g**2
        steps.append(-0.1 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 0.1))
    return np.array(steps)
""",
    ),
    Exercise(
        "17.4",
        "a function () -> (init, update)",
        _broken,
        """\
import jax
import jax.numpy as jnp

def answer():
    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros

    def update(grads, state, params=None):
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, state[1], grads)
        return jax.tree.map(lambda m, v: -0.001 * m / (jnp.sqrt(v) + 1e-8), m, v), (m, v)

    return init, update
""",
    ),
    Exercise(
        "18.1",
        "a word",
        word(
            "undecided",
            {
                "equivalent": "The interval reaches beyond the margin of 0.01 on both sides.",
                "better": "The interval contains 0.",
                "worse": "The interval contains 0.",
            },
        ),
        'answer = "undecided"',
    ),
)
