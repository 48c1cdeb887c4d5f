"""Reference: step by step against another optimizer, and a guess at why they differ."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.check import probes
from lecture_opt.check.diagnosis import clues
from lecture_opt.check.diagnosis.by_leaf import which_decay, which_leaves
from lecture_opt.check.diagnosis.fitting import (
    EQUAL,
    Responses,
    error,
    name_the_change,
    nearest,
    try_respond,
    with_rate,
)
from lecture_opt.check.diagnosis.identity import Decay, measure_decay
from lecture_opt.check.diagnosis.rules import Rule
from lecture_opt.check.outcome import Outcome, failed, passed
from lecture_opt.check.subject import Subject, add
from lecture_opt.environment import enable_x64

STEPS, SEEDS, LONG = 20, 3, 260
TOLERANCE, ROUNDED = 1e-5, 1e-9
TREES = {
    "a dict": lambda tree: tree,
    "a nested tree": lambda tree: [{"a": tree["kernel"]}, (tree["bias"], tree["gain"].sum())],
    "one array": lambda tree: tree["kernel"],
}


def step_by_step(subject: Subject, reference: Subject) -> Outcome:
    """On shared gradients every update equals the reference's, to 1e-5 of the leaf's largest.

    Why: the surest proof that a rule is what its name says.
    Usual cause: named in the message, where one of the usual suspects explains it.
    """
    worst = 0.0
    for dtype in (jnp.float64,) if reference.in_double else (jnp.float32, jnp.float64):
        for what, wrap in TREES.items():
            for seed in range(SEEDS):
                with enable_x64(dtype is jnp.float64):
                    parting, error = first_parting(subject, reference, wrap, seed, dtype)
                worst = max(worst, error)
                if parting:
                    place = f"{what}, {parting.dtype}, seed {seed}"
                    cause = why(subject, reference)
                    found = parting._asdict() | {"seed": seed, "tree": what, "cause": cause}
                    return failed(f"{parting} ({place}). {cause}", **found)
    with enable_x64(reference.in_double):
        some = which_leaves(subject, reference)
    if some:
        return failed(f"Equal on the trees {', '.join(TREES)}. {some}", cause=some)
    with enable_x64(True):
        parting, error = first_parting(
            subject, reference, TREES["a dict"], SEEDS, jnp.float64, grads=long_run()
        )
    if parting:
        return failed(
            f"Equal for {STEPS} steps. In a run of {LONG} steps with exact zeros, small and "
            f"repeated gradients: {parting}.",
            **parting._asdict(),
        )
    low = "" if reference.in_double else sixteen_bits(subject, reference)
    return passed(
        f"Equal to {reference.name} to {worst:.2g} over {STEPS} steps, {SEEDS} seeds, "
        f"{len(TREES)} trees, {'' if reference.in_double else 'float32 and '}float64. {low}",
        error=worst,
    )


class Parting(NamedTuple):
    """Where two optimizers first part: the worst element of a step, and by how many ulp."""

    step: int
    leaf: str
    element: tuple[int, ...]
    got: float
    wanted: float
    ulp: float
    dtype: str

    def __str__(self) -> str:
        return (
            f"First differs at step {self.step}, leaf {self.leaf}, element {list(self.element)}: "
            f"{self.got:.9g}, the reference {self.wanted:.9g}, {self.ulp:.3g} ulp apart"
        )


def first_parting(
    subject: Subject,
    reference: Subject,
    wrap: Any,
    seed: int,
    dtype: Any,
    tolerance: float = TOLERANCE,
    grads: list[Any] | None = None,
) -> tuple[Parting | None, float]:
    """Where two optimizers first part on one path (the reference's), and the worst error."""
    params, name = wrap(probes.params_tree(dtype)), jnp.dtype(dtype).name
    mine, theirs, worst = subject.init(params), reference.init(params), 0.0
    for step, gradient in enumerate(grads or probes.grads_trees(STEPS, seed=seed, dtype=dtype)):
        got, mine = subject.step(wrap(gradient), mine, params)
        wanted, theirs = reference.step(wrap(gradient), theirs, params)
        gap = probes.worst_difference(got, wanted)
        worst = max(worst, gap.error)
        lost = rounding(params) if reference.in_double else 0.0
        if gap.error > tolerance and not abs(gap.got - gap.wanted) <= lost:  # NaN too
            ulp = abs(gap.got - gap.wanted) / abs(float(np.spacing(np.asarray(gap.wanted, name))))
            return Parting(step, *gap[:4], ulp, name), worst
        params = add(params, wanted)
    return None, worst


def rounding(params: Any) -> float:
    """What an update may lose where it is the difference of params in float64."""
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(params))
    return 4 * float(np.spacing(largest))


