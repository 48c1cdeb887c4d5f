"""More planted faults, several of each kind and on other trees; and more right chains."""

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest
from models import heads, outputs_first, stacked, transformer
from test_inspect_findings import KERNELS, MATRIX, half_state, label, mask, partitioned, path

from lecture_opt import inspect

pytestmark = pytest.mark.slow
STEPS = 100
WARM = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, STEPS)
AXES = optax.contrib.MuonDimensionNumbers
muon = optax.contrib.muon


def decayed(test, **options):
    return optax.adamw(WARM, weight_decay=0.1, mask=mask(test), **options)


def along(axes):
    """Muon with dimension numbers by (path, leaf), for matrices between layers alone."""

    def numbers(tree):
        return jax.tree_util.tree_map_with_path(
            lambda k, x: axes(path(k), x) if inner(path(k), x) else None, tree
        )

    return muon(WARM, muon_weight_dimension_numbers=numbers)


def inner(p, x):
    return x.ndim > 1 and not any(word in p for word in ("embed", "head", "logits", "bias"))


def by_heads(wrong):
    def axes(p, x):
        many = x.ndim == 3 and ("out" in p or wrong(p))
        return AXES((0, 1), (2,)) if many else AXES((0,), tuple(range(1, x.ndim)))

    return axes


def clipped(optimizer, norm=1.0):
    return optax.chain(optax.clip_by_global_norm(norm), optax.with_extra_args_support(optimizer))


def by_block(tree):
    return jax.tree_util.tree_map_with_path(
        lambda k, x: k[0].key if "block" in k[0].key else "rest", tree
    )


