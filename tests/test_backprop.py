"""Backpropagation by hand against `jax.grad`, closed forms, and what `explain` should show."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lecture_opt as lo
from lecture_opt import backprop, gradient_flow

BATCH, FEATURES, CLASSES = 5, 4, 3
HAND = {"relu": backprop.relu, "sigmoid": backprop.sigmoid, "tanh": backprop.tanh}
MODEL = {"relu": lo.relu, "sigmoid": lo.sigmoid, "tanh": lo.tanh}
SHAPES = [(), ("relu",), ("sigmoid", "tanh"), ("relu", "relu", "tanh")]


def hand(activations):
    hidden = [part for name in activations for part in (backprop.dense, HAND[name])]
    return backprop.chain(*hidden, backprop.dense)


@functools.cache
def model(activations):
    hidden = [part for name in activations for part in (lo.dense(4, 4), MODEL[name])]
    return lo.chain(*hidden, lo.dense(4, CLASSES))


@functools.cache
def gradients(activations):
    """By hand and by JAX, compiled once per net."""

    def loss_fn(params, x, labels):
        return lo.softmax_cross_entropy(model(activations).apply(params, x), labels)

    def by_hand(params, x, labels):
        return backprop.value_and_grad(hand(activations), params, (x, labels))

    return jax.jit(by_hand), jax.jit(jax.value_and_grad(loss_fn))


def draw(activations, seed, scale, dtype):
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * scale, dtype),
        model(activations).init(jax.random.key(0)),
    )
    x = jnp.asarray(rng.normal(size=(BATCH, FEATURES)), dtype)
    return params, x, jnp.asarray(rng.integers(0, CLASSES, BATCH))


def sizes(activations, params, x, labels):
    """What each gradient sums up: the backward pass in NumPy with every factor made positive.

    A sum of products computed in floating point, in any order, is off by at most k eps times the
    sum of its products' absolute values, k being the number of roundings a product goes through.
    Activations are rounded too, so slopes and inputs are bounded by what |W| and |x| give: each
    activation here is 1-Lipschitz. relu's step is no such function: at a z that rounding could
    take over 0 the bound says nothing, and None is returned.
    """
    eps = float(jnp.finfo(x.dtype).eps)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = np.asarray(x, np.float64)
    bound, kept = np.abs(x), []
    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
    }
    for i, name in enumerate((*activations, None)):
        entry = params[2 * i]
        kept.append((bound, np.abs(entry["kernel"])))
        bound = bound @ np.abs(entry["kernel"]) + np.abs(entry["bias"])
        x = x @ entry["kernel"] + entry["bias"]
        if name == "relu" and np.any(np.abs(x) < 100 * eps * bound):
            return None
        if name is not None:
            x = functions[name](x)
            bound = np.maximum(bound, 1) if name == "sigmoid" else bound
    # d delta / d logits is at most 1/2, so that rounded logits move delta by their bound.
    delta = (np.ones_like(x) + bound) / BATCH
    result = []
    for inputs, kernel in reversed(kept):
        spread = 1 + inputs.max()  # slopes move with the rounding of what they are taken at
        grads = {"bias": delta.sum(0) * spread, "kernel": (inputs.T @ delta) * spread}
        result = [grads, {}, *result] if result else [grads]
        delta = delta @ kernel.T * spread
    return result


def roundings(activations):
    """Each layer's sums forth and back, and some 8 for its activation; both sides are rounded."""
    return 2 * (len(activations) + 1) * (2 * FEATURES + BATCH + 8)


def check_equal(activations, seed, scale, dtype):
    params, x, labels = draw(activations, seed, scale, dtype)
    size = sizes(activations, params, x, labels)
    if size is None:
        return
    by_hand, by_jax = gradients(activations)
    (loss, grads), (expected_loss, expected) = (f(params, x, labels) for f in (by_hand, by_jax))
    assert jax.tree.structure(grads) == jax.tree.structure(expected)
    np.testing.assert_allclose(loss, expected_loss, rtol=8 * jnp.finfo(dtype).eps)
    k = roundings(activations) * float(jnp.finfo(dtype).eps)
    for a, b, s in zip(*map(jax.tree.leaves, (grads, expected, size)), strict=True):
        assert a.dtype == dtype
        assert np.all(np.abs(np.asarray(a) - np.asarray(b)) <= k * s)


