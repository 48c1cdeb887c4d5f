"""The pairs of lecture and optax: all six are there, and each says truly whether it is equal."""

import jax
import numpy as np
import pytest

from lecture_opt import equals, optimizers, specs
from lecture_opt.environment import environment


def walk(text, grads):
    """(steps, 5) the updates of the optimizer that the text names, at a learning rate of 0.1."""
    optimizer = specs.build(specs.parse(text), learning_rate=0.1)
    params = np.ones_like(grads[0])  # so that weight decay shows

    def step(state, grad):
        updates, state = optimizer.update(grad, state, params)
        return state, updates

    with environment():
        return np.asarray(jax.lax.scan(step, optimizer.init(params), grads)[1])


def test_every_optimizer_has_its_pair():
    made = [name for name in optimizers.__all__ if name.islower() and name != "lookahead"]
    assert sorted(pair.name for pair in equals.PAIRS) == made


@pytest.mark.parametrize("pair", equals.PAIRS, ids=lambda pair: pair.name)
def test_a_pair_is_equal_where_it_says_so(pair):
    grads = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    ours = walk(pair.lecture, grads)
    tolerance = 20 * np.finfo(np.float32).eps * np.abs(ours).max()
    np.testing.assert_allclose(walk(pair.exact, grads), ours, rtol=0, atol=tolerance)
    gap = np.abs(walk(pair.optax, grads) - ours).max()
    assert (gap <= tolerance) == pair.equal


def test_what_the_lecture_does_not_have_is_put_beside_adam():
    assert equals.beside("optax:lion") == "optax:adam"
    assert equals.beside("lecture:sgd(learning_rate=0.1)") == "optax:sgd"
