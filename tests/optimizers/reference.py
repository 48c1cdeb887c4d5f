"""The update rules in NumPy float64: an optimizer is tested because its oracle stands here."""

import inspect
from inspect import isgeneratorfunction

import numpy as np

import lecture_opt as lo
from lecture_opt import equals, specs


def sgd(grads, learning_rate=0.01):
    for g in grads:
        yield -learning_rate * g


def momentum(grads, learning_rate=0.01, momentum=0.9):
    v = 0.0
    for g in grads:
        v = momentum * v - learning_rate * g
        yield v


def nesterov(grads, learning_rate=0.01, momentum=0.9):
    v = 0.0
    for g in grads:
        v = momentum * v - learning_rate * g
        yield momentum * v - learning_rate * g


def adagrad(grads, learning_rate=0.01, eps=1e-6):
    acc = 0.0
    for g in grads:
        acc = acc + np.abs(g) ** 2
        yield -(learning_rate / np.sqrt(acc + eps)) * g


def rmsprop(grads, learning_rate=0.001, decay=0.9, eps=1e-6):
    acc = 0.0
    for g in grads:
        acc = decay * acc + (1 - decay) * np.abs(g) ** 2
        yield -(learning_rate / np.sqrt(acc + eps)) * g


def adam(grads, learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-8, b1_decay=1 - 1e-8):
    m = v = 0.0
    for t, g in enumerate(grads, start=1):
        b1_t = b1 * b1_decay ** (t - 1)
        m = b1_t * m + (1 - b1_t) * g
        v = b2 * v + (1 - b2) * np.abs(g) ** 2
        yield -learning_rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)


SLIDES = {name: oracle for name, oracle in list(globals().items()) if isgeneratorfunction(oracle)}
MAKERS = [getattr(lo, name) for name in SLIDES]

RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.3, "adam": 0.1}
"""Where each learns a regression in 150 steps; an optimizer that isn't named does at 0.03."""


def other_than_default(name):
    """Hyperparameters that are not the defaults, for the optimizer and its oracle."""
    defaults = {n: p.default for n, p in inspect.signature(SLIDES[name]).parameters.items()}
    del defaults["grads"]
    other = {n: 0.1 if n == "eps" else default * 2 / 3 for n, default in defaults.items()}
    return {**other, "learning_rate": 0.3}


def beside_optax(name):
    """The optimizer and the optax call that makes its steps, in float64 too."""
    pair = next(pair for pair in equals.PAIRS if pair.name == name)
    rate = inspect.signature(SLIDES[name]).parameters["learning_rate"].default
    fixed = {"b1_decay": 1.0} if name == "adam" else {}  # optax has no such decay
    theirs = specs.build(specs.parse(pair.exact), learning_rate=rate)
    return getattr(lo, name)(rate, **fixed), theirs
