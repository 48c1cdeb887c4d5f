"""What tells one run from another, so that a checkpoint goes on as the run that it is of.

What decides the batches and the classes of the optimizer's state must be the same. The values of
the data and the step (the loss, and the hyperparameters of the optimizer) should be: where they
differ, the difference is told, and `Checkpoint(accept=...)` goes on with it.

>>> import optax
>>> classes(optax.sgd(0.1, momentum=0.9).init(1.0))
['TraceState', 'EmptyState']
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from lecture_opt import meshes
from lecture_opt.numerics import PyTree
from lecture_opt.training import contents
from lecture_opt.training.batches import Source
from lecture_opt.training.driver import equations
from lecture_opt.training.history import Snapshot

ACCEPTABLE = ("data", "step")
"""What of a run may differ from the checkpoint's, if the caller says so."""


def facts(
    source: Source, begun: Snapshot, step: core.ClosedJaxpr, metrics: list[str]
) -> dict[str, Any]:
    """The run in short, as JSON holds it; `begun` is it before its first step."""
    params, opt_state = begun.params, begun.opt_state
    key = None if source.key is None else np.asarray(jax.random.key_data(source.key)).tolist()
    return {
        "start_step": begun.step,
        "batch_size": source.batch_size,
        "key": key,
        "data": contents.described(contents.named(data=source.data)),
        "metrics": metrics,
        "patience": None if begun.best is None else "given",
        "state": classes(opt_state),
        "values": [int(_digest(leaf)) for leaf in jax.tree.leaves(source.data)],
        "step": _program(step, opt_state, _placement((source.data, params, opt_state))),
    }


def check(where: str, saved: dict[str, Any], wanted: dict[str, Any], accept: Any) -> None:
    """Raises unless the checkpoint is of this run, up to what may differ."""
    for name in ("start_step", "batch_size", "key", "data", "metrics", "patience"):
        if (saved.get(name) or None) != (wanted[name] or None):
            raise ValueError(
                f"{where} is of a run with {name} {saved.get(name)}, and this has {wanted[name]}; "
                "give the arguments of that run, or another folder"
            )
    there, here = saved.get("state"), wanted["state"]
    if there != here:
        raise ValueError(
            f"{where} is of another optimizer: its state is of {there}, and this one's is of "
            f"{here}; give the optimizer of that run, or another folder"
        )
    told = {}
    if saved.get("values") != wanted["values"]:
        told["data"] = "other values in data"
    there, here = saved.get("step") or {}, wanted["step"]
    if there.get("on") == here["on"] and there != here:
        told["step"] = "another step: another loss, or an optimizer with other hyperparameters"
        numbers = [_without(there["numbers"], here), _without(here["numbers"], there)]
        if any(numbers):
            told["step"] += f" ({' '.join(numbers[0])} there, {' '.join(numbers[1])} here)"
    refused = [name for name in told if name not in accept]
    if refused:
        raise ValueError(
            f"{where} is of a run with {' and '.join(told[name] for name in refused)}; give the "
            f"arguments of that run, another folder, or Checkpoint(..., accept={list(told)}) to go "
            "on with these"
        )


def classes(tree: PyTree) -> list[str]:
    """The names of the tree's classes, those of Python left out, from the root on."""
    found = []

    def see(node: PyTree) -> bool:
        if type(node).__module__ != "builtins" and not jax.tree_util.all_leaves([node]):
            found.append(type(node).__name__)
        return False

    jax.tree.leaves(tree, is_leaf=see)
    return found


def _without(numbers: list[str], other: dict[str, Any]) -> list[str]:
    return [number for number in numbers if number not in other["numbers"]][:3]


def _placement(tree: PyTree) -> list[str]:
    """How the arrays lie on the devices, which changes the operations of a step."""
    return sorted({repr(jax.typeof(x).sharding) + repr(x.sharding) for x in jax.tree.leaves(tree)})


def _program(step: core.ClosedJaxpr, opt_state: PyTree, placement: list[str]) -> dict[str, Any]:
    """The step's operations and numbers, and where they hold: JAX traces by version and backend."""
    operations, numbers = [], set()
    for equation in equations(step):
        literals = [np.asarray(v.val) for v in equation.invars if isinstance(v, core.Literal)]
        numbers |= {f"{float(n):.7g}" for n in literals if n.dtype.kind == "f" and n.ndim == 0}
        shapes = [getattr(out.aval, "shape", ()) for out in equation.outvars]
        operations.append((equation.primitive.name, [n.tolist() for n in literals], shapes))
    scalars = [leaf for leaf in jax.tree.leaves(opt_state) if leaf.ndim == 0]
    first = [float(n) for n in scalars if jnp.issubdtype(n.dtype, jnp.floating)]
    numbers |= {f"{n:.7g}" for n in first}
    held = [int(_digest(c)) for c in step.consts if getattr(c, "is_fully_addressable", True)]
    return {
        "on": [jax.__version__, jax.default_backend(), *placement],
        "digest": zlib.crc32(repr((operations, first, held)).encode()),
        "numbers": sorted(numbers),
    }


def _digest(leaf: Any) -> jax.Array:
    """A number that depends on each bit of the array and on its place."""
    return jax.jit(lambda a: meshes.placed(_sum_of_bits, (), a))(jnp.asarray(leaf))


def _sum_of_bits(array: jax.Array) -> jax.Array:
    bits = _bits(array)
    while bits.ndim:
        place = lax.broadcasted_iota(jnp.uint32, bits.shape, 0)
        bits = (bits ^ (bits >> jnp.uint32(15))) * jnp.uint32(0x9E3779B1)
        bits = jnp.sum(bits * (place * jnp.uint32(2) + jnp.uint32(1)), axis=0, dtype=jnp.uint32)
    return bits


def _bits(array: jax.Array) -> jax.Array:
    """The array's bits, as 32-bit integers."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag])
    if array.dtype.itemsize == 8:
        return lax.bitcast_convert_type(array, jnp.uint32)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return lax.bitcast_convert_type(array.astype(jnp.float32), jnp.uint32)
    return array.astype(jnp.uint32)
