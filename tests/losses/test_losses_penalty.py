"""The l2 penalty of a tree of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt.losses import l2_penalty

EPS = np.finfo(np.float32).eps
PARAMS = [
    {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([4.0, 0.0])},
    {},
    {"kernel": jnp.array([2.0]), "bias": None},
]


def test_it_is_the_slide_s_term():
    w = PARAMS[0]["kernel"]
    np.testing.assert_allclose(l2_penalty(w), 0.01 * (w**2).sum(), rtol=2 * EPS)
    np.testing.assert_allclose(l2_penalty(PARAMS, 0.5), 0.5 * (14.25 + 16 + 4), rtol=2 * EPS)


def test_select_chooses_leaves_by_their_path():
    paths = []
    l2_penalty(PARAMS, select=lambda path: not paths.append(path))
    assert paths == ["0/bias", "0/kernel", "2/kernel"]
    kernels = l2_penalty(PARAMS, 0.5, select=lambda path: path.endswith("kernel"))
    np.testing.assert_allclose(kernels, 0.5 * (14.25 + 4), rtol=2 * EPS)
    gradient = jax.grad(lambda p: l2_penalty(p, 0.5, lambda path: path == "0/bias"))(PARAMS)
    np.testing.assert_array_equal(gradient[0]["bias"], PARAMS[0]["bias"])
    np.testing.assert_array_equal(gradient[0]["kernel"], 0)


def test_its_gradient_is_decayed_weights():
    gradient = jax.grad(l2_penalty)(PARAMS, 0.1)
    decay = optax.add_decayed_weights(0.2)
    expected, _ = decay.update(jax.tree.map(jnp.zeros_like, PARAMS), decay.init(PARAMS), PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2 * EPS), gradient, expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_it_has_the_dtype_of_the_parameters(x64, dtype):
    params = {"a": jnp.full(3, 2.0, dtype), "b": jnp.zeros((0, 2), dtype)}
    for weight in (0.5, jnp.float32(0.5), np.float64(0.5), 1):
        penalty = l2_penalty(params, weight)
        assert penalty.dtype == dtype
        assert not penalty.weak_type
        assert float(penalty) == 12 * float(weight)


def test_parameters_of_several_dtypes_give_the_widest_to_compute_in(x64):
    half, brain, wide = jnp.float16(2.0), jnp.bfloat16(3.0), jnp.float64(1.0)
    assert l2_penalty([half, brain], 1.0) == 13
    assert l2_penalty([half, brain], 1.0).dtype == jnp.float32
    assert l2_penalty([half, wide, brain], 1.0).dtype == jnp.float64


def test_float16_sums_do_not_overflow_on_the_way():
    assert l2_penalty(jnp.full(1000, 32.0, jnp.float16), 0.01).dtype == jnp.float16
    np.testing.assert_allclose(
        l2_penalty(jnp.full(1000, 32.0, jnp.float16), 0.01), 10240, rtol=np.finfo(np.float16).eps
    )


def test_complex_parameters_count_by_their_modulus():
    params = jnp.array([3 + 4j, 1 - 1j])
    value, gradient = jax.value_and_grad(l2_penalty)(params, 1.0)
    assert value == 27
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(gradient, 2 * params.conj())  # the convention of jax.grad


def test_trees_without_parameters_have_no_penalty():
    assert l2_penalty([]) == 0
    assert l2_penalty({"a": None}, select=lambda path: False).dtype == jnp.float32


def test_weights_may_be_traced():
    penalties = jax.jit(jax.vmap(lambda weight: l2_penalty(PARAMS, weight)))(jnp.array([0.0, 0.1]))
    np.testing.assert_allclose(penalties, [0, l2_penalty(PARAMS, 0.1)], rtol=2 * EPS)


def test_wrong_arguments_are_errors():
    with pytest.raises(
        ValueError, match=r"l2_penalty: select chooses no leaf; there are .*'0/kernel'"
    ):
        l2_penalty(PARAMS, select=lambda path: "weights" in path)
    with pytest.raises(TypeError, match="l2_penalty: params at 'count' has dtype int32; wanted"):
        l2_penalty({"count": jnp.int32(3), "w": jnp.ones(2)})
    with pytest.raises(TypeError, match="l2_penalty: params at 'name' is a str; wanted an array"):
        l2_penalty({"name": "relu", "w": jnp.ones(2)})
    assert l2_penalty({"name": "relu", "w": jnp.ones(2)}, 1.0, lambda path: path == "w") == 2
    assert l2_penalty({"count": jnp.int32(3), "w": jnp.ones(2)}, 1.0, lambda path: path == "w") == 2
    with pytest.raises(ValueError, match=r"l2_penalty: weight has shape \(2,\); wanted a scalar"):
        l2_penalty(PARAMS, jnp.ones(2))
    with pytest.raises(TypeError, match="l2_penalty: weight has dtype complex64"):
        l2_penalty(PARAMS, 1j)
