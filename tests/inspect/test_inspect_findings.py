"""Planted faults: inspect names the fault and the leaf."""

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest
from models import transformer

from lecture_opt import inspect

STEPS = 100


def path(keys):
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def mask(test):
    """A mask of the leaves whose (path, leaf) pass a test."""
    return lambda tree: jax.tree_util.tree_map_with_path(lambda k, x: bool(test(path(k), x)), tree)


def label(test, yes="yes", no="no"):
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda k, x: yes if test(path(k), x) else no, tree
    )


def partitioned(test, yes, no):
    return optax.multi_transform({"yes": yes, "no": no}, label(test))


def half_state(optimizer):
    """The optimizer with its second moments in bfloat16."""

    def short(state):
        return jax.tree_util.tree_map_with_path(
            lambda k, x: x.astype(jnp.bfloat16) if "nu" in path(k).split("/") else x, state
        )

    def update(grads, state, params=None):
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(lambda u, g: u.astype(g.dtype), updates, grads), short(state)

    return optax.GradientTransformation(lambda p: short(optimizer.init(p)), update)


KERNELS = mask(lambda p, x: x.ndim > 1)
MATRIX = lambda p, x: "kernel" in p and "head" not in p  # noqa: E731
FAULTS = {
    "biases decay, kernels do not": (
        optax.adamw(1e-3, mask=mask(lambda p, x: x.ndim < 2)),
        "decay by 1e-07 a step, and no kernel does",
        "block_0/attn/wq/bias",
    ),
    "one kernel is not decayed": (
        optax.adamw(
            1e-3, weight_decay=0.1, mask=mask(lambda p, x: x.ndim > 1 and "1/mlp/up" not in p)
        ),
        "block_1/mlp/up/kernel: weight decay 0",
        "block_1/mlp/up/kernel",
    ),
    "one bias decays": (
        optax.adamw(
            1e-3,
            weight_decay=0.1,
            mask=mask(lambda p, x: x.ndim > 1 or p == "block_2/attn/wo/bias"),
        ),
        "block_2/attn/wo/bias: weight decay 0.1",
        "block_2/attn/wo/bias",
    ),
    "an embedding through Muon": (
        optax.contrib.muon(1e-3),
        "embed/embedding",
        "embed/embedding",
    ),
    "a kernel that Muon misses": (
        partitioned(
            lambda p, x: MATRIX(p, x) and p != "block_1/attn/wk/kernel",
            optax.contrib.muon(1e-3),
            optax.adamw(1e-3),
        ),
        "block_1/attn/wk/kernel: moved by adam",
        "block_1/attn/wk/kernel",
    ),
    "clipping in groups": (
        partitioned(
            MATRIX,
            optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
            optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
        ),
        "clipping sees 2 groups of leaves separately, at 1 each",
        "block_0/attn/wq/kernel",
    ),
    "clipping per leaf": (
        optax.chain(
            optax.stateless(
                lambda grads, params: jax.tree.map(
                    lambda g: g / jnp.maximum(1.0, jnp.sqrt(jnp.sum(g * g))), grads
                )
            ),
            optax.sgd(0.1),
        ),
        "clipping at 1 is per leaf",
        "head/kernel",
    ),
    "a schedule in micro-steps": (
        optax.adam(optax.cosine_decay_schedule(1e-3, STEPS // 4)),
        "the schedule ends at step 25 of 100",
        "head/kernel",
    ),
    "a warm-up in epochs": (
        optax.adam(optax.linear_schedule(0.0, 1e-3, 10 * STEPS)),
        "still rises at the last step",
        "head/kernel",
    ),
    "a frozen head": (
        partitioned(lambda p, x: "head" in p, optax.set_to_zero(), optax.adam(1e-3)),
        "head/kernel never moves",
        "head/kernel",
    ),
    "a kernel left out": (
        partitioned(
            lambda p, x: p == "block_2/mlp/down/kernel", optax.set_to_zero(), optax.adam(1e-3)
        ),
        "block_2/mlp/down/kernel never moves",
        "block_2/mlp/down/kernel",
    ),
    "a decay that is never applied": (
        optax.adamw(1e-3, weight_decay=0.1, mask=mask(lambda p, x: "weight" in p)),
        "no leaf's update depends on them",
        "head/kernel",
    ),
    "uphill": (
        partitioned(lambda p, x: "block_1" in p, optax.sgd(-0.1), optax.sgd(0.1)),
        "move uphill",
        "block_1/norm/scale",
    ),
    "ten times as far": (
        partitioned(lambda p, x: "final_norm" in p, optax.adam(5e-2), optax.adam(1e-3)),
        "50 times that of the others",
        "final_norm/scale",
    ),
    "a decay beside the schedule": (
        optax.chain(
            optax.adam(optax.cosine_decay_schedule(1e-3, STEPS)),
            optax.add_decayed_weights(-1e-4, mask=KERNELS),
        ),
        "whatever the rate is",
        "head/kernel",
    ),
    "a decay that grows": (
        optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(-0.1), optax.scale(-1e-3)),
        "grow by 0.0001 a step",
        "head/kernel",
    ),
    "a decay of a tenth per step": (
        optax.chain(optax.adam(1e-3), optax.add_decayed_weights(-0.2, mask=KERNELS)),
        "lose 20% at a step",
        "head/kernel",
    ),
    "second moments in 16 bits": (
        half_state(optax.adam(1e-3)),
        "is bfloat16",
        "head/kernel",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    optimizer, text, leaf = FAULTS[name]
    found = inspect.run(optimizer, transformer(), steps=STEPS).findings
    assert any(text in finding.text and leaf in finding.leaves for finding in found), found


def test_a_wide_update_is_named():
    def update(grads, state, params=None):
        return jax.tree.map(lambda g: -0.1 * g.astype(jnp.float32), grads), state

    optimizer = optax.GradientTransformation(lambda p: (), update)
    found = inspect.run(optimizer, transformer(1, dtype="bfloat16"), steps=5).findings
    assert "are float32, params bfloat16" in found[0].text