@pytest.mark.parametrize("activations", SHAPES, ids=lambda names: "-".join(names) or "linear")
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 0.5, 1.0, 2.0]))
@settings(max_examples=25)
def test_equal_to_jax_grad_on_random_nets(activations, seed, scale):
    check_equal(activations, seed, scale, jnp.float32)


@pytest.mark.parametrize("activations", SHAPES[1:3], ids="-".join)
def test_equal_to_jax_grad_in_float64(x64, activations):
    for seed in range(5):
        check_equal(activations, seed, 1.0, jnp.float64)


@pytest.mark.parametrize("activations", SHAPES[1:], ids="-".join)
def test_within_a_few_ulp_of_the_largest_gradient(activations):
    """A sharper look at ordinary weights than the worst case allows for.

    The largest of the net, not of an array: sums that cancel keep the rounding of their terms.
    """
    by_hand, by_jax = gradients(activations)
    for seed in range(20):
        arguments = draw(activations, seed, 0.5, jnp.float32)
        if sizes(activations, *arguments) is None:
            continue
        ours, expected = (jax.tree.leaves(f(*arguments)[1]) for f in (by_hand, by_jax))
        largest = max(np.max(np.abs(b)) for b in expected)
        for a, b in zip(ours, expected, strict=True):
            assert np.max(np.abs(a - b)) <= 8 * jnp.finfo(jnp.float32).eps * largest


def test_neuron_is_the_slides_formula():
    params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array(0.5)}
    x, delta = jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.array([3.0, 5.0])
    h, residuals = backprop.neuron.forward(params, x)  # z is 2.5 and -2.5
    delta_in, grads = backprop.neuron.backward(residuals, delta)
    np.testing.assert_array_equal(h, [2.5, 0.0])
    np.testing.assert_array_equal(grads["kernel"], [3.0, 0.0])  # delta * step(z) * x
    np.testing.assert_array_equal(grads["bias"], 3.0)
    np.testing.assert_array_equal(delta_in, [[6.0, -3.0], [0.0, 0.0]])


def test_neuron_is_dense_and_relu():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, (6, 3)).astype("float32"), rng.integers(-4, 5, 3).astype("float32")
    delta = rng.integers(-4, 5, 6).astype("float32")
    _, kept = backprop.neuron.forward({"kernel": w, "bias": np.float32(1)}, x)
    delta_in, grads = backprop.neuron.backward(kept, jnp.asarray(delta))
    pair = backprop.chain(backprop.dense, backprop.relu)
    layer = {"kernel": w[:, None], "bias": np.ones(1, "float32")}
    _, kept = pair.forward([layer, {}], x)
    expected_in, (expected, _) = pair.backward(kept, jnp.asarray(delta[:, None]))
    np.testing.assert_array_equal(delta_in, expected_in)
    np.testing.assert_array_equal(grads["kernel"], expected["kernel"][:, 0])
    np.testing.assert_array_equal(grads["bias"], expected["bias"][0])


MODULES = {**HAND, "softmax": backprop.softmax}


@pytest.mark.parametrize("name", MODULES)
def test_modules_without_parameters(name):
    """Slopes of at most 1 from values of at most 1: errors are some ulp of the largest delta."""
    z = jnp.array([[-3.0, 0.0, 0.5], [9.0, 1e-3, -80.0]])
    delta = jnp.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
    model = {**MODEL, "softmax": lo.softmax}[name]
    expected, pull_back = jax.vjp(lambda z: model.apply({}, z), z)
    y, residuals = MODULES[name].forward({}, z)
    delta_in, grads = MODULES[name].backward(residuals, delta)
    assert grads == {}
    np.testing.assert_allclose(y, expected, rtol=4e-7, atol=0)
    np.testing.assert_allclose(delta_in, pull_back(delta)[0], rtol=0, atol=4 * 4 * 1.2e-7)


