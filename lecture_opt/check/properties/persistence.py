"""Persistence: a state saved and restored goes on exactly as if nothing had happened."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import jax

from lecture_opt.check import probes
from lecture_opt.check.needs import installed, needs
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, raised, skipped, trait
from lecture_opt.check.subject import Subject, add

STEPS = 10


def resume(subject: Subject, before: Any, restored: Any, params: Any, how: str) -> Outcome:
    """Pass where the next steps from the restored state equal those from the one saved.

    The restored run uses a rebuilt optimizer where there is a constructor, as a new process does.
    """
    again = subject.rebuilt() if subject.constructor else subject
    if not probes.same_bits(restored, before):
        return failed(f"The state restored by {how} is not the one saved: {restored!r:.200}")
    other = params
    for step, grads in enumerate(probes.grads_trees(STEPS, seed=5)):
        updates, before = subject.step(grads, before, params)
        resumed, restored = again.step(grads, restored, other)
        params, other = add(params, updates), add(other, resumed)
        if not probes.same_bits(resumed, updates):
            gap = probes.worst_difference(resumed, updates)
            return failed(
                f"Step {step} after a restore by {how} differs from the run that went on: {gap}. "
                "Something the rule needs is not in the state.",
                step=step,
                **gap._asdict(),
            )
    return passed()


def trained(subject: Subject) -> tuple[Any, Any]:
    """Parameters and state after five steps."""
    params = probes.params_tree()
    state = subject.init(params)
    for grads in probes.grads_trees(5, seed=4):
        updates, state = subject.step(grads, state, params)
        params = add(params, updates)
    return params, state


@needs(installed("flax", "flax"))
def flax_serialization(subject: Subject) -> Outcome:
    """The state survives `flax.serialization.to_bytes`, and the next 10 steps are bit-equal.

    Why: it is how Flax checkpoints.
    Usual cause: part of the state kept in a closure, or in a class Flax does not know.
    """
    from flax import serialization

    params, state = trained(subject)
    if any(probes.is_key(leaf) for leaf in jax.tree.leaves(state)):
        return skipped("flax.serialization does not know typed PRNG keys")
    try:
        data = serialization.to_bytes(state)
        restored = serialization.from_bytes(subject.init(params), data)
    except Exception as error:  # a node type Flax does not know
        return trait(
            f"flax.serialization cannot carry the state ({in_words(error)}); register its class "
            "with flax.serialization.register_serialization_state."
        )
    return resume(subject, state, jax.tree.map(jax.numpy.asarray, restored), params, "flax")


@needs(installed("orbax", "orbax-checkpoint"))
def orbax(subject: Subject) -> Outcome:
    """The state survives an Orbax checkpoint, and the next 10 steps are bit-equal.

    Why: it is the checkpoint library of the JAX world.
    Usual cause: leaves that are not arrays, part of the state kept in a closure.
    """
    import orbax.checkpoint as ocp

    params, state = trained(subject)
    if not jax.tree.leaves(state):
        return passed("The state is empty.")
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
            path = Path(folder).resolve() / "state"
            checkpointer.save(path, {"state": state})
            checkpointer.wait_until_finished()
            like = jax.tree.map(abstract, {"state": subject.init(params)})
            restored = checkpointer.restore(path, like)["state"]
    except Exception as error:  # what Orbax says is the verdict
        if "zero size" in str(error):
            return trait("Orbax cannot save arrays without elements, and the state has some.")
        return raised("Orbax raised", error)
    finally:
        logger.setLevel(level)
    return resume(subject, state, restored, params, "Orbax")


def abstract(leaf: Any) -> Any:
    """Shape, dtype and place of an array, for a restore."""
    if not isinstance(leaf, jax.Array):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
