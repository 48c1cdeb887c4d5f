"""Models against their formulas, their initial scales, and the errors a wrong shape gives."""

import copy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.test_util import check_grads

from lecture_opt import models
from lecture_opt.models import (
    Model,
    activation,
    chain,
    dense,
    glorot,
    he,
    logistic,
    mlp,
    relu,
    sigmoid,
    softmax,
    softmax_regression,
    tanh,
)

HALF_TO_DOUBLE = ["float16", "bfloat16", "float32", "float64"]


def affine(x, params, dtype=np.float64):
    return np.asarray(x, dtype) @ np.asarray(params["kernel"], dtype) + np.asarray(
        params["bias"], dtype
    )


def draws(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def dot_tolerance(terms, dtype=np.float32):
    """Rounding of a sum of `terms` products of numbers of order one."""
    return 2 * terms * float(jnp.finfo(dtype).eps)


def normal_bias(key, shape, dtype):
    return jax.random.normal(key, shape, dtype)


# ---- layers -------------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)])
def test_dense_is_x_w_plus_b(key, leading):
    model = dense(4, 3, bias_init=normal_bias)
    params = model.init(key)
    x = draws(*leading, 4)
    y = model.apply(params, x)
    assert y.shape == (*leading, 3)
    np.testing.assert_allclose(y, affine(x, params), atol=dot_tolerance(5), rtol=dot_tolerance(5))


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_logistic_is_one_logit_per_example(key, leading):
    model = logistic(4)
    params = model.init(key)
    params["bias"] = jnp.float32(0.5)
    x = draws(*leading, 4)
    y = model.apply(params, x)
    assert y.shape == leading
    np.testing.assert_allclose(y, affine(x, params), atol=dot_tolerance(5), rtol=dot_tolerance(5))


def test_logistic_through_sigmoid_is_the_neuron_of_the_slide(key):
    neuron = chain(logistic(3), sigmoid)
    params = neuron.init(key)
    x = draws(7, 3)
    wanted = 1 / (1 + np.exp(-affine(x, params[0])))
    np.testing.assert_allclose(neuron.apply(params, x), wanted, rtol=dot_tolerance(5))


def test_softmax_regression_is_a_dense_layer(key):
    ours, layer = softmax_regression(4, 3), dense(4, 3)
    params = layer.init(key)
    x = draws(5, 4)
    assert jax.tree.map(np.array_equal, ours.init(key), params) == {"kernel": True, "bias": True}
    np.testing.assert_array_equal(ours.apply(params, x), layer.apply(params, x))


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (relu, lambda x: np.maximum(x, 0)),
        (sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (tanh, np.tanh),
        (softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        (activation(lambda x: x * x), np.square),
    ],
)
def test_activations(key, module, formula):
    x = 3 * draws(5, 4)
    assert module.init(key) == {}
    np.testing.assert_allclose(
        module.apply({}, x), formula(np.asarray(x, np.float64)), rtol=dot_tolerance(20)
    )


def test_activation_takes_lists_and_numbers():
    np.testing.assert_array_equal(relu.apply({}, [-1.0, 2.0]), [0, 2])
    assert relu.apply({}, -1.0) == 0


# ---- composition --------------------------------------------------------------------------


def test_chain_is_the_composition_of_the_lecture(key):
    f1, f2, f3 = dense(4, 5), tanh, dense(5, 2)
    model = chain(f1, f2, f3)
    w1, w2, w3 = params = model.init(key)
    x = draws(6, 4)
    np.testing.assert_array_equal(
        model.apply(params, x), f3.apply(w3, f2.apply(w2, f1.apply(w1, x)))
    )


def test_chain_draws_each_module_from_its_own_key(key):
    first, second = chain(dense(3, 3), dense(3, 3)).init(key)
    assert not np.array_equal(first["kernel"], second["kernel"])


def test_kernel_and_bias_have_their_own_keys(key):
    params = dense(1, 4, kernel_init=normal_bias, bias_init=normal_bias).init(key)
    assert not np.array_equal(params["kernel"][0], params["bias"])


def test_empty_chain_is_the_identity(key):
    model = chain()
    params = model.init(key)
    assert params == []
    np.testing.assert_array_equal(model.apply(params, jnp.arange(3)), [0, 1, 2])


def test_chains_nest_and_take_tuples(key):
    model = chain(chain(dense(3, 4), relu), logistic(4))
    params = model.init(key)
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(
        model.apply((tuple(params[0]), params[1]), x), model.apply(params, x)
    )


@pytest.mark.parametrize("sizes", [[6, 2], [6, 5, 2], (6, 5, 4, 2)])
def test_mlp_alternates_dense_layers_and_activations(key, sizes):
    model = mlp(sizes, activation=tanh)
    params = model.init(key)
    kernels = [entry["kernel"].shape for entry in params[::2]]
    assert kernels == list(pairwise(sizes))
    assert all(entry == {} for entry in params[1::2])
    y = x = draws(3, 6)
    for i, entry in enumerate(params[::2]):
        y = affine(np.tanh(y) if i else y, entry)
    np.testing.assert_allclose(
        model.apply(params, x), y, rtol=dot_tolerance(20), atol=dot_tolerance(20)
    )


def test_mlp_default_activation_is_relu(key):
    params = mlp([3, 4, 2]).init(key)
    x = jnp.ones((1, 3))
    np.testing.assert_array_equal(
        mlp([3, 4, 2]).apply(params, x), mlp([3, 4, 2], activation=relu).apply(params, x)
    )
    assert not np.array_equal(
        mlp([3, 4, 2]).apply(params, x), mlp([3, 4, 2], activation=tanh).apply(params, x)
    )


def test_a_model_is_a_pair_and_hashable():
    init, apply = model = dense(2, 1)
    assert model == Model(init, apply)
    assert hash(model) == hash(Model(init, apply))


# ---- initialisation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "variance"), [(glorot, 2 / (300 + 500)), (he, 2 / 300)], ids=["glorot", "he"]
)
def test_initialisers_have_their_variance(key, draw, variance):
    kernel = np.asarray(draw(key, (300, 500), jnp.float32), np.float64)
    deviations = 5  # the sample variance of n numbers of kurtosis <= 3 has relative error sqrt(2/n)
    assert abs(kernel.var() / variance - 1) < deviations * np.sqrt(2 / kernel.size)
    assert abs(kernel.mean()) < deviations * np.sqrt(variance / kernel.size)


