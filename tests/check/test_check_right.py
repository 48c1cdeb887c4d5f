"""Unusual but correct optimizers pass: guards against false alarms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import check, equals
from lecture_opt.check.properties import learning


class Velocity(NamedTuple):
    velocity: object


def velocity_of_the_rate(learning_rate=0.1, momentum=0.9):
    """The rate inside the velocity, as the lecture writes momentum."""

    def update(grads, state, params=None):
        v = jax.tree.map(lambda v, g: momentum * v - learning_rate * g, state.velocity, grads)
        return v, Velocity(v)

    return optax.GradientTransformation(
        lambda params: Velocity(jax.tree.map(jnp.zeros_like, params)), update
    )


def dict_state_and_says_it_needs_params(learning_rate=0.1, weight_decay=0.01):
    def update(grads, state, params=None):
        if params is None:
            raise ValueError("weight decay needs params: call update(grads, state, params)")
        step = lambda g, p: -learning_rate * (g + weight_decay * p)  # noqa: E731
        count = optax.safe_increment(state["count"])
        return jax.tree.map(step, grads, params), {"count": count}

    return optax.GradientTransformation(lambda p: {"count": jnp.zeros([], jnp.int32)}, update)


def plain_pair(learning_rate=0.1):
    return (lambda p: (), lambda g, s, p=None: (jax.tree.map(lambda x: -learning_rate * x, g), s))


def clipped_by_global_norm(learning_rate=0.1):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(learning_rate))


def noise_from_a_key_in_the_state(learning_rate=0.1):
    def update(grads, state, params=None):
        key, now = jax.random.split(state)
        leaves, structure = jax.tree.flatten(grads)
        keys = jax.random.split(now, max(len(leaves), 1))
        noisy = [
            -learning_rate
            * (g + jnp.asarray(0.01, g.dtype) * jax.random.normal(k, g.shape, g.dtype))
            for g, k in zip(leaves, keys, strict=False)
        ]
        return structure.unflatten(noisy), key

    return optax.GradientTransformation(lambda p: jax.random.key(0), update)


RIGHT = (
    velocity_of_the_rate,
    dict_state_and_says_it_needs_params,
    plain_pair,
    clipped_by_global_norm,
    noise_from_a_key_in_the_state,
    optax.sgd(0.1),
    optax.lion,
    optax.sign_sgd,
    optax.chain(optax.scale_by_rms(eps=1e-4), optax.scale(-0.01)),
)
PASSING = {getattr(each, "__name__", f"instance{i}"): each for i, each in enumerate(RIGHT)}


SLOWEST = dict.fromkeys(
    ("learning", "composition", "persistence", "devices"), "compiles much; asked below"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PASSING)
def test_no_false_alarm(name):
    check.assert_ok(PASSING[name], skip=SLOWEST)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pair.name for pair in equals.PAIRS])
def test_the_lecture_s_optimizers_pass(name):
    from lecture_opt import optimizers

    check.assert_ok(getattr(optimizers, name), skip={} if name == "adam" else SLOWEST)


test_sgd_in_one_line = check.as_test(
    optax.sgd(0.1),
    reference=optax.sgd(0.1),
    skip=dict.fromkeys(("hostile", "learning"), "kept quick"),
)
test_adam_with_a_known_failure = check.as_test(
    optax.adam,
    skip=dict.fromkeys(
        ("learning", "trees", "leaves", "arguments", "composition", "persistence", "devices"),
        "kept quick",
    ),
    expected_failures={"hostile.zero_gradients_float16": "optax divides 0 by 0 in float16"},
)


def cautious(learning_rate=0.1):
    """Only the elements that agree with the gradient move, the others' share made up for."""

    def mask(updates, grads):
        agree = (updates * grads > 0).astype(updates.dtype)
        return updates * agree / jnp.maximum(jnp.mean(agree), jnp.asarray(1e-3, updates.dtype))

    adam = optax.scale_by_adam()

    def update(grads, state, params=None):
        updates, state = adam.update(grads, state, params)
        masked = jax.tree.map(mask, updates, grads)
        return jax.tree.map(lambda u: -learning_rate * u, masked), state

    return optax.GradientTransformation(adam.init, update)


def frozen_bias():
    rules = {"moves": optax.adam(1e-3), "rests": optax.set_to_zero()}
    label = lambda tree: jax.tree_util.tree_map_with_path(  # noqa: E731
        lambda path, _: "rests" if "bias" in jax.tree_util.keystr(path) else "moves", tree
    )
    return optax.multi_transform(rules, label)


DESIGNS = {
    "ends_at_zero": (
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 20, 300)),
        ["long_run", "dtypes", "interface"],
    ),
    "accumulates": (optax.MultiSteps(optax.adam(1e-3), 4), ["long_run", "interface", "direction"]),
    "applies_every": (
        optax.chain(optax.adam(1e-3), optax.apply_every(4)),
        ["long_run", "interface", "direction"],
    ),
    "frozen": (frozen_bias(), ["direction", "leaves", "interface"]),
    "cautious": (cautious, ["leaves", "direction"]),
    "short_first_moment": (optax.adam(1e-3, mu_dtype=jnp.bfloat16), ["transforms", "state"]),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_no_bug(name):
    optimizer, families = DESIGNS[name]
    check.assert_ok(optimizer, only=families)


def test_the_tumours_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    wanted = datasets.load_breast_cancer(return_X_y=True)
    for got, array in zip(learning.tumours(), wanted, strict=True):
        np.testing.assert_array_equal(got, array)
