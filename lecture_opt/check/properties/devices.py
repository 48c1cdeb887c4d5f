"""Devices: sharded parameters, and lowering for accelerators that are not here."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.needs import JITS, needs
from lecture_opt.check.outcome import Outcome, failed, passed, raised, skipped, trait
from lecture_opt.check.subject import Subject
from lecture_opt.environment import fast_jit

DEVICES = 8


@needs(JITS)
def sharded_equals_unsharded(subject: Subject) -> Outcome:
    """Parameters cut over 8 devices get the updates they get on one; the state is cut like them.

    Why: a state that is not sharded fills every device with the whole model.
    Usual cause: moments flattened or concatenated; a callback to the host.
    """
    if len(jax.devices()) < DEVICES:
        return skipped(
            f"needs {DEVICES} devices: set XLA_FLAGS=--xla_force_host_platform_device_count="
            f"{DEVICES} before jax starts"
        )
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:DEVICES]), ("batch",))
    cut = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    rng = np.random.default_rng(8)

    def draw() -> Any:
        return {"w": jnp.asarray(rng.normal(size=(16, 4)), jnp.float32)}

    params, grads = draw(), [draw(), draw()]
    wanted, _ = subject.updates_over(grads, params)
    pieces = jax.device_put(params, cut)
    state, update = fast_jit(subject.init)(pieces), fast_jit(subject.update)
    for step, gradient in enumerate(grads):
        updates, state = update(jax.device_put(gradient, cut), state, pieces)
        gap = probes.worst_difference(updates, wanted[step])
        if gap.error > 1e-3 and not subject.random:
            return failed(
                f"Over {DEVICES} devices, step {step} differs from one device: {gap}.",
                step=step,
                **gap._asdict(),
            )
    for where, leaf in probes.named(state):
        like_params = isinstance(leaf, jax.Array) and leaf.shape == params["w"].shape
        if like_params and not leaf.sharding.is_equivalent_to(cut, leaf.ndim):
            return trait(
                f"state{where} has the shape of the parameters but after two jitted updates is "
                f"not sharded like them ({leaf.sharding}).",
                leaf=where,
            )
    return passed()


def lowers_for(subject: Subject, platform: str) -> Outcome:
    """Pass where one update lowers for a platform."""
    params = probes.params_tree()
    arguments: tuple[Any, ...] = (probes.normal_tree(0), subject.init(params), params)
    leaves, structure = jax.tree.flatten(arguments)

    def flat(*leaves: Any) -> Any:
        return jax.tree.leaves(subject.update(*jax.tree.unflatten(structure, leaves)))

    try:
        jax.export.export(jax.jit(flat), platforms=[platform])(*leaves)
    except Exception as error:  # what the lowering says is the verdict
        return raised(f"Lowering for {platform}:", error)
    return passed()


@needs(JITS)
def lowers_for_cuda(subject: Subject) -> Outcome:
    """One update lowers for CUDA GPUs, from a machine without one.

    Why: it is found here, not on the rented machine.
    Usual cause: a callback to Python, an operation written for the CPU alone.
    """
    return lowers_for(subject, "cuda")


@needs(JITS)
def lowers_for_tpu(subject: Subject) -> Outcome:
    """One update lowers for TPUs, from a machine without one.

    Why: as for CUDA.
    Usual cause: as for CUDA, or an operation without a TPU version.
    """
    return lowers_for(subject, "tpu")