def test_which_initialiser_each_layer_gets(key):
    def drawn_by(model, draw):
        keys = jax.random.split(key, 3)
        return [
            np.array_equal(entry["kernel"], draw(jax.random.split(k)[0], shape, jnp.float32))
            for entry, k, shape in zip(
                model.init(key)[::2], keys[::2], [(4, 5), (5, 3)], strict=True
            )
        ]

    assert drawn_by(mlp([4, 5, 3]), he) == [True, False]
    assert drawn_by(mlp([4, 5, 3]), glorot) == [False, True]
    assert drawn_by(mlp([4, 5, 3], activation=tanh), glorot) == [True, True]


def gelu(z):
    return jax.nn.gelu(z)


@pytest.mark.parametrize(
    ("module", "draw"),
    [
        (activation(jax.nn.relu), he),
        (activation(lambda z: jnp.maximum(z, 0)), he),
        (activation(lambda z: jnp.where(z > 0, z, 0)), he),
        (copy.copy(relu), he),
        (Model(*relu), he),
        (chain(activation(lambda z: z), relu), he),
        (activation(jax.nn.relu6), glorot),
        (activation(jax.nn.leaky_relu), glorot),
        (activation(gelu), glorot),
        (activation(lambda z: z.reshape(5, 7)), glorot),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_initialiser_follows_what_the_activation_computes(key, module, draw, dtype):
    expected = draw(jax.random.split(jax.random.split(key, 3)[0])[0], (4, 5), dtype)
    for init in (jax.jit(lambda key: mlp([4, 5, 3], activation=module, dtype=dtype).init(key)),
                 mlp([4, 5, 3], activation=module, dtype=dtype).init):  # fmt: skip
        # A compiled draw may round otherwise; it begins as a number of order one, minus one.
        got, tolerance = init(key)[0]["kernel"], 4 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(
            np.asarray(got, float), np.asarray(expected, float), tolerance, tolerance
        )


def test_the_initialiser_is_the_same_in_every_transformation(key):
    expected = mlp([4, 5, 3]).init(key)[0]["kernel"]
    with jax.disable_jit():
        np.testing.assert_allclose(mlp([4, 5, 3]).init(key)[0]["kernel"], expected, atol=1e-6)
    by_vmap = jax.vmap(lambda key: mlp([4, 5, 3]).init(key))(key[None])
    np.testing.assert_allclose(by_vmap[0]["kernel"][0], expected, atol=1e-6)


def test_he_keeps_the_scale_of_activations_through_relu_layers(key):
    width, depth = 256, 16
    layer = dense(width, width, kernel_init=he)
    y = x = draws(64, width)
    for layer_key in jax.random.split(key, depth):
        y = relu.apply({}, layer.apply(layer.init(layer_key), y))
    ratio = float(jnp.mean(y**2) / jnp.mean(x**2))
    assert 0.5 < ratio < 2


@pytest.mark.parametrize("model", [dense(3, 2), logistic(3), softmax_regression(3, 2)])
def test_biases_start_at_zero_and_kernels_depend_on_the_key(model):
    params, other = model.init(jax.random.key(0)), model.init(jax.random.key(1))
    assert not params["bias"].any()
    assert params["kernel"].all()
    assert not np.array_equal(params["kernel"], other["kernel"])


def test_kernel_init_is_the_callers(key):
    zeros = jax.nn.initializers.zeros
    for model in (
        dense(3, 2, kernel_init=zeros),
        logistic(3, kernel_init=zeros),
        softmax_regression(3, 2, kernel_init=zeros),
    ):
        assert not model.init(key)["kernel"].any()


# ---- dtypes and transformations -----------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_dtype_is_kept(key, dtype, x64):
    def forward_and_back(model):
        params = model.init(key)
        y, pullback = jax.vjp(model.apply, params, jnp.ones((5, 3), dtype))
        return params, y, pullback(y)

    for model, shape in (
        (mlp([3, 4, 2], dtype=dtype), (5, 2)),
        (chain(logistic(3, dtype=dtype), sigmoid), (5,)),
        (chain(softmax_regression(3, 2, dtype=dtype), softmax), (5, 2)),
        (chain(dense(3, 2, dtype=dtype), tanh), (5, 2)),
    ):
        params, y, cotangents = jax.eval_shape(lambda model=model: forward_and_back(model))
        leaves = jax.tree.leaves((params, y, cotangents))
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}
        assert y.shape == shape


def test_complex_layers(key):
    model = dense(3, 2, dtype=jnp.complex64)
    params = model.init(key)
    x = 1j * jnp.ones((5, 3), jnp.complex64)
    np.testing.assert_allclose(
        model.apply(params, x), affine(x, params, np.complex128), rtol=dot_tolerance(10)
    )


def test_numpy_parameters_and_inputs_work(key):
    model = mlp([3, 4, 2])
    params = model.init(key)
    x = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(
        model.apply(jax.tree.map(np.asarray, params), x), model.apply(params, x)
    )


def test_jit_vmap_and_batches_agree(key):
    model = mlp([3, 4, 2])
    params = model.init(key)
    x = draws(5, 3)
    y = model.apply(params, x)
    for other in (
        jax.jit(model.apply)(params, x),
        jax.vmap(model.apply, in_axes=(None, 0))(params, x),
        model.apply(params, x[None])[0],
    ):
        np.testing.assert_allclose(other, y, rtol=dot_tolerance(8), atol=dot_tolerance(8))


def test_models_of_many_seeds_by_vmap():
    model = mlp([3, 4, 2])
    keys = jax.random.split(jax.random.key(0), 6)

    def outputs(key):
        return model.apply(model.init(key), jnp.ones((5, 3)))

    y = jax.jit(jax.vmap(outputs))(keys)
    assert y.shape == (6, 5, 2)
    one = outputs(keys[2])
    np.testing.assert_allclose(y[2], one, rtol=dot_tolerance(8), atol=dot_tolerance(8))


def test_gradient_is_the_finite_difference(key, x64):
    model = mlp([3, 4, 2], activation=tanh, dtype=jnp.float64)
    params = model.init(key)
    x = draws(5, 3).astype(jnp.float64)
    check_grads(jax.jit(model.apply), (params, x), order=1)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
def test_models_lower_for_every_platform(key, platform):
    model = chain(dense(3, 4), relu, dense(4, 4), sigmoid, dense(4, 4), tanh, dense(4, 2), softmax)
    params = jax.eval_shape(model.init, key)
    x = jax.ShapeDtypeStruct((5, 3), jnp.float32)
    exported = export.export(jax.jit(model.apply), platforms=[platform])(params, x)
    assert exported.out_avals[0].shape == (5, 2)


@pytest.mark.skipif(not hasattr(jax, "set_mesh"), reason="needs jax.set_mesh")
def test_explicit_axes_that_cut_params_and_data():
    script = Path(__file__).with_name("models_on_meshes.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- errors -------------------------------------------------------------------------------


def blank(model):
    """Parameters of the right shapes."""
    return jax.tree.map(jnp.zeros_like, jax.eval_shape(model.init, jax.random.key(0)))


def message(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    "key", [0, None, [0, 1], np.zeros(2, np.float32), jnp.zeros((2, 2), "uint32")]
)
@pytest.mark.parametrize(("model", "name"), [(dense(3, 2), "dense(3, 2)"), (mlp([3, 2]), "chain")])
def test_init_wants_one_key(model, name, key):
    text = message(TypeError, lambda: model.init(key))
    assert text == f"{name}.init: key is {key!r}; wanted one random key, as jax.random.key(0)"


def test_wrong_features_name_the_layer():
    model = chain(dense(3, 64), relu, dense(64, 10))
    params = blank(model)
    x = jnp.ones((5, 32))
    assert message(ValueError, lambda: dense(64, 10).apply(params[2], x)) == (
        "dense(64, 10): x has 32 features in its last axis (shape (5, 32)); wanted 64"
    )
    wrong = chain(dense(3, 32), relu, dense(64, 10))
    text = message(ValueError, lambda: wrong.apply(blank(wrong), jnp.ones((5, 3))))
    assert text == (
        "chain[2].dense(64, 10): x has 32 features in its last axis (shape (5, 32)); wanted 64"
    )
    nested = chain(relu, chain(relu, wrong))
    text = message(ValueError, lambda: nested.apply(blank(nested), jnp.ones((5, 3))))
    assert text.startswith("chain[1].chain[1].chain[2].dense(64, 10): x has 32 features")


@pytest.mark.parametrize("model", [logistic(3), softmax_regression(3, 2)])
def test_other_layers_give_their_name(key, model):
    name = "logistic(3)" if model.init(key)["bias"].ndim == 0 else "softmax_regression(3, 2)"
    text = message(ValueError, lambda: model.apply(model.init(key), jnp.ones((5, 4))))
    assert text.startswith(f"{name}: x has 4 features in its last axis (shape (5, 4)); wanted 3")


def test_a_scalar_has_no_features(key):
    text = message(ValueError, lambda: dense(3, 2).apply(dense(3, 2).init(key), 1.0))
    assert text == "dense(3, 2): x is a scalar; wanted 3 features in its last axis"


@pytest.mark.parametrize(
    ("model", "name"), [(dense(3, 2), "dense(3, 2)"), (relu, "relu"), (mlp([3, 2]), "chain")]
)
def test_x_is_an_array_of_numbers(key, model, name):
    text = message(ValueError, lambda: model.apply(model.init(key), "ten"))
    assert text == f"{name}: x is a str; wanted an array of numbers"


def test_dtypes_are_not_mixed(key):
    model = dense(3, 2)
    params = model.init(key)
    text = message(ValueError, lambda: model.apply(params, jnp.ones((5, 3), jnp.int32)))
    assert text == (
        'dense(3, 2): x is int32 and params["kernel"] is float32; wanted one dtype '
        "(cast with .astype)"
    )
    params["bias"] = params["bias"].astype(jnp.bfloat16)
    text = message(ValueError, lambda: model.apply(params, jnp.ones((5, 3))))
    assert 'x is float32 and params["bias"] is bfloat16' in text


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [("kernel", (2, 3), "(3, 2)"), ("bias", (1,), "(2,)"), ("bias", (), "(2,)")],
)
def test_wrong_parameter_shape(key, name, shape, wanted):
    model = dense(3, 2)
    params = {**model.init(key), name: jnp.ones(shape)}
    text = message(ValueError, lambda: model.apply(params, jnp.ones((5, 3))))
    assert text == f'dense(3, 2): params["{name}"] has shape {shape}; wanted {wanted}'


@pytest.mark.parametrize("params", [{}, None, [1.0], {"kernel": 1.0}, {"kernel": None, "bias": {}}])
def test_wrong_parameter_tree(params):
    text = message(ValueError, lambda: dense(3, 2).apply(params, jnp.ones((5, 3))))
    assert text.startswith("dense(3, 2): params is ")
    assert text.endswith('; wanted {"bias": array, "kernel": array}')


def test_activations_have_no_parameters(key):
    text = message(ValueError, lambda: relu.apply(dense(3, 2).init(key), 1.0))
    assert text == "relu: params is {'bias': (2,), 'kernel': (3, 2)}; wanted {}"
    text = message(ValueError, lambda: activation(jax.tree_util.Partial(jnp.sin)).apply([], 1.0))
    assert text == "activation: params is []; wanted {}"


@pytest.mark.parametrize("params", [[{}], {"0": {}, "1": {}}, None])
def test_chain_wants_one_entry_per_module(params):
    text = message(ValueError, lambda: chain(relu, tanh).apply(params, 1.0))
    assert text == f"chain: params is {params}; wanted a list of 2, one entry per module"


def test_errors_of_other_modules_pass_through_chain():
    def broken(x):
        raise ValueError("mine")

    assert message(ValueError, lambda: chain(activation(broken)).apply([{}], 1.0)) == "mine"


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: dense(0, 2), ValueError, "dense(0, 2): the number of features is 0; wanted a po"),
        (lambda: dense(3, -1), ValueError, "dense(3, -1): out_features is -1; wanted a positive"),
        (lambda: dense(3, 2.0), ValueError, "dense(3, 2.0): out_features is 2.0; wanted a positi"),
        (lambda: softmax_regression(3, 0), ValueError, "softmax_regression(3, 0): classes is 0; "),
        (lambda: logistic("3"), ValueError, "logistic(3): the number of features is '3'; wanted "),
        (lambda: dense(3, 2, dtype=int), TypeError, "dense(3, 2): dtype is int64; wanted a float"),
        (lambda: mlp([3]), ValueError, "mlp: sizes is [3]; wanted at least an input and an outp"),
        (lambda: mlp(3), ValueError, "mlp: sizes is 3; wanted at least an input and an output"),
        (lambda: activation(3), TypeError, "activation: function is 3; wanted a function of an"),
        (lambda: chain(relu, jnp.sin), TypeError, "chain: module 1 is <"),
        (lambda: mlp([3, 2, 1], activation=jnp.sin), TypeError, "mlp: activation is <"),
    ],
)
def test_wrong_arguments_of_constructors(build, error, text):
    assert message(error, build).startswith(text)


def test_numpy_sizes_work(key):
    assert mlp(np.array([3, 2])).init(key)[0]["kernel"].shape == (3, 2)


def test_every_public_name_has_a_docstring():
    for name in ("activation", "chain", "dense", "logistic", "mlp", "softmax_regression", "Model"):
        assert getattr(models, name).__doc__
