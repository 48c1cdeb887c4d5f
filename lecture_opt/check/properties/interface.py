"""The interface: what `init` and `update` return, and what they may be called with."""

from typing import Any

import jax
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED, compare_signature
from lecture_opt.check.needs import NO_LOSS, needs
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, skipped, trait
from lecture_opt.check.subject import Subject


def update_runs(subject: Subject) -> Outcome:
    """`update(grads, init(params), params)` runs on an ordinary tree of three float32 leaves.

    Why: nothing else can be asked of an optimizer that does not run.
    Usual cause: arguments in another order than (grads, state, params), or a required extra one.
    """
    if subject.problem is None:
        return passed()
    return failed(f"update(grads, state, params) raised {subject.problem}", raised=subject.problem)


def init_returns_arrays(subject: Subject) -> Outcome:
    """Every leaf of the state `init` returns is an array.

    Why: jit, scan, checkpoints and sharding carry arrays. A Python number changes its type after
    the first jitted update (a recompile), and a function or a string cannot be carried at all.
    Usual cause: `count=0` or `0.0` where `jnp.zeros([], jnp.int32)` was meant.
    """
    state = subject.init(probes.params_tree())
    for name, leaf in probes.named(state):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            return failed(
                f"init puts the {type(leaf).__name__} {leaf!r:.60} in the state at state{name}; "
                "every leaf must be an array.",
                leaf=name,
                type=type(leaf).__name__,
            )
    return passed()


def update_returns_pair(subject: Subject) -> Outcome:
    """`update` returns (updates, state), in that order.

    Why: every training loop unpacks it so.
    Usual cause: the two swapped, the new params returned too, or only the updates.
    """
    params = probes.params_tree()
    state = subject.init(params)
    try:
        result = subject.update(probes.normal_tree(0), state, params)
    except Exception:  # update_runs says what it raises
        return skipped("update does not run at all (see interface.update_runs)")
    if not isinstance(result, tuple | list) or len(result) != 2:
        return failed(
            f"update returned {describe(result)}; a pair (updates, state) is wanted.",
            returned=describe(result),
        )
    updates, new_state = map(probes.structure, result)
    wanted, before = probes.structure(params), probes.structure(state)
    if updates == before != wanted and new_state == wanted:
        return failed("update returned (state, updates): the pair is in the wrong order.")
    return passed()


def describe(value: Any) -> str:
    """What a value is, in a few words."""
    length = f" of length {len(value)}" if isinstance(value, tuple | list | dict) else ""
    return f"a {type(value).__name__}{length}"


def updates_match_params(subject: Subject) -> Outcome:
    """Updates have the structure, shapes and dtypes of the parameters.

    Why: `params + updates` must be legal leaf by leaf, and a wider dtype would widen the params.
    Usual cause: a leaf dropped, reduced or broadcast; a result returned for the state's tree.
    """
    params = probes.params_tree()
    updates, _ = subject.step(probes.normal_tree(0), subject.init(params), params)
    return compare_signature(updates, params)


def updates_finite(subject: Subject) -> Outcome:
    """Ordinary gradients give finite updates, from the first step on.

    Why: one NaN in the weights ends the run.
    Usual cause: moments put back in another order than they were taken out (a negative number
    under a root), a division by a count that is still 0, a rate of 0 to a negative power.
    """
    params = probes.params_tree()
    state = subject.init(params)
    for step, grads in enumerate(probes.grads_trees(6)):
        updates, after = subject.step(grads, state, params)
        bad = probes.not_finite(updates)
        if bad:
            return failed(
                f"With standard normal gradients the update of step {step} is {bad.value} at leaf "
                f"{bad.leaf}. The state before that step: {ranges(state)}; after it: "
                f"{ranges(after)}.",
                **bad._asdict() | {"step": step},
            )
        state = after
    return passed()


