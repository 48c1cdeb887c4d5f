"""The slides' update rules in NumPy float64, and the optax call that equals each."""

import numpy as np
import optax

import lecture_opt as lo


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


SLIDES = {f.__name__: f for f in (sgd, momentum, nesterov, adagrad, rmsprop, adam)}

OPTAX = {
    "sgd": (lo.sgd(0.01), optax.sgd(0.01)),
    "momentum": (lo.momentum(0.01), optax.sgd(0.01, momentum=0.9)),
    "nesterov": (lo.nesterov(0.01), optax.sgd(0.01, momentum=0.9, nesterov=True)),
    "adagrad": (
        lo.adagrad(0.01),
        optax.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-6),
    ),
    "rmsprop": (lo.rmsprop(0.001), optax.rmsprop(0.001, decay=0.9, eps=1e-6)),
    "adam": (lo.adam(0.001, b1_decay=1.0), optax.adam(0.001)),
}
