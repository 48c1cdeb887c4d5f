"""Rules, clips, copies and sums that small gradients alone do not tell."""

import math

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest
from models import shape, transformer
from test_inspect_findings import KERNELS, mask, partitioned

from lecture_opt import inspect

STEPS = 40
WARM = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, STEPS)
ADAM = "adam(b1=0.9, b2=0.999, eps=1e-08)"
TREE = {"w": shape(8, 4), "v": shape(6, 5), "b": shape(4)}
chain = optax.chain


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def stepwise(*rest):
    """Adam's direction, something, and the rate."""
    return chain(optax.scale_by_adam(), *rest, optax.scale_by_learning_rate(WARM))


def inspected(optimizer, tree=TREE):
    return inspect.run(optimizer, tree, steps=STEPS)


def with_roots(grads, params):
    """Gradients whose large elements are replaced by their roots."""
    return jax.tree.map(lambda g: jnp.where(abs(g) < 1, g, jnp.sign(g) * jnp.sqrt(abs(g))), grads)


RULES = {
    "yogi": (optax.yogi(1e-3), "yogi(b1=0.9, b2=0.999, eps=0.001)"),
    "yogi of others": (optax.yogi(WARM, b2=0.95), "yogi(b1=0.9, b2=0.95, eps=0.001)"),
    "yogi behind a clip": (
        chain(optax.clip_by_global_norm(1.0), optax.yogi(1e-3)),
        "yogi(b1=0.9, b2=0.999, eps=0.001)",
    ),
    "a large eps": (optax.adam(1e-3, b2=0.99, eps=1.0), "adam(b1=0.9, b2=0.99, eps=1)"),
    "roots": (
        chain(optax.stateless(with_roots), optax.sgd(0.1)),
        "unknown (sgd() for small gradients)",
    ),
    "cut steps": (stepwise(optax.clip(0.5)), f"clip({ADAM}, 0.5)"),
    "cut momentum": (
        chain(optax.trace(0.9), optax.clip(0.3), optax.scale(-0.1)),
        "clip(sgd(momentum=0.9), 0.3)",
    ),
}


LONG = "yogi of others", "cut momentum"


@pytest.mark.parametrize("name", [*sorted({*RULES} - {*LONG}), *slow(*LONG)])
def test_a_rule_holds_for_gradients_of_all_sizes(name):
    optimizer, rule = RULES[name]
    result = inspected(optimizer)
    assert result["w"].rule == result["b"].rule == rule


@pytest.mark.parametrize("limit", [1.0, *slow(0.01, 30.0)])
@pytest.mark.parametrize("inner", [optax.sgd(0.1, momentum=0.9), optax.adagrad(0.1)])
def test_a_clip_of_elements_is_measured(limit, inner):
    result = inspected(chain(optax.clip(limit), inner))
    plain = inspected(inner)
    assert [leaf.limit for leaf in result.leaves] == [limit] * 3
    assert [leaf.rule for leaf in result.leaves] == [leaf.rule for leaf in plain.leaves]
    assert all(math.isinf(leaf.limit) for leaf in plain.leaves)
    assert f"clipping no becomes {limit:g} per element" in plain.differences(result)[0]


def test_a_clip_of_elements_that_misses_a_leaf_is_found():
    only = mask(lambda p, x: p != "block_1/mlp/up/kernel")
    optimizer = chain(optax.masked(optax.clip(1.0), only), optax.adam(1e-3))
    found = inspected(optimizer, transformer()).findings
    assert "block_1/mlp/up/kernel is not clipped" in found[0].text


@pytest.mark.parametrize("norm", [1.25, *slow(0.25, 40.0)])
def test_the_norm_of_a_clip_is_measured(norm):
    result = inspected(chain(optax.clip_by_global_norm(norm), optax.adam(1e-3)))
    assert {leaf.clip for leaf in result.leaves} == {inspect.Clip(norm, 0)}
    assert result["w"].rule == ADAM


@pytest.mark.parametrize("norm", [1.0, *slow(0.5, 4.0)])
def test_a_clip_after_the_rule_is_measured(norm):
    decay = optax.add_decayed_weights(0.1, mask=KERNELS)
    result = inspected(stepwise(optax.clip_by_global_norm(norm), decay))
    assert {leaf.clip for leaf in result.leaves} == {inspect.Clip(norm, 0, "step")}
    assert {leaf.rule for leaf in result.leaves} == {ADAM}
    assert [result[name].weight_decay for name in "wvb"] == [0.1, 0.1, 0]
    assert result["w"].peak == pytest.approx(1e-3, rel=1e-3)
    assert result.ok
    assert "not the gradients but the steps" in result.notes[0].text


@pytest.mark.parametrize("norm", [1.0, *slow(4.0)])
def test_clips_before_and_after_the_rule_are_both_measured(norm):
    result = inspected(chain(optax.clip(0.3), stepwise(optax.clip_by_global_norm(norm))))
    assert {(leaf.rule, leaf.limit, leaf.clip) for leaf in result.leaves} == {
        (ADAM, 0.3, inspect.Clip(norm, 0, "step"))
    }
    assert result["w"].clipping == f"{norm:g} of the step, 0.3 per element"


def test_a_clip_after_the_rate_is_one_of_updates():
    result = inspected(chain(optax.adam(lambda t: 0.1 * (1 + t)), optax.clip_by_global_norm(0.5)))
    assert {leaf.clip for leaf in result.leaves} == {inspect.Clip(0.5, 0, "update")}


