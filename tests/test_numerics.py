"""The ground floor: the dtype to compute in, roots that can be derived, integers kept whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lecture_opt import numerics


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((jnp.float16,), jnp.float32),
        ((jnp.int32,), jnp.float32),
        ((), jnp.float32),
        ((jnp.bfloat16, np.float64), np.float64),
        ((jnp.complex64, jnp.bfloat16), jnp.complex64),
        ((jnp.complex64, np.float64), np.complex128),
    ],
)
def test_the_dtype_to_compute_in(given, wanted):
    assert numerics.compute_dtype(*given) == wanted


def test_a_root_of_zero_has_no_infinite_slope():
    assert jax.grad(numerics.sqrt)(0.0) == 0
    assert jax.grad(numerics.sqrt)(4.0) == 0.25


@pytest.mark.parametrize(
    "value",
    [
        np.array([2**32 + 3]),
        np.array([[-(2**31) - 1]]),
        [1, 2**31],
        2**40,
        np.uint64(2**63),
        [2**70],
    ],
)
def test_an_integer_that_would_be_cut_is_named(value):
    with pytest.raises(ValueError, match=r"^f: ids holds -?\d+, which is past u?int32"):
        numerics.check_integers("f: ids", value)


@pytest.mark.parametrize(
    "value",
    [[], 3, 2.0**40, [True], np.array([2**31 - 1, -(2**31)]), np.array([2**32 - 1], np.uint32)],
)
def test_what_fits_passes(value):
    numerics.check_integers("f: ids", value)


def test_with_x64_all_64_bits_fit(x64):
    numerics.check_integers("f: ids", np.array([2**40, -(2**63)]))
