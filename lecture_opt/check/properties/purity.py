"""Purity: the same inputs give the same outputs, and nothing else in the world changes."""

import copy
from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.needs import JITS, needs
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, raised, skipped
from lecture_opt.check.subject import Subject


def deterministic(subject: Subject) -> Outcome:
    """The same gradients, state and params give the same updates and state, bit for bit.

    Why: runs must be repeatable, and under jit a Python random number is drawn once for ever.
    Usual cause: `np.random` or a global counter inside `update` (keep a PRNG key in the state).
    """
    params, grads = probes.params_tree(), probes.normal_tree(0)
    state = subject.init(params)
    results = [subject.update(grads, state, params) for _ in range(3)]
    for call, result in enumerate(results[1:], start=2):
        if not probes.same_bits(result, results[0]):
            gap = probes.worst_difference(result[0], results[0][0])
            return failed(
                f"Call 1 and call {call} of update with the same arguments differ: {gap}.",
                call=call,
                **gap._asdict(),
            )
    if not probes.same_bits(subject.init(params), subject.init(params)):
        return failed("Two calls of init with the same params give different states.")
    return passed()


def inputs_unchanged(subject: Subject) -> Outcome:
    """Gradients, state and params are not written to.

    Why: the caller still owns them; a loop that keeps the best params would find them changed.
    Usual cause: in-place NumPy (`m *= b1`), `state["count"] += 1`, popping from a dict or list.
    """
    params, grads = probes.params_tree(), probes.normal_tree(0)
    state = subject.init(params)
    for kind, convert in (("JAX arrays", lambda leaf: leaf), ("NumPy arrays", writable)):
        arguments = jax.tree.map(convert, (grads, state, params))
        try:
            copies = copy.deepcopy(arguments)
            subject.update(*arguments)
        except Exception:
            continue
        names = ("grads", "state", "params")
        for name, before, after in zip(names, copies, arguments, strict=True):
            if not probes.same_bits(before, after):
                return failed(
                    f"update changed its argument {name} in place (given as {kind}).",
                    argument=name,
                    given_as=kind,
                )
    return passed()


def writable(leaf: Any) -> Any:
    """A NumPy copy that in-place arithmetic would change."""
    return leaf if probes.is_key(leaf) else np.array(leaf)


def no_hidden_state(subject: Subject) -> Outcome:
    """Two runs interleaved give what each gives alone: nothing is kept outside the state.

    Why: two models trained in one process would mix, and a restored checkpoint would not resume.
    Usual cause: a global, a closure variable, an attribute or a mutable default argument that
    `init` or `update` writes.
    """
    params = probes.params_tree()
    mine, other = probes.grads_trees(4, seed=1), probes.grads_trees(4, seed=2, scale=10.0)

    def alone(grads: Any) -> Any:
        state, seen = subject.init(params), []
        for gradient in grads:
            updates, state = subject.update(gradient, state, params)
            seen.append(updates)
        return seen

    wanted = alone(mine)
    far = jax.tree.map(lambda p: -5 * p, params)
    outcome = same_steps(interleaved(subject, (mine, params), (other, far)), wanted)
    if outcome.status == "fail":
        return outcome
    small = [[gradient["kernel"]] for gradient in other], [far["kernel"]]
    try:
        mixed = interleaved(subject, (mine, params), small)
    except Exception as error:  # one of the two met what the other left
        return failed(
            "With a run of a model of one leaf in between, a run of three leaves raised "
            f"{in_words(error)}: init keeps something of the params outside the state.",
            raised=in_words(error),
        )
    outcome = same_steps(mixed, wanted)
    if outcome.status == "fail":
        return outcome
    if not probes.same_bits(alone(mine), wanted):
        return failed("A second run from a fresh state differs from the first one.")
    return passed()


def interleaved(subject: Subject, mine: Any, other: Any) -> list[Any]:
    """The updates of one run of (grads, params) with another in between."""
    (grads, params), (foreign, far) = mine, other
    state, elsewhere, seen = subject.init(params), subject.init(far), []
    for gradient, strange in zip(grads, foreign, strict=True):
        _, elsewhere = subject.update(strange, elsewhere, far)
        updates, state = subject.update(gradient, state, params)
        seen.append(updates)
    return seen


def same_steps(mixed: Any, wanted: Any) -> Outcome:
    """Pass where the updates are bit for bit the same."""
    for step, (got, want) in enumerate(zip(mixed, wanted, strict=True)):
        if not probes.same_bits(got, want):
            gap = probes.worst_difference(got, want)
            return failed(
                f"With a second run in between, step {step} of the first run differs: {gap}. "
                "Something is remembered outside the state.",
                step=step,
                **gap._asdict(),
            )
    return passed()


@needs(JITS)
def no_leaked_tracers(subject: Subject) -> Outcome:
    """Tracing leaves no tracer behind, and an update outside jit still works afterwards.

    Why: a leaked tracer raises later, far from the line that leaked it.
    Usual cause: assigning to `self`, a global or a closure variable inside `init` or `update`.
    """
    params, grads = probes.params_tree(), probes.normal_tree(0)
    try:
        with jax.checking_leaks():
            state = jax.jit(lambda p: subject.init(p))(params)
            jax.jit(lambda *a: subject.update(*a))(grads, state, params)
        subject.update(grads, subject.init(params), params)
    except Exception as error:  # the leak checker speaks through an exception
        return raised("Tracing leaks:", error)
    return passed()


def donation_safe(subject: Subject) -> Outcome:
    """No two arrays of params and fresh state share a buffer, so both can be donated.

    Why: donated buffers halve the memory of a step; a shared one is "donated twice", an error.
    Usual cause: `zeros = ...; State(mu=zeros, nu=zeros)`, or params kept in the state uncopied.
    """
    params = probes.params_tree()
    seen: dict[int, str] = {}
    for name, leaf in probes.named({"params": params, "state": subject.init(params)}):
        if not isinstance(leaf, jax.Array) or probes.is_key(leaf) or leaf.size == 0:
            continue
        pointer = leaf.unsafe_buffer_pointer()
        if pointer in seen:
            return failed(
                f"{seen[pointer]} and {name} are the same buffer after init: donating both "
                "raises 'Attempt to donate the same buffer twice'.",
                first=seen[pointer],
                second=name,
            )
        seen[pointer] = name
    return passed()


def fresh_noise(subject: Subject) -> Outcome:
    """Random updates draw other noise at every step and for every leaf.

    Why: the same noise again adds up instead of averaging out, and leaves move in step.
    Usual cause: the key is not split and put back into the state; one key used for all leaves.
    """
    if not subject.random:
        return skipped("the state holds no PRNG key")
    params = probes.params_tree()
    grads = probes.full_tree(0.0, params)
    seen, _ = subject.updates_over([grads, grads], params)
    first, second = (jax.tree.map(np.asarray, update) for update in seen)
    if not np.any(first["kernel"]):
        return skipped("zero gradients get updates of zero")
    if np.array_equal(first["kernel"], second["kernel"]):
        return failed("Two steps with zero gradients draw the same noise: is the new key kept?")
    if np.array_equal(first["bias"], first["gain"]):
        return failed(
            f"With zero gradients two leaves of one shape get the same noise, {first['bias']}: "
            "split the key, one for each leaf."
        )
    return passed()