FAULTS = {
    "a mask misses a name": (
        transformer(),
        decayed(lambda p, x: x.ndim > 1 and "up" not in p),
        "3 kernels: weight decay 0, ",
        "block_0/mlp/up/kernel",
    ),
    "half of the kernels don't decay": (
        transformer(),
        decayed(lambda p, x: x.ndim > 1 and "attn" not in p),
        "12 kernels: weight decay 0, ",
        "block_0/attn/wq/kernel",
    ),
    "a mask that knows biases alone": (
        transformer(),
        decayed(lambda p, x: not p.endswith("bias")),
        "4 norms decay by 0.0001 a step, 19 biases do not",
        "block_0/norm/scale",
    ),
    "biases of two axes decay": (
        heads(),
        optax.adamw(WARM, weight_decay=0.1, mask=KERNELS),
        "9 biases: weight decay 0.1, 3 biases have 0",
        "layer_0/attn/query/bias",
    ),
    "stacked norms decay": (
        stacked(),
        optax.adamw(WARM, weight_decay=0.1, mask=KERNELS),
        "layers/ln/bias and layers/ln/scale: weight decay 0.1",
        "layers/ln/scale",
    ),
    "a mask turned round in LAMB": (
        transformer(),
        optax.lamb(1e-3, weight_decay=0.1, mask=mask(lambda p, x: x.ndim < 2)),
        "and no kernel does",
        "block_0/norm/scale",
    ),
    "stacked biases through Muon": (
        stacked(),
        muon(1e-3),
        "6 biases and 2 norms are orthogonalised, layers as rows",
        "layers/ln/scale",
    ),
    "all queries with other axes": (
        heads(),
        along(by_heads(lambda p: "query" in p)),
        "over rows=[0, 1], columns=[2], their siblings over rows=[0], columns=[1, 2]",
        "layer_2/attn/query/kernel",
    ),
    "one query with other axes": (
        heads(),
        along(by_heads(lambda p: "1/attn/query" in p)),
        "layer_1/attn/query/kernel is orthogonalised over rows=[0, 1], columns=[2]",
        "layer_1/attn/query/kernel",
    ),
    "all kernels as their transpose": (
        transformer(),
        along(lambda p, x: AXES(1, 0)),
        "(256 by 64) are scaled as the transpose",
        "block_1/mlp/down/kernel",
    ),
    "one kernel as its transpose": (
        transformer(),
        along(lambda p, x: AXES(1, 0) if "1/mlp/up" in p else AXES()),
        "(64 by 256) is scaled as the transpose",
        "block_1/mlp/up/kernel",
    ),
    "weights (outputs, inputs) as kernels": (
        outputs_first(),
        along(lambda p, x: AXES()),
        "are scaled as the transpose",
        "blocks/0/down/weight",
    ),
    "a clip for Muon and one for the rest": (
        transformer(),
        partitioned(MATRIX, clipped(muon(WARM)), clipped(optax.adamw(WARM))),
        "clipping sees 2 groups",
        "block_0/attn/wq/kernel",
    ),
    "a clip for each block": (
        transformer(),
        optax.multi_transform(
            {f"block_{index}": clipped(optax.sgd(0.1)) for index in range(3)}
            | {"rest": optax.sgd(0.1)},
            by_block,
        ),
        "clipping sees 3 groups",
        "block_2/norm/scale",
    ),
    "a schedule in micro-steps inside MultiSteps": (
        transformer(),
        optax.MultiSteps(optax.adamw(WARM), 4),
        "the schedule ends at gradient 400, and the run has 100",
        "head/kernel",
    ),
    "a floor that is reached early": (
        transformer(),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 5, 25, end_value=1e-5)),
        "comes to its floor, 1% of its peak, at step 25 of 100",
        "head/kernel",
    ),
    "a norm of one layer is frozen": (
        transformer(),
        partitioned(lambda p, x: "block_1/norm" in p, optax.set_to_zero(), optax.adam(1e-3)),
        "block_1/norm/scale never moves",
        "block_1/norm/scale",
    ),
    "a block in the middle is frozen": (
        transformer(),
        partitioned(lambda p, x: "block_1" in p, optax.set_to_zero(), optax.adam(1e-3)),
        "of block_1 never move",
        "block_1/mlp/up/kernel",
    ),
    "a decay that is printed and not applied": (
        transformer(),
        optax.inject_hyperparams(lambda learning_rate, weight_decay: optax.adam(learning_rate))(
            1e-3, weight_decay=0.1
        ),
        "the state says weight_decay 0.1, and no leaf decays",
        "head/kernel",
    ),
    "LAMB uphill": (transformer(), optax.lamb(-1e-3), "move uphill", "head/kernel"),
    "biases a hundred times as far": (
        transformer(),
        partitioned(lambda p, x: x.ndim < 2, optax.adam(0.1), optax.adam(1e-3)),
        "the rate is 100 times that of the kernels",
        "head/bias",
    ),
    "a kernel twice as far": (
        transformer(),
        partitioned(lambda p, x: "1/mlp/up/kernel" in p, optax.adam(2e-3), optax.adam(1e-3)),
        "the rate is 2 times",
        "block_1/mlp/up/kernel",
    ),
    "state of few leaves in 16 bits": (
        transformer(),
        partitioned(
            lambda p, x: "norm" in p,
            optax.sgd(0.1, momentum=0.9, accumulator_dtype="bfloat16"),
            optax.sgd(0.1, momentum=0.9),
        ),
        "state of 4 norms is bfloat16",
        "final_norm/scale",
    ),
    "one block with another b2": (
        transformer(),
        partitioned(lambda p, x: "block_1" in p, optax.adam(1e-3, b2=0.95), optax.adam(1e-3)),
        "moved by adam(b1=0.9, b2=0.95",
        "block_1/norm/scale",
    ),
    "half the state of one half": (
        transformer(),
        half_state(optax.adam(1e-3)),
        "is bfloat16 (0/nu)",
        "block_1/norm/scale",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    tree, optimizer, text, leaf = FAULTS[name]
    found = inspect.run(optimizer, tree, steps=STEPS).findings
    assert any(text in finding.text and leaf in finding.leaves for finding in found), found


def by_layer(rate):
    """A rate for each block, the smaller the lower."""
    rates = {f"block_{i}": optax.adamw(rate * 0.3 ** (3 - i)) for i in range(3)}
    return optax.multi_transform(rates | {"rest": optax.adamw(rate)}, by_block)


RIGHT = {
    "one cycle": optax.adamw(optax.cosine_onecycle_schedule(STEPS, 1e-2)),
    "steps": optax.sgd(optax.piecewise_constant_schedule(0.1, {30: 0.1, 60: 0.1}), momentum=0.9),
    "restarts": optax.adam(
        optax.sgdr_schedule(
            [{"init_value": 0.0, "peak_value": 1e-3, "decay_steps": 34, "warmup_steps": 4}] * 3
        )
    ),
    "inverse root": optax.adamw(lambda c: 1e-3 * jnp.minimum((c + 1) / 10, (10 / (c + 1)) ** 0.5)),
    "lars": optax.lars(0.1, weight_decay=1e-4, weight_decay_mask=KERNELS, trust_ratio_mask=KERNELS),
    "yogi": optax.yogi(1e-3),
    "radam": optax.radam(1e-3),
    "prodigy": optax.contrib.prodigy(),
    "dadapt": optax.contrib.dadapt_adamw(),
    "dog": optax.contrib.dog(),
    "mechanize": optax.contrib.mechanize(optax.adamw(1e-3)),
    "momo": optax.contrib.momo(),
    "sam": optax.contrib.sam(
        optax.sgd(0.1), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)), sync_period=2
    ),
    "ademamix": optax.contrib.simplified_ademamix(1e-3),
    "summed": optax.MultiSteps(optax.sgd(0.1), 4, use_grad_mean=False),
    "gathered": optax.chain(optax.scale_by_adam(), optax.scale(-1e-3), optax.apply_every(4)),
    "clipped leaf by leaf": optax.chain(optax.clip_by_block_rms(1.0), optax.adam(1e-3)),
    "clipped by params": optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)),
    "averaged": optax.chain(optax.ema(0.9), optax.scale(-0.1)),
    "plateau": optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
    "noise": optax.noisy_sgd(0.1, key=jax.random.key(0)),
    "only the head": partitioned(lambda p, x: "head" in p, optax.adam(1e-3), optax.set_to_zero()),
    "only biases": partitioned(
        lambda p, x: p.endswith("bias"), optax.adam(1e-3), optax.set_to_zero()
    ),
    "only norms": partitioned(lambda p, x: "norm" in p, optax.adam(1e-3), optax.set_to_zero()),
    "a rate for each layer": by_layer(1e-3),
    "a faster head": partitioned(lambda p, x: "head" in p, optax.adam(1e-2), optax.adam(1e-3)),
    "rates by width": partitioned(MATRIX, optax.adam(1e-3 / 64), optax.adam(1e-3)),
    "two decays": partitioned(
        lambda p, x: x.ndim > 1, optax.adamw(WARM, weight_decay=0.1), optax.adamw(WARM)
    ),
    "labelled": optax.multi_transform(
        {"a": optax.adam(1e-3), "b": optax.sgd(0.1)}, label(lambda p, x: x.ndim > 1, "a", "b")
    ),
    "muon but for tables": along(lambda p, x: AXES()),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_chain_is_silent(name):
    found = inspect.run(RIGHT[name], transformer(), steps=STEPS).findings
    assert not found


def test_muon_on_heads_is_silent():
    assert inspect.run(along(by_heads(lambda p: False)), heads(), steps=STEPS).ok


def test_noise_sums_and_what_the_state_keeps_are_measured():
    tree = transformer(1)
    noisy = inspect.run(RIGHT["noise"], tree, steps=20)["head/bias"]
    assert noisy.rule == "sgd() with noise"
    assert noisy.noise > 0
    summed, mean = (
        inspect.run(optax.MultiSteps(optax.adam(1e-3), 2, use_grad_mean=use), tree, steps=20)
        for use in (False, True)
    )
    assert summed["head/bias"].accumulates == "sum"
    assert mean["head/bias"].accumulates == "mean"
    free = inspect.run(optax.contrib.schedule_free_sgd(0.1), tree, steps=20)["head/bias"]
    assert free.keeps
    assert not inspect.run(RIGHT["dog"], tree, steps=20)["head/bias"].donatable
