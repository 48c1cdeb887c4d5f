"""Right compositions: inspect has no finding, and what it measured is what was asked for."""

import jax
import optax
import optax.contrib
import pytest
from models import shape, transformer
from test_inspect_findings import KERNELS, MATRIX, mask, partitioned

import lecture_opt as lo
from lecture_opt import inspect

STEPS = 60
WARM = optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, STEPS)
RIGHT = {
    "sgd": optax.sgd(0.1),
    "nesterov": optax.sgd(optax.exponential_decay(0.1, 10, 0.9), momentum=0.9, nesterov=True),
    "adam": optax.adam(1e-3),
    "adamw": optax.adamw(WARM, weight_decay=0.1),
    "adamw with a mask": optax.adamw(WARM, weight_decay=0.1, mask=KERNELS),
    "clipped adamw": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(WARM)),
    "lion": optax.lion(1e-4, weight_decay=0.1, mask=KERNELS),
    "rmsprop": optax.rmsprop(1e-3, momentum=0.9),
    "adagrad": optax.adagrad(0.1),
    "adafactor": optax.adafactor(1e-3),
    "lamb": optax.lamb(1e-3),
    "lecture adam": lo.adam(1e-3),
    "lecture momentum": lo.momentum(0.1),
    "muon with adamw for the rest": partitioned(
        MATRIX, optax.contrib.muon(0.02), optax.adamw(1e-3)
    ),
    "frozen first layer": partitioned(
        lambda p, x: p.startswith(("embed", "block_0")), optax.set_to_zero(), optax.adam(1e-3)
    ),
    "two rates": partitioned(lambda p, x: "embed" in p, optax.adam(3e-4), optax.adam(1e-3)),
    "accumulated": optax.MultiSteps(optax.adamw(1e-3), 4),
    "schedule-free": optax.contrib.schedule_free_adamw(1e-3),
    "first moment in 16 bits": optax.adam(1e-3, mu_dtype="bfloat16"),
    "injected": optax.inject_hyperparams(optax.adamw)(1e-3, weight_decay=0.1),
    "decay in the gradient": optax.chain(
        optax.add_decayed_weights(1e-4, mask=KERNELS), optax.sgd(0.1, momentum=0.9)
    ),
    "skips what is not finite": optax.apply_if_finite(optax.adam(1e-3), 5),
}


LONG = {
    *("adafactor", "lamb", "muon with adamw for the rest", "first moment in 16 bits"),
    *("accumulated", "schedule-free", "skips what is not finite"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in RIGHT]
)
def test_a_right_composition_is_silent(name):
    found = inspect.run(RIGHT[name], transformer(), steps=STEPS).findings
    assert not found


def test_lora_is_silent():
    def layer():
        dense = {"kernel": shape(32, 32), "bias": shape(32)}
        return dense | {"lora_a": shape(32, 4), "lora_b": shape(4, 32)}

    params = {f"layer_{index}": layer() for index in range(3)}
    optimizer = partitioned(lambda p, x: "lora" in p, optax.adamw(1e-3), optax.set_to_zero())
    result = inspect.run(optimizer, params, steps=STEPS)
    assert not result.findings
    assert result["layer_0/kernel"].rule == "frozen"
    assert result["layer_0/lora_a"].rule.startswith("adam")


def test_what_is_measured():
    optimizer = optax.chain(
        optax.clip_by_global_norm(2.5), optax.adamw(WARM, b2=0.95, weight_decay=0.1, mask=KERNELS)
    )
    result = inspect.run(optimizer, transformer(), steps=STEPS)
    kernel, bias = result["block_1/mlp/up/kernel"], result["block_1/mlp/up/bias"]
    assert kernel.rule == bias.rule == "adam(b1=0.9, b2=0.95, eps=1e-08)"
    assert (kernel.weight_decay, bias.weight_decay) == (0.1, 0)
    assert kernel.clip == bias.clip == inspect.Clip(2.5, 0)
    assert kernel.rates[0] == 0
    assert kernel.peak == pytest.approx(1e-3, rel=1e-3)
    assert kernel.state_bytes == 2 * 4 * 64 * 256
    assert len(result.groups()) == 2


def test_accumulation_and_coupled_decay_are_measured():
    inner = optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, momentum=0.9))
    leaf = inspect.run(optax.MultiSteps(inner, 3), transformer(1), steps=30)["head/bias"]
    assert leaf.every == 3
    assert leaf.rule == "sgd(momentum=0.9)"
    assert leaf.decay == inspect.Decay("coupled", 0.01)


def test_muon_names_its_axes_and_frozen_its_leaf():
    optimizer = partitioned(MATRIX, optax.contrib.muon(0.02), optax.set_to_zero())
    result = inspect.run(optimizer, transformer(1), steps=20)
    rule = result["block_0/attn/wq/kernel"].rule
    assert rule == "orthogonalised(rows=[0], columns=[1])"
    assert not result["embed/embedding"].moves


def test_two_optimizers_are_compared_leaf_by_leaf():
    tree = transformer(1)
    first, second = (
        inspect.run(optax.adamw(1e-3, weight_decay=0.1, mask=m), tree, steps=10)
        for m in (KERNELS, mask(lambda p, x: x.ndim > 1 and "head" not in p))
    )
    assert first.differences(second) == ["head/kernel: weight decay 0.1 (decoupled) becomes 0 (no)"]


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match="init and update"):
        inspect.run(3, {"w": shape(3)})
    with pytest.raises(TypeError, match="no floating leaf"):
        inspect.run(optax.sgd(0.1), {"w": jax.ShapeDtypeStruct((3,), "int32")})