def test_tanh_keeps_its_slope_where_it_saturates(x64):
    _, residuals = backprop.tanh.forward({}, jnp.array([15.0]))
    delta_in, _ = backprop.tanh.backward(residuals, jnp.ones(1))
    assert delta_in[0] == pytest.approx(1 / np.cosh(15.0) ** 2, rel=1e-3)


LOSSES = {
    "softmax": (backprop.softmax_cross_entropy, lo.softmax_cross_entropy, (4, 3)),
    "sigmoid": (backprop.sigmoid_cross_entropy, lo.sigmoid_cross_entropy, (4,)),
    "squared": (backprop.squared_error, lo.mean_squared_error, (4, 2)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_first_delta_is_the_losss_gradient(name):
    by_hand, loss_fn, shape = LOSSES[name]
    output = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    targets = {"softmax": jnp.array([0, 1, 2, 1]), "sigmoid": jnp.array([0.0, 1, 0.25, 1])}.get(
        name, jnp.ones(shape)
    )
    value, delta = by_hand(output, targets)
    expected, grad = jax.value_and_grad(loss_fn)(output, targets)
    assert value == expected
    scale = np.max(np.abs(output)) + 1  # of 2 (f - y) / N, or of q - p
    np.testing.assert_allclose(delta, grad, rtol=0, atol=4 * 1.2e-7 * scale)


def test_soft_labels():
    logits, labels = jnp.array([[1.0, -1.0]]), jnp.array([[0.25, 0.75]])
    _, delta = backprop.softmax_cross_entropy(logits, labels)
    expected = jax.grad(lo.softmax_cross_entropy)(logits, labels)
    np.testing.assert_allclose(delta, expected, rtol=0, atol=4 * 1.2e-7)


def test_chains_nest_and_take_in_models():
    inner = backprop.chain(backprop.automatic(lo.dense(4, 4), "affine"), backprop.relu)
    outer = backprop.chain(inner, backprop.dense)
    params, x, labels = draw(("relu",), 0, 1.0, jnp.float32)
    nested = [params[:2], params[2]]
    loss, grads = backprop.value_and_grad(outer, nested, (x, labels))
    expected_loss, expected = gradients(("relu",))[1](params, x, labels)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * 1.2e-7 * np.max(np.abs(b)))
    explanation = backprop.explain(outer, nested, (x, labels))
    assert explanation.names == ("0 affine", "1 relu", "2 dense")


# ---- explain ------------------------------------------------------------------------------


def test_explain_gives_the_norms():
    params, x, labels = draw(("relu",), 1, 1.0, jnp.float32)
    explanation = backprop.explain(hand(("relu",)), params, (x, labels))
    _, grads = gradients(("relu",))[1](params, x, labels)
    for i in (0, 2):
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(grads[i])]
        norm = np.linalg.norm(np.concatenate(leaves))
        assert explanation.gradients[i] == pytest.approx(norm, rel=1e-5)
    assert np.isnan(explanation.gradients[1])
    z = x @ params[0]["kernel"] + params[0]["bias"][None]
    assert explanation.activations[1] == pytest.approx(np.linalg.norm(np.maximum(z, 0)), rel=1e-5)
    logits = model(("relu",)).apply(params, x)
    delta = jax.grad(lo.softmax_cross_entropy)(logits, labels)
    assert explanation.deltas[2] == pytest.approx(np.linalg.norm(delta), rel=1e-5)
    assert explanation.dead[1] == np.mean(~np.any(np.asarray(z) > 0, axis=0))
    assert np.isnan(explanation.dead[[0, 2]]).all()


