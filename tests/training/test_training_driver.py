"""The rule that chooses between `scan` and steps from the host."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from lecture_opt.training.driver import prefers_host_steps


def convolved(image, kernel):
    return lax.conv_general_dilated(image, kernel, (1, 1), "SAME")


def dense(image, kernel):
    return jnp.tanh(image.reshape(2, -1) @ jnp.ones((16, 3)))


def in_jit(image, kernel):
    return jax.jit(convolved)(image, kernel)


def in_scan(image, kernel):
    return lax.scan(lambda x, _: (convolved(x, kernel), None), image, length=3)[0]


def in_a_branch(image, kernel):
    return lax.cond(image.sum() > 0, convolved, lambda image, kernel: image, image, kernel)


def in_remat(image, kernel):
    return jax.checkpoint(convolved)(image, kernel)


def in_a_custom_gradient(image, kernel):
    function = jax.custom_jvp(convolved)
    function.defjvp(lambda primals, tangents: (convolved(*primals), convolved(*tangents)))
    return function(image, kernel)


def traced(step):
    return jax.make_jaxpr(step)(jnp.ones((2, 1, 4, 4)), jnp.ones((1, 1, 3, 3)))


def kernel_gradient(step):
    return lambda image, kernel: jax.grad(lambda k: step(image, k).sum())(kernel)


@pytest.mark.parametrize(
    "step", [convolved, in_jit, in_scan, in_a_branch, in_remat, in_a_custom_gradient]
)
def test_a_convolution_is_found_wherever_it_is_called(step):
    for program in (step, kernel_gradient(step)):
        assert prefers_host_steps(traced(program), "cpu")
        assert prefers_host_steps(traced(program).jaxpr, "cpu")


def test_programs_without_a_convolution_scan():
    for program in (dense, kernel_gradient(dense)):
        assert not prefers_host_steps(traced(program), "cpu")


@pytest.mark.parametrize("backend", ["gpu", "tpu"])
def test_accelerators_scan(backend):
    assert not prefers_host_steps(traced(convolved), backend)