def ranges(state: Any) -> str:
    """The range of each leaf of a state, in words, of at most six."""
    named = [
        f"{name} = {leaf}"
        if np.shape(leaf) == ()
        else f"{name} from {np.min(leaf):.4g} to {np.max(leaf):.4g}"
        for name, leaf in probes.named(state)
        if not probes.is_key(leaf) and np.size(leaf)
    ]
    more = ", ..." if len(named) > 6 else ""
    return ", ".join(named[:6]) + more or "nothing"


def depends_on_grads(subject: Subject) -> Outcome:
    """Other gradients give other updates.

    Why: an optimizer that does not look at its gradients cannot learn.
    Usual cause: `update(params, state, grads)`, the arguments in the wrong order.
    """
    params = probes.params_tree()
    first, _ = subject.updates_over(probes.grads_trees(WATCHED, seed=0), params)
    second, _ = subject.updates_over(probes.grads_trees(WATCHED, seed=1, scale=3.0), params)
    if not probes.same_bits(first, second):
        return passed()
    other = jax.tree.map(lambda p: 2 * p + 1, params)
    third, _ = subject.updates_over(probes.grads_trees(WATCHED, seed=0), other)
    if all(not np.any(probes.float64(leaf)) for leaf in jax.tree.leaves(first)):
        return failed(f"{WATCHED} updates in a row are zero whatever the gradients are.")
    swapped = not probes.same_bits(first, third)
    hint = " They do follow the params: are grads and params swapped?" if swapped else ""
    return failed(
        f"Two different sequences of {WATCHED} gradients gave the same updates bit for bit." + hint,
        depends_on_params=swapped,
    )


def returns_updates(subject: Subject) -> Outcome:
    """`update` returns what to add to the parameters, not the parameters.

    Why: `optax.apply_updates` adds; new parameters returned as updates double them every step.
    Usual cause: `return params - learning_rate * grads` (or the old params) out of habit.
    """
    params, grads = probes.params_tree(), probes.grads_trees(1)
    near, _ = subject.updates_over(grads, params)
    slopes = []
    for shift in (100.0, -30.0):
        moved_params = jax.tree.map(lambda p: p + shift, params)  # noqa: B023
        far, _ = subject.updates_over(grads, moved_params)
        pairs = zip(jax.tree.leaves(far), jax.tree.leaves(near), strict=True)
        slopes += [(probes.float64(a) - probes.float64(b)).ravel() / shift for a, b in pairs]
    slope = np.concatenate(slopes)
    if np.all(np.abs(slope - 1) < 0.1):
        return failed(
            f"Moving the parameters by 100 moves the updates by {100 * slope[0]:.4g}: what is "
            "returned are the new parameters (or the old ones), not the difference to add.",
            slope=slope[0],
        )
    return passed()


@needs(NO_LOSS)
def params_optional(subject: Subject) -> Outcome:
    """Called without params, `update` gives the same updates or says plainly that it needs them.

    Why: `update(grads, state)` is legal in optax; a rule that quietly drops its weight decay
    there trains another model than the one asked for.
    Usual cause: `if params is not None:` around the decay; no check at all, so that the error
    is about `NoneType`.
    """
    params, grads = probes.params_tree(), probes.normal_tree(0)
    state = subject.init(params)
    wanted, _ = subject.step(grads, state, params)
    for call, arguments in (("update(grads, state)", ()), ("update(grads, state, None)", (None,))):
        try:
            got, _ = subject.optimizer.update(grads, state, *arguments)
        except Exception as error:  # what it says is the thing under test
            if "param" in str(error).lower():
                return trait(f"{call} says that it needs params ({in_words(error)}).")
            return failed(
                f"{call} raised {in_words(error)}; the message does not say that params "
                "are needed. Raise a ValueError that does.",
                raised=in_words(error),
            )
        if subject.random:
            continue
        if probes.structure(got) != probes.structure(wanted):
            return failed(f"{call} returns another tree than with params.")
        gap = probes.worst_difference(got, wanted)
        if gap.error > 1e-6:
            return failed(
                f"{call} silently gives another step than with params: {gap}.", **gap._asdict()
            )
    return passed()


FIRST = (update_runs, update_returns_pair)  # asked even where an update fails
