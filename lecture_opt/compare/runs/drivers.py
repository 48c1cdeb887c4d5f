"""How the runs of a loop are driven: chosen from the traced step and the backend, not by a clock.

A resumed run so is the same program. On XLA's CPU the gradient of a convolution's kernel takes up
to 15 times longer inside a loop of XLA's, and a batch of convolutions with kernels of their own
gains nothing: steps with convolutions go from the host, run by run, each on all cores. All else
goes through one program of many runs and steps.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from lecture_opt.problems.tracing import text
from lecture_opt.training.driver import called, equations, prefers_host_steps


class Driver(NamedTuple):
    """Whether runs go side by side in one program, and whether it takes many steps.

    `host`: the loop runs as it is, untraced, for the reason that it says.
    """

    vmap: bool
    scan: bool
    host: str = ""


TOGETHER = Driver(True, True)
ONE_BY_ONE = Driver(False, False)


def choose(step: core.ClosedJaxpr, backend: str) -> Driver:
    """The driver for a step on a backend."""
    if prefers_host_steps(step, backend) or is_one_run(step):
        return ONE_BY_ONE
    return TOGETHER


def is_one_run(step: core.ClosedJaxpr) -> bool:
    """Whether it calls the host in a way that `vmap` refuses."""
    return any(
        equation.params.get("ordered", False)
        or (equation.primitive.name == "pure_callback" and not equation.params["vmap_method"])
        for equation in equations(step)
    )


def constants(program: core.ClosedJaxpr) -> Iterator[Any]:
    """The constants of a program and of those that it calls."""
    yield from program.consts
    for equation in equations(program):
        for inner in called(equation):
            yield from getattr(inner, "consts", ())


def digest(program: core.ClosedJaxpr) -> str:
    """What tells the program from others: its text, and its constants."""
    sha = hashlib.sha256(text(program).encode())
    for constant in constants(program):
        if jnp.issubdtype(jnp.result_type(constant), jax.dtypes.extended):
            constant = jax.random.key_data(constant)
        sha.update(np.asarray(constant).tobytes())
    return sha.hexdigest()


def reaches(jaxpr: core.Jaxpr, variable: Any) -> bool:
    """Whether a result may depend on the variable: whatever a tainted equation gives is tainted."""
    tainted = {variable}
    for equation in jaxpr.eqns:
        if any(v in tainted for v in equation.invars if not hasattr(v, "val")):
            tainted.update(equation.outvars)
    return any(v in tainted for v in jaxpr.outvars if not hasattr(v, "val"))


def spread(program: core.ClosedJaxpr) -> set[str]:
    """The operations that spread arrays over several devices, by name."""
    found = set()
    for equation in equations(program):
        for value in jax.tree.leaves(list(equation.params.values())):
            shared = isinstance(value, NamedSharding) and any(value.spec)
            mesh = (
                value.mesh if shared else value if equation.primitive.name == "shard_map" else None
            )
            if isinstance(mesh, Mesh | AbstractMesh) and mesh.size > 1:
                found.add(equation.primitive.name)
    return found
