"""Faults and right chains on trees of other forms: lists, experts, convolutions, stacked layers."""

import jax
import numpy as np
import optax
import optax.contrib
import pytest
from models import shape, stacked
from test_inspect_findings import mask, partitioned

from lecture_opt import inspect
from lecture_opt.inspect.matrices import orthogonalised, uneven

STEPS = 40


def perceptron(layers=4, width=16):
    """Weights and biases as a list of pairs."""
    return [(shape(width, width), shape(width)) for _ in range(layers)]


def experts(layers=3, width=16, count=4):
    def layer():
        routed = {"w1": shape(count, width, 32), "w2": shape(count, 32, width)}
        attn = {name: shape(width, width) for name in ("wq", "wo")}
        return {"attn": attn, "router": shape(width, count), "experts": routed, "ln": shape(width)}

    return {f"layers_{index}": layer() for index in range(layers)} | {"lm_head": shape(width, 99)}


def convolutions(stages=3):
    def block(inputs, outputs):
        norm = {"scale": shape(outputs), "bias": shape(outputs)}
        return {"conv": {"kernel": shape(3, 3, inputs, outputs)}, "norm": norm}

    return {f"stage{index}": block(4 + 2 * index, 6 + 2 * index) for index in range(stages)}


def over_layers(tree):
    """Muon's dimension numbers, with the axis of layers as the rows."""
    numbers = optax.contrib.MuonDimensionNumbers((0,), (1, 2))
    return jax.tree_util.tree_map_with_path(
        lambda k, x: numbers if x.ndim == 3 and "mlp" in jax.tree_util.keystr(k) else None, tree
    )


MUON = optax.contrib.muon
FAULTS = {
    "norms with the rate applied twice": (
        experts(),
        optax.chain(
            optax.adam(1e-3), optax.masked(optax.scale(1e-3), mask(lambda p, x: "ln" in p))
        ),
        "3 norms: the rate is 0.001 times that of the kernels",
        "layers_1/ln",
    ),
    "one of a list is frozen": (
        perceptron(),
        optax.chain(
            optax.adam(1e-3), optax.masked(optax.set_to_zero(), mask(lambda p, x: p == "2/0"))
        ),
        "2/0 never moves",
        "2/0",
    ),
    "layers as the rows of Muon": (
        stacked(),
        MUON(1e-3, muon_weight_dimension_numbers=over_layers),
        "where axis 0 is 4 layers",
        "layers/mlp/up/kernel",
    ),
    "Lion with other decays uphill": (
        perceptron(),
        optax.chain(optax.scale_by_lion(0.95, 0.98), optax.scale(1e-4)),
        "move uphill, with a rate of -0.0001",
        "0/0",
    ),
    "a decay whose mask is empty, beside a mask of other things": (
        perceptron(),
        optax.chain(
            optax.masked(optax.clip(1.0), mask(lambda p, x: x.ndim > 1)),
            optax.adamw(1e-3, weight_decay=0.1, mask=mask(lambda p, x: "kernel" in p)),
        ),
        "no leaf's update depends on them",
        "3/1",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    tree, optimizer, text, leaf = FAULTS[name]
    found = inspect.run(optimizer, tree, steps=STEPS).findings
    assert any(text in finding.text and leaf in finding.leaves for finding in found), found


RIGHT = {
    "slower routers": (
        experts(),
        partitioned(lambda p, x: "router" in p, optax.adam(1e-4), optax.adam(1e-3)),
    ),
    "a rate that waits for progress": (
        perceptron(),
        optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau(patience=5)),
    ),
    "a decay that comes with a gradient": (
        perceptron(),
        optax.contrib.prodigy(1.0, weight_decay=0.01),
    ),
    "params asked for without a decay": (
        perceptron(),
        optax.chain(
            optax.contrib.prodigy(1.0),
            optax.masked(optax.set_to_zero(), mask(lambda p, x: p.startswith("0"))),
        ),
    ),
    "convolutions by a rule of single elements": (
        convolutions(),
        optax.rmsprop(1e-3, decay=0.95, eps=1e-6, centered=True, momentum=0.9, nesterov=True),
    ),
    "a decay of zero": (perceptron(2), optax.adamw(1e-3, weight_decay=0.0)),
    "the Hessian's diagonal": (perceptron(2), optax.contrib.sophia(1e-3)),
}


LONG = {"convolutions by a rule of single elements", "the Hessian's diagonal"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in RIGHT]
)
def test_a_right_chain_is_silent(name):
    tree, optimizer = RIGHT[name]
    result = inspect.run(optimizer, tree, steps=STEPS)
    assert not result.findings
    assert not any(leaf.rule.startswith("orthogonalised") for leaf in result.leaves)


@pytest.mark.parametrize(("b1", "b2"), [(0.95, 0.98), (0.8, 0.95), (0.9, 0.99)])
def test_decays_of_a_rule_of_signs_are_measured(b1, b2):
    warm = optax.linear_schedule(0.0, 1e-4, 10)
    result = inspect.run(optax.lion(warm, b1, b2), {"w": shape(8, 4)}, steps=STEPS)
    assert result["w"].rule == f"lion(b1={b1}, b2={b2})"


@pytest.mark.parametrize("rows", [(1,), (1, 2), (0, 1)])
def test_the_axes_of_an_orthogonal_update_are_found(rows):
    gradient = uneven((6, 9, 3, 8))
    columns = tuple(axis for axis in range(1, 4) if axis not in rows)
    batch = tuple(axis for axis in (0,) if axis not in rows)
    order = batch + rows + columns
    turned = gradient.transpose(order)
    sizes = [int(np.prod([gradient.shape[i] for i in axes])) for axes in (batch, rows, columns)]
    left, _, right = np.linalg.svd(turned.reshape(sizes), full_matrices=False)
    update = (left @ right).reshape(turned.shape).transpose(np.argsort(order))
    found = orthogonalised(update, gradient)
    assert (found.rows, found.columns) == (rows, columns)
    assert orthogonalised(np.sign(gradient), gradient) is None


def test_a_loss_is_given_to_a_chain_for_one_tree():
    tree = {"a": shape(4, 4), "b": shape(4)}
    optimizer = optax.chain(
        optax.multi_transform({"x": optax.adam(1e-3), "y": optax.sgd(0.1)}, {"a": "x", "b": "y"}),
        optax.contrib.reduce_on_plateau(patience=5),
    )
    assert inspect.run(optimizer, tree, steps=STEPS)["b"].rule == "sgd()"


def test_a_factored_update_of_stacked_kernels_is_not_called_orthogonal():
    tree = {"layers": {"kernel": shape(4, 256, 192), "bias": shape(4, 192)}}
    result = inspect.run(optax.adafactor(1e-3), tree, steps=10)
    assert result["layers/kernel"].rule == "factored(rows=[1], columns=[2])"
    assert result.ok
