"""Whether a run's steps are started from the host, one by one, or run as one `scan`.

A `scan` saves the host's work between steps, which for small models is most of the time. On CPUs
XLA takes a slow path for the gradients of a convolution inside any of its loops (`scan`,
`fori_loop`, `map`): a step of a three-layer CNN on images of 32x32x3 takes 117 ms there and 5 ms
outside. So on CPUs a step that holds a convolution is started from the host. The rule reads the
program and the backend, not a clock: a run that is resumed is the same program.

>>> import jax, jax.numpy as jnp
>>> def step(image, kernel):
...     return jnp.convolve(image, kernel)
>>> jaxpr = jax.make_jaxpr(step)(jnp.ones(8), jnp.ones(3))
>>> prefers_host_steps(jaxpr, "cpu"), prefers_host_steps(jaxpr, "gpu")
(True, False)
"""

from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core


def prefers_host_steps(jaxpr: core.ClosedJaxpr | core.Jaxpr, backend: str) -> bool:
    """Whether steps of this traced program run faster one by one than as one `scan`.

    Args:
        jaxpr: A step, traced: `jax.make_jaxpr(step)(*args)` or `jax.jit(step).trace(*args).jaxpr`.
        backend: Where it runs: "cpu", "gpu", "tpu", as `jax.default_backend()` says.
    """
    return backend == "cpu" and any(
        equation.primitive.name == "conv_general_dilated" for equation in equations(jaxpr)
    )


def equations(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """The operations of a program, with those of the programs that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in called(equation):
            yield from equations(inner)


def called(equation: core.JaxprEqn) -> list[core.ClosedJaxpr | core.Jaxpr]:
    """The programs that an operation calls, as a loop calls its body."""
    values = list(equation.params.values())
    return [leaf for leaf in jax.tree.leaves(values, is_leaf=_is_program) if _is_program(leaf)]


def _is_program(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)