def test_explain_shows_vanishing_gradients_and_dead_relus():
    activations = ("sigmoid", "sigmoid", "sigmoid", "sigmoid")
    params, x, labels = draw(activations, 0, 0.5, jnp.float32)
    deltas = backprop.explain(hand(activations), params, (x, labels)).deltas
    assert np.all(np.diff(deltas[1::2]) > 0)
    assert deltas[0] < 0.01 * deltas[-1]

    params, x, labels = draw(("relu",), 0, 1.0, jnp.float32)
    params[0]["bias"] = jnp.array([-99.0, -99.0, 99.0, 99.0])
    assert backprop.explain(hand(("relu",)), params, (x, labels)).dead[1] == 0.5


def test_explain_tells_a_relu_by_what_it_computes():
    params = [{"kernel": jnp.eye(2), "bias": jnp.array([0.0, -9.0])}, {}]
    batch = jnp.ones((3, 2)), jnp.array([0, 1, 0])
    for module, dead in (
        (backprop.automatic(lo.relu), 0.5),
        (backprop.Module(*backprop.relu), 0.5),
        (backprop.automatic(lo.activation(jax.nn.relu6)), np.nan),
    ):
        explanation = backprop.explain(backprop.chain(backprop.dense, module), params, batch)
        np.testing.assert_array_equal(explanation.dead, [np.nan, dead])


def test_explain_holds_norms_that_overflow_float32():
    params = [{"kernel": jnp.full((2, 2), 1e30), "bias": jnp.zeros(2)}]
    net = backprop.chain(backprop.dense)
    explanation = backprop.explain(net, params, (jnp.ones((1, 2)), jnp.array([0])))
    assert explanation.activations[0] == pytest.approx(2e30 * 2**0.5, rel=1e-6)


def test_explain_counts_a_dead_neuron():
    params = {"kernel": jnp.array([1.0]), "bias": jnp.array(-9.0)}
    batch = jnp.ones((3, 1)), jnp.ones(3)
    explanation = backprop.explain(backprop.neuron, params, batch, backprop.squared_error)
    np.testing.assert_array_equal(explanation.dead, [1.0])
    np.testing.assert_array_equal(explanation.gradients, [0.0])


def test_the_picture_shows_what_explain_gives():
    params, x, labels = draw(("relu",), 1, 1.0, jnp.float32)
    explanation = backprop.explain(hand(("relu",)), params, (x, labels))
    figure = gradient_flow.draw({"a net": explanation})
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[-1] == "share of dead ReLUs"
    series = figure.axes[1].lines[0]
    np.testing.assert_array_equal(series.get_ydata(), explanation.deltas)
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_xdata(), [0, 2])
    params, x, labels = draw(("tanh",), 1, 1.0, jnp.float32)
    quiet = backprop.explain(backprop.chain(backprop.dense), params[:1], (x, labels))
    assert len(gradient_flow.draw({"a net": quiet}).axes) == 3


# ---- messages -----------------------------------------------------------------------------

LAYER = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
WRONG = {
    "not a list": (backprop.chain(backprop.dense), LAYER, "chain: params is .* wanted a list of 1"),
    "too many": (backprop.chain(backprop.dense), [LAYER, {}], "wanted a list of 1"),
    "no kernel": (backprop.dense, {"w": jnp.ones(2)}, "dense: params is .*'w'.* wanted"),
    "ranks": (backprop.neuron, LAYER, r"neuron: kernel has shape \(2, 3\).* wanted \(features,\)"),
    "bias": (backprop.dense, {**LAYER, "bias": jnp.ones(2)}, r"\"bias\".* \(2,\)"),
    "features": (
        backprop.dense,
        {**LAYER, "kernel": jnp.ones((4, 3))},
        "x has 2 features.* wanted 4",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case):
    module, params, message = WRONG[case]
    with pytest.raises(lo.LayerError, match=message):
        module.forward(params, jnp.ones((5, 2)))


def test_chain_wants_modules():
    with pytest.raises(TypeError, match=r"module 0 is Model.* wanted a backprop\.Module"):
        backprop.chain(lo.relu)
