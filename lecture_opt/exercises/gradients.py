"""Exercises on gradient descent and backpropagation: sections 8 to 10 of the guides."""

from typing import Any

import numpy as np

from lecture_opt.exercises.checkers import Exercise, function, number

_X = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
_DELTA = np.array([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.5], [2.0, 2.0, 1.0]])


def _dense(x: Any, delta: Any) -> tuple[Any, Any]:
    return x.T @ delta, delta.sum(axis=0)


GRADIENTS = (
    Exercise(
        "8.1",
        "a number",
        number(
            6.5 / 2 * (4 - 2) / (4 - 1),
            {
                6.5 / 2: "This is with replacement; multiply by (N - B) / (N - 1).",
                6.5: "This is the variance of one example, S.",
            },
        ),
        "answer = 6.5 / 2 * (4 - 2) / (4 - 1)  # S = (4 + 4 + 9 + 9) / 4",
    ),
    Exercise(
        "8.2",
        "a number",
        number(
            400,
            {
                200: "Half the error is a quarter of the variance.",
                25: "A larger batch has the smaller error.",
            },
        ),
        "answer = 4 * 100",
    ),
    Exercise(
        "9.1",
        "a function (x, delta) -> (dW, db)",
        function(
            _dense,
            [(_X, _DELTA)],
            [
                (
                    lambda x, delta: (x.T @ delta, delta),
                    "The bias is added in every example: sum delta over the batch.",
                ),
                (
                    lambda x, delta: (x.T @ delta, delta.mean(axis=0)),
                    "Sum over the batch; the loss has already divided by N.",
                ),
            ],
        ),
        """\
def answer(x, delta):
    return x.T @ delta, delta.sum(axis=0)
""",
    ),
    Exercise(
        "9.2",
        "a number",
        number(
            10.0,
            {
                -10.0: "Going back through w2 multiplies by w2 = -1.",
                5.0: "The derivative of (y - 3)^2 is 2 (y - 3).",
                -20.0: "This is dL/dw2.",
            },
        ),
        "y = -1 * max(2 * 1, 0)\nanswer = 2 * (y - 3) * -1 * 1 * 1",
    ),
    Exercise(
        "9.3",
        "a number",
        number(0.25**10, {2.5: "The factors multiply.", 0.5**10: "The slope is at most 1/4."}),
        "answer = 0.25**10",
    ),
    Exercise(
        "10.1", "two numbers", number([0.0, 0.0]), "answer = [0.0, 0.0]  # z = -0.5, so step(z) = 0"
    ),
    Exercise(
        "10.2",
        "a function (kernel, bias, x) -> a boolean for each unit",
        function(
            lambda kernel, bias, x: np.all(x @ kernel + bias <= 0, axis=0),
            [(np.array([[1.0, -1.0], [0.0, -2.0]]), np.array([-2.0, -3.0]), _X)],
            [
                (
                    lambda kernel, bias, x: np.any(x @ kernel + bias <= 0, axis=0),
                    "A unit is dead if it gives 0 for all examples, not for one.",
                )
            ],
        ),
        """\
import numpy as np

def answer(kernel, bias, x):
    return np.all(x @ kernel + bias <= 0, axis=0)
""",
    ),
)
