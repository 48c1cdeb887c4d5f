"""A training that is one function: its scan's body is the step, the carry is the state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lecture_opt import compare, specs
from lecture_opt.compare.runs import data, engine, examine
from lecture_opt.compare.runs.entrants import look
from lecture_opt.environment import lenient
from lecture_opt.problems.loop import start_key

ARMS, STEPS, NOTHING = jnp.array([0.1, 0.5, 0.9]), 40, np.zeros(1, np.float32)


def update(optimizer, carry, _):
    """REINFORCE on a bandit of three arms: it draws its own data from the key that it carries."""
    logits, state, key = carry
    key, now = jax.random.split(key)
    arms = jax.random.categorical(now, logits, shape=(64,))

    def loss(logits):
        return -(jax.nn.log_softmax(logits)[arms] * (ARMS[arms] - ARMS.mean())).mean()

    updates, state = optimizer.update(jax.grad(loss)(logits), state, logits)
    return (optax.apply_updates(logits, updates), state, key), ARMS[arms].mean()


def begin(optimizer, key):
    return jnp.zeros(3), optimizer.init(jnp.zeros(3)), key


def expected_reward(carry, part):
    del part
    return jax.nn.softmax(carry[0]) @ ARMS


@functools.partial(jax.jit, static_argnums=0)
def train(optimizer, key):
    """The user's function, whole."""
    body = functools.partial(update, optimizer)
    carry, _ = lax.scan(body, begin(optimizer, key), length=STEPS)
    return expected_reward(carry, None)


def start(optimizer, key):
    return begin(optimizer, key), optimizer.update


def step(state, batch):
    carry, rule = state
    carry, reward = update(optax.GradientTransformation(None, rule), carry, batch)
    return (carry, rule), {"loss": -reward}


def test_the_loop_trains_as_the_function_does():
    loop = compare.Loop(
        "bandit", start, step, lambda state, part: expected_reward(state[0], part),
        (NOTHING, NOTHING, NOTHING), batch_size=1, steps=STEPS, metric_name="reward",
        higher_is_better=True,
    )  # fmt: skip
    seeds, settings = [0, 1, 2], [{"learning_rate": 0.3}]
    entrant = look(loop, examine.examine(loop), specs.parse("optax:adam"), settings)
    held = data.prepare(loop)
    program = engine.build(entrant, held, runs=3)
    rates = {"learning_rate": np.full(3, 0.3)}
    found = engine.train(program, entrant, held, rates, seeds).validation[:, -1]
    with lenient():
        alone = [train(optax.adam(0.3), start_key(seed)) for seed in seeds]
    np.testing.assert_allclose(found, alone, rtol=1e-4)
    assert found.min() > 0.75
    assert len(set(found.tolist())) == 3
