"""A whole bench: every optimizer on every tree, measured in turn."""

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lecture_opt import equals, files, specs
from lecture_opt.bench import measure, statistics, torch_side
from lecture_opt.bench.trees import Tree
from lecture_opt.bench.types import AGAIN, KINDS, Cell, Results, TreeCosts
from lecture_opt.environment import check_device, versions
from lecture_opt.numerics import PyTree, tree_bytes

FORMAT = 2
LEARNING_RATE = 1e-3


def optimizers(text: str, against: Sequence[str]) -> dict[str, optax.GradientTransformation]:
    """The optimizer that `text` names and those beside it, by name, each tried on a small tree.

    Where `against` is empty, the one beside it is optax's counterpart, or optax's Adam.

    Raises:
        ValueError: A text names no optimizer, or the optimizer can't take a step.
    """
    made: dict[str, optax.GradientTransformation] = {}
    check_device("bench")
    texts = (text, *(against or [equals.beside(text)]))
    for spec in specs.distinct([specs.parse(each) for each in texts]):
        free = specs.takes(spec, "learning_rate") and "learning_rate" not in spec.kwargs
        optimizer = specs.build(spec, **({"learning_rate": LEARNING_RATE} if free else {}))
        params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
        try:
            jax.eval_shape(lambda p, o=optimizer: o.update(p, o.init(p), p), params)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else ""
            raise ValueError(
                f"{spec.text}: can't step: {type(error).__name__}: {reason}"
            ) from error
        made[spec.name] = optimizer
    return made


def run(
    optimizers: Mapping[str, optax.GradientTransformation],
    trees: Sequence[Tree],
    *,
    rounds: int,
    slow_rounds: int = 3,
    torch: bool = True,
    on_done: Callable[[str], None] = lambda _: None,
) -> Results:
    """Measures every optimizer on every tree.

    In each round every optimizer takes two steps, of which the second is timed, in an order drawn
    anew: a ratio is of neighbours in time, and what one library leaves in caches and threads
    (PyTorch's go on spinning) falls on no other in particular.

    Args:
        optimizers: By name; the first is the one that the others are compared with.
        trees: From `trees.trees`.
        rounds: Of compiled steps.
        slow_rounds: Of initialisations, eager steps and traces.
        torch: Whether to add PyTorch's fused optimizer, where it is installed and has one.
        on_done: Called with a description after each of `parts` parts.

    Raises:
        ValueError: `rounds` or `slow_rounds` is not positive.
    """
    if rounds < 1 or slow_rounds < 1:
        raise ValueError(f"run: rounds={rounds} and slow_rounds={slow_rounds} must be positive")
    fused = torch_side.fused_name(next(iter(optimizers))) if torch else None
    found = []
    for tree in trees:
        subjects, params = [], tree.make()
        for name, optimizer in optimizers.items():
            subjects.append(measure.prepare(name, optimizer, params))
            on_done(f"{tree.name}: compiled {name}")
        if fused and torch_side.installed():
            subjects.append(torch_side.prepare(fused, params))
        samples = _samples(subjects, rounds, slow_rounds)
        found.append(summarised(tree, params, subjects, samples))
        on_done(f"{tree.name}: measured")
        del params, subjects
        gc.collect()
    return Results(
        format=FORMAT,
        versions=versions("lecture_opt", "jax", "optax"),
        device=jax.devices()[0].device_kind,
        rounds=rounds,
        trees=tuple(found),
    )


def parts(optimizers: Mapping[str, object], trees: Sequence[Tree]) -> int:
    """How many times `run` calls `on_done`."""
    return len(trees) * (len(optimizers) + 1)


Samples = dict[str, list[float]]


def _samples(subjects: Sequence[measure.Subject], rounds: int, slow_rounds: int) -> list[Samples]:
    """Seconds by kind for each subject; in each round all take their turn, in a drawn order."""
    samples = [{kind: [took] for kind, took in subject.once.items()} for subject in subjects]
    rng = np.random.default_rng(0)
    for kind in ("step", *AGAIN):
        for _ in range(rounds if kind == "step" else slow_rounds):
            for i in rng.permutation(len(subjects)):
                function = subjects[i].step if kind == "step" else subjects[i].again.get(kind)
                if function is not None:
                    if kind == "step":
                        function()  # so that the timed step follows one of its own, as in training
                    else:
                        gc.collect(1)  # the last one's garbage is not to be this one's time
                    samples[i].setdefault(kind, []).append(measure.seconds(function)[1])
    return samples


def summarised(
    tree: Tree, params: PyTree, subjects: Sequence[measure.Subject], samples: Sequence[Samples]
) -> TreeCosts:
    """The tree's medians, intervals and ratios."""
    leaves = jax.tree.leaves(params)
    held = 2 * tree_bytes(params) + subjects[0].bytes.state
    bandwidth = measure.bandwidth(held)
    cells = []
    for subject, taken in zip(subjects, samples, strict=True):
        kinds = [kind for kind in KINDS if kind in taken]
        seconds = {kind: statistics.median_interval(taken[kind]) for kind in kinds}
        ratio = {kind: statistics.ratio_interval(samples[0][kind], taken[kind]) for kind in kinds}
        limit = statistics.times_limit(seconds["step"].value, subject.bytes.moved, bandwidth)
        cells.append(Cell(subject.name, subject.bytes, taken, seconds, ratio, limit))
    size = sum(leaf.size for leaf in leaves)
    return TreeCosts(tree.name, tree.text, len(leaves), size, bandwidth, tuple(cells))


def write(results: Results, path: Path) -> None:
    """Writes the results as strict JSON; whole or not at all."""
    files.write_json(path, results)