def test_normalised_gradients_have_no_rate_of_their_own():
    leaf = inspected(chain(optax.contrib.normalize(), optax.sgd(0.1)))["w"]
    assert leaf.rule == "unknown (sgd() * a factor)"
    assert leaf.clip == inspect.Clip(0.0, 0)


def test_a_clip_after_signs_is_the_norm_of_the_update():
    lion = chain(optax.scale_by_lion(), optax.clip_by_global_norm(1.0), optax.scale(-0.01))
    assert {leaf.clip for leaf in inspected(lion).leaves} == {inspect.Clip(0.01, 0, "update")}


def test_a_clip_after_momentum_is_measured():
    result = inspected(chain(optax.trace(0.9), optax.clip_by_global_norm(2.0), optax.scale(-0.1)))
    assert {leaf.clip for leaf in result.leaves} == {inspect.Clip(2.0, 0, "step")}


def test_clips_after_the_rule_know_their_groups():
    apart = partitioned(
        lambda p, x: x.ndim > 1,
        stepwise(optax.clip_by_global_norm(1.0)),
        stepwise(optax.clip_by_global_norm(0.5)),
    )
    result = inspected(apart)
    assert result["w"].clip == result["v"].clip == inspect.Clip(1.0, 1, "step")
    assert result["b"].clip == inspect.Clip(0.5, 0, "step")
    assert "2 groups of leaves separately, at 0.5 and 1 each" in result.findings[0].text


@pytest.mark.slow
def test_clips_of_each_leaf_after_the_rule_are_told_apart():
    alone = inspected(stepwise(optax.clip_by_block_rms(0.5)))
    norms = {leaf.path: (leaf.clip.norm, leaf.clip.group) for leaf in alone.leaves}
    assert norms == {"b": (1.0, 0), "v": (2.74, 1), "w": (2.83, 2)}


def short(values):
    return values.astype(jnp.bfloat16)


def wide(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def with_copies(optimizer, cast=lambda new, old: new.astype(old.dtype) - old):
    """The optimizer on float32 copies of the params, from which the params are cast."""

    def init(params):
        return wide(params), optimizer.init(wide(params))

    def update(grads, state, params):
        updates, inner = optimizer.update(wide(grads), state[1], state[0])
        new = wide(jax.tree.map(jnp.add, state[0], updates))
        return jax.tree.map(cast, new, params), (new, inner)

    return optax.GradientTransformation(init, update)


COPIED = {
    "of the params' dtype": lambda inner: with_copies(inner),
    "of 16 bits": lambda inner: with_copies(inner, lambda new, old: short(new) - short(old)),
    "behind a clip": lambda inner: chain(optax.clip_by_global_norm(1.0), with_copies(inner)),
    "in MultiSteps": lambda inner: optax.MultiSteps(with_copies(inner), 2),
}


@pytest.mark.parametrize("name", ["of 16 bits", *slow(*sorted({*COPIED} - {"of 16 bits"}))])
def test_a_rule_is_seen_through_copies_of_the_params(name):
    inner = optax.adamw(1e-3, weight_decay=0.1, mask=KERNELS)
    result = inspected(COPIED[name](inner), transformer(1, dtype="bfloat16"))
    assert {leaf.rule for leaf in result.leaves} == {ADAM}
    assert {leaf.keeps for leaf in result.leaves} == {"a copy"}
    assert result["head/kernel"].decay == inspect.Decay("decoupled", 0.1)
    assert result["head/bias"].decay == inspect.Decay()
    assert result.ok, result.findings


@pytest.mark.parametrize("name", ["of the params' dtype", *slow("of 16 bits")])
def test_a_mask_turned_round_is_found_behind_copies(name):
    inner = optax.adamw(1e-3, weight_decay=0.1, mask=mask(lambda p, x: x.ndim < 2))
    found = inspected(COPIED[name](inner), transformer(1, dtype="bfloat16")).findings
    assert "7 biases and 2 norms decay by 0.0001 a step, and no kernel does" in found[0].text


@pytest.mark.parametrize("every", [4, *slow(2, 5)])
@pytest.mark.parametrize("first", [True, False])
def test_gradients_or_steps_that_are_summed_are_named(every, first):
    inner, gather = optax.adamw(WARM, weight_decay=0.1, mask=KERNELS), optax.apply_every(every)
    result = inspected(chain(gather, inner) if first else chain(inner, gather))
    assert {(leaf.rule, leaf.every, leaf.accumulates) for leaf in result.leaves} == {
        (ADAM, every, "sum")
    }
    assert [result[name].weight_decay for name in "wvb"] == [0.1, 0.1, 0]
    assert result["w"].peak == pytest.approx(1e-3, rel=0.1)
    assert f"the gradients of {every} micro-steps are summed" in result.notes[-1].text


@pytest.mark.parametrize(
    "optimizer",
    [
        chain(optax.apply_every(4), optax.sgd(0.1)),
        chain(optax.sgd(0.1), optax.apply_every(4)),
        optax.MultiSteps(optax.sgd(0.1), 4, use_grad_mean=False),
    ],
)
def test_the_rate_of_a_sum_is_that_of_each_gradient(optimizer):
    leaf = inspected(optimizer)["w"]
    assert (leaf.rule, leaf.every, leaf.accumulates) == ("sgd()", 4, "sum")
    assert leaf.peak == pytest.approx(0.1)


def test_the_eps_of_a_sum_is_that_of_the_rule():
    optimizer = optax.MultiSteps(optax.adam(1e-3), 4, use_grad_mean=False)
    assert inspected(optimizer)["w"].rule == ADAM