def long_run() -> list[Any]:
    """Gradients for many steps: some hold exact zeros, some are small, some the same for ten."""
    grads = probes.grads_trees(LONG, seed=77, dtype=jnp.float64)
    for step in range(0, LONG, 20):
        grads[step] = jax.tree.map(lambda g: jnp.where(g > 0, g, 0.0), grads[step])
        grads[step + 3] = jax.tree.map(lambda g: 1e-3 * g, grads[step + 3])
        grads[step + 5 : step + 15] = [grads[step + 5]] * 10
    return grads


def sixteen_bits(subject: Subject, reference: Subject) -> str:
    """How far the two part in bfloat16, where accumulators may be kept in different types."""
    try:
        _, error = first_parting(
            subject, reference, TREES["a dict"], 0, jnp.bfloat16, tolerance=float("inf")
        )
    except Exception:  # not judged
        return ""
    return f"In bfloat16 (not judged) they are at most {error:.2g} apart."


def why(subject: Subject, reference: Subject) -> str:
    """A guess at the cause, in a sentence: a known rule's usual suspects, else a clue."""
    with enable_x64(reference.in_double):
        some = which_leaves(subject, reference) or which_decay(subject, reference)
    if some:
        return some
    found = by_suspects(subject, reference)
    return found if found is not None else by_clues(subject, reference)


def by_suspects(subject: Subject, reference: Subject) -> str | None:
    """What has to change in the known rule that the reference is; None where that says nothing."""
    mine, theirs = try_respond(subject, 0.0), try_respond(reference, 0.0)
    if isinstance(mine, str) or isinstance(theirs, str):
        return f"No cause can be guessed: {mine if isinstance(mine, str) else theirs}."
    gap, base = nearest(theirs)[0]
    if gap > EQUAL:
        return None
    words, rule = "", base
    if is_of_stepped(base, mine, measure_decay(base, theirs, try_respond(reference, 1.0))):
        return (
            f"It matches {reference.name} if weight decay is of the params after the step, not "
            "before."
        )
    if error(base, mine) > EQUAL:
        change = name_the_change(base, mine)
        if change is None:
            return None
        words, rule, _ = change
    decays = (
        measure_decay(rule, mine, try_respond(subject, 1.0)),
        measure_decay(base, theirs, try_respond(reference, 1.0)),
    )
    if decays[0] != decays[1] and "unknown" not in (decays[0].kind, decays[1].kind):
        words = "; ".join(filter(None, (words, decay_words(*decays))))
    return f"It matches {reference.name} if {words}." if words else None


def is_of_stepped(base: Rule, mine: Responses, decay: Decay) -> bool:
    """Whether the step itself is shortened by the decay, at params of 0."""
    scaled = with_rate(base, mine)
    if decay.kind != "decoupled" or error(scaled, mine) > EQUAL / 10:
        return False
    rate, usual = (float(np.squeeze(rule.numbers.learning_rate)) for rule in (scaled, base))
    shortened = 1 - usual * decay.amount
    return bool(abs(rate / usual - shortened) < 1e-3 * abs(1 - shortened))


def by_clues(subject: Subject, reference: Subject) -> str:
    """In what way the updates differ, on the canonical tree in float64."""
    with enable_x64(True):
        params = probes.params_tree(jnp.float64)
        mine, theirs, steps = subject.init(params), reference.init(params), []
        for grads in probes.grads_trees(STEPS, dtype=jnp.float64, scale=3.0):
            got, mine = subject.step(grads, mine, params)
            wanted, theirs = reference.step(grads, theirs, params)
            steps.append(clues.flat(grads, params, got, wanted))
            params = add(params, wanted)
    gap = max(clues.distance(step) for step in steps)
    if gap < ROUNDED:
        return (
            f"In float64 they agree to {gap:.1g}: the difference is rounding (a part computed in "
            "float32, another order of sums)."
        )
    return clues.clue(steps) or (
        f"Neither one of the usual suspects nor two of them together explain it. In float64 the "
        f"two are up to {gap:.2g} of the largest element apart."
    )


def decay_words(mine: Decay, theirs: Decay) -> str:
    """How one weight decay becomes the other."""
    how = {
        "no": "weight decay is left out",
        "coupled": f"weight decay {mine.amount:.4g} is coupled (added to the gradient)",
        "decoupled": f"weight decay {mine.amount:.4g} is decoupled (added to the update)",
    }
    if mine.kind == theirs.kind:
        return f"weight decay is {mine.amount:.4g} instead of {theirs.amount:.4g}"
    return how[mine.kind]
