"""Every floating type: updates and state keep it, and the numbers stay finite."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.judgments import WATCHED, changed, compare_signature
from lecture_opt.check.outcome import Outcome, failed, in_words, passed, trait
from lecture_opt.check.subject import Subject, add
from lecture_opt.environment import enable_x64

STEPS = 3


def keeps(subject: Subject, cast: Any, what: str) -> Outcome:
    """Pass where three steps on a tree cast by `cast` keep the dtypes and stay finite."""
    params = cast(probes.params_tree())
    state = subject.init(params)
    for step, grads in enumerate(map(cast, probes.grads_trees(STEPS))):
        updates, after = subject.step(grads, state, params)
        outcome = compare_signature(updates, params)
        if outcome.status == "fail":
            return outcome._replace(message=f"With {what} parameters: {outcome.message}")
        found = changed(state, after)
        if found:
            return failed(
                f"With {what} parameters, update {step} changes the state: {found[0]} was "
                f"{found[1]} and becomes {found[2]}.",
                step=step,
                leaf=found[0],
            )
        bad = probes.not_finite(updates)
        if bad:
            return failed(
                f"With {what} parameters and ordinary gradients, the updates of step {step} hold "
                f"{bad.value} at {bad.leaf}.",
                **bad._asdict() | {"step": step},
            )
        params, state = add(params, updates), after
    return passed()


def to(dtype: Any) -> Any:
    """A function that casts a tree."""
    return lambda tree: jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), tree)


def float32(subject: Subject) -> Outcome:
    """float32 parameters get float32 updates and a state that stays as it is.

    Why: this is the everyday type.
    Usual cause: NumPy float64 arithmetic, a cast on the way.
    """
    return keeps(subject, to(jnp.float32), "float32")


def bfloat16(subject: Subject) -> Outcome:
    """bfloat16 parameters get bfloat16 updates; nothing is promoted on the way out.

    Why: a float32 update makes float32 parameters, twice the memory and a recompile.
    Usual cause: `jnp.float32(0.9)` or `jnp.array(lr)` as a constant; a bias correction from an
    integer count, which is float32.
    """
    return keeps(subject, to(jnp.bfloat16), "bfloat16")


def float16(subject: Subject) -> Outcome:
    """float16 parameters get finite float16 updates for ordinary gradients.

    Why: mixed precision on GPUs uses it; its largest number is 65504 and its smallest 6e-8.
    Usual cause: promotion, or an epsilon below 6e-8 that is zero there.
    """
    return keeps(subject, to(jnp.float16), "float16")


def float64(subject: Subject) -> Outcome:
    """With 64-bit types on, float64 parameters get float64 updates.

    Why: scientific users run in double precision.
    Usual cause: `jnp.float32` written out in `init` or in a cast of the result.
    """
    with enable_x64(True):
        return keeps(subject, to(jnp.float64), "float64")


def mixed_tree(subject: Subject) -> Outcome:
    """In a tree of 16-bit and float32 leaves each keeps its type.

    Why: norms and embeddings are kept in float32 beside bfloat16 weights.
    Usual cause: one dtype taken from the first leaf, leaves concatenated into one vector.
    """
    for low in (jnp.bfloat16, jnp.float16):
        types = {"bias": low, "gain": jnp.float32, "kernel": low}

        def cast(tree: Any) -> Any:
            return {key: to(types[key])(leaf) for key, leaf in tree.items()}  # noqa: B023

        outcome = keeps(subject, cast, f"mixed {jnp.dtype(low).name} and float32")
        if outcome.status == "fail":
            return outcome
    return passed()


def complex_numbers(subject: Subject) -> Outcome:
    """Complex parameters are refused, or get complex updates that go against the gradient.

    Why: the square of an imaginary gradient is negative, so a rule that squares goes astray
    without a word.
    Usual cause: `g**2` where |g|^2 is meant (`g * conj(g)`).
    """
    params = {"w": jnp.asarray([1 + 1j, -2j, 0.5], jnp.complex64)}
    grads = {"w": jnp.asarray([2j, -3j, 1 + 1j], jnp.complex64)}
    total = np.zeros(3, np.complex128)
    try:
        state = subject.init(params)
        for _ in range(WATCHED):
            updates, state = subject.step(grads, state, params)
            total += np.asarray(updates["w"])
    except Exception as error:  # refusing complex numbers is legitimate
        return trait(f"Complex parameters are refused ({in_words(error)}).")
    if not jnp.iscomplexobj(updates["w"]):
        return failed(f"Complex parameters get {updates['w'].dtype} updates.")
    gradient = np.asarray(grads["w"])
    along = np.real(np.conj(total) * gradient)
    if np.all(along < -1e-3 * np.abs(total) * np.abs(gradient)):
        return passed()
    worst = int(np.argmax(np.where(np.isnan(along), np.inf, along)))
    return failed(
        f"With the constant complex gradient {complex(grads['w'][worst])}, {WATCHED} updates sum "
        f"to {total[worst]:.4g}, which does not go against it (the real part of conj(update) "
        f"* gradient is {along[worst]:.4g}, a negative number is wanted), and nothing is raised.",
        element=worst,
        gradient=complex(grads["w"][worst]),
        updates=complex(total[worst]),
    )
