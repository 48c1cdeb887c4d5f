"""The measurements: rules and decays, schedules, clipping, matrices that are orthogonalised."""

from typing import Any, NamedTuple

import numpy as np

from lecture_opt.check.diagnosis.rules import simulate
from lecture_opt.inspect import probing, rules
from lecture_opt.inspect.leaf import Clip, Decay
from lecture_opt.inspect.probing import Probe
from lecture_opt.inspect.rules import Identity

COPIES = 2 * len(probing.AMPLITUDES)
QUIET, LOUD, WARM = 1e-7, 1e3, 3
FLAT = 0.4  # the smallest singular value over the largest, of an orthogonalised update


class Motion(NamedTuple):
    """What moves a leaf: the rule in words, as a point of the known family, and its decay."""

    text: str
    identity: Identity | None
    decay: Decay


def period(answers: list[Any]) -> int:
    """How many gradients go into one step: 1, or the distance of the steps that move a leaf."""
    moved = np.flatnonzero([any(np.any(leaf[0, t]) for leaf in answers) for t in range(40)])
    gaps = set(np.diff(moved))
    if len(gaps) == 1 and (moved[0] + 1) % (gap := int(gaps.pop())) == 0:
        return gap  # the first steps may rest, as in a warm-up from 0
    return 1


def motions(asked: Probe, micro: int) -> list[Motion]:
    """What moves each leaf; leaves with the same answers are measured once."""
    grads, answers = probing.over_amplitudes(asked, micro=micro)
    known: dict[Any, Motion] = {}
    found = []
    restless = moves_alone(asked)
    for index, (shape, seen) in enumerate(zip(asked.shapes, answers, strict=True)):
        if index in restless:
            found.append(Motion("unknown (moves without a gradient)", None, Decay("unknown")))
            continue
        key = (seen.shape, np.round(seen / (np.abs(seen).max() + 1e-300), 9).tobytes())
        if key not in known:
            known[key] = motion(probing.columns(grads, shape), seen)
        found.append(known[key])
    return found


def moves_alone(asked: Probe) -> set[int]:
    """The leaves that move at params of zero without a gradient: by noise, or by an average."""
    rest = [probing.first_elements(s, np.zeros((COPIES, probing.WATCHED))) for s in asked.shapes]
    answers = probing.answers(asked, [rest] * 3, probing.full(asked, np.zeros(COPIES)))
    return {index for index, seen in enumerate(answers) if np.any(seen)}


def motion(grads: Any, seen: Any) -> Motion:
    """What moves a leaf, from its answers at params of 0 and of 1."""
    still, moved = seen
    if not np.any(still):
        return Motion("frozen", None, Decay() if not np.any(moved) else decay_alone(moved))
    identity = rules.identify(grads, still)
    if identity is None:
        return Motion("unknown", None, Decay() if np.allclose(still, moved) else Decay("unknown"))
    how = decay(identity, grads, still, moved)
    if how.kind == "norm ratio":
        return Motion(f"{identity.text} * norm ratio", identity, Decay())
    if how.kind == "unknown":
        return Motion(f"{identity.text} * an unknown function of params", identity, how)
    return Motion(identity.text, identity, how)


def decay_alone(moved: Any) -> Decay:
    """The decay of a leaf that its gradients do not move."""
    return Decay("decoupled", float(f"{-np.mean(moved[-1]):.3g}"), scheduled=False)


def decay(identity: Identity, grads: Any, still: Any, moved: Any) -> Decay:
    """How params of 1 change the answers."""
    gap = moved - still
    if np.abs(gap).max() <= 1e-11 * np.abs(still).max():
        return Decay()
    per_step = -gap.mean(axis=1)
    if np.abs(gap + per_step[:, None]).max() < 1e-4 * np.abs(gap).max():
        rates = identity.rates
        on = np.abs(rates) > 1e-3 * np.abs(rates).max()
        ratio = per_step[on] / rates[on]
        if np.ptp(ratio) < 1e-3 * abs(ratio.mean()):
            return Decay("decoupled", float(f"{ratio.mean():.3g}"))
        through = through_the_moment(identity, per_step)
        if through is not None:
            return Decay("coupled", through)
        return Decay("decoupled", float(f"{per_step.mean():.3g}"), scheduled=False)
    if by_norm_ratio(still, moved):
        return Decay("norm ratio")
    amount = rules.coupled(identity.rule, grads, moved)
    return Decay("unknown") if amount is None else Decay("coupled", amount)


def by_norm_ratio(still: Any, moved: Any) -> bool:
    """Whether params of 1 only multiply each step, as the norm of the params does in LAMB."""
    blocks = (np.split(each, len(probing.AMPLITUDES), axis=1) for each in (still, moved))
    for a, b in zip(*blocks, strict=True):
        if a.shape[1] < 2 or not np.any(a):
            return False
        factor = np.sum(a * b, axis=1) / (np.sum(a * a, axis=1) + 1e-300)
        if np.abs(b - factor[:, None] * a).max() > 1e-4 * np.abs(b).max():
            return False
    return True


def through_the_moment(identity: Identity, per_step: Any) -> float | None:
    """The decay that a linear rule's momentum passes on as `per_step`; `None` where it can't be."""
    if identity.rule.second != "one" or identity.rule.sign:
        return None
    ones = simulate(identity.rule, np.ones((len(per_step), 1)))[:, 0] * -identity.rates
    amount = float(np.sum(ones * per_step) / (np.sum(ones**2) + 1e-300))
    close = np.abs(per_step - amount * ones).max() < 1e-3 * np.abs(per_step).max()
    return float(f"{amount:.3g}") if close else None


def schedules(asked: Probe, motions: list[Motion], steps: int, micro: int) -> list[Any]:
    """The rate of each of many steps, for each leaf."""
    base = probing.AMPLITUDES[0] * np.ones((COPIES, probing.WATCHED))
    tree = [probing.first_elements(shape, base) for shape in asked.shapes]
    at = probing.full(asked, np.zeros(COPIES))
    answers = probing.answers(asked, [tree] * steps, at)
    computed: dict[Any, Any] = {}
    found = []
    for motion, seen in zip(motions, answers, strict=True):
        updates = seen[micro - 1 :: micro, 0, :1]
        if motion.identity is None:
            rates = np.abs(updates[:, 0])
            found.append(rates / (rates.max(initial=0.0) or 1.0))
            continue
        key = (motion.text, updates.tobytes())
        if key not in computed:
            grads = np.full((len(updates), 1), probing.AMPLITUDES[0])
            computed[key] = rules.rates_of(motion.identity.rule, grads, updates)
        found.append(computed[key])
    return found


def clips(asked: Probe, moving: list[bool], micro: int) -> list[Clip | None]:
    """With which others each leaf is clipped, from what a spike in one leaf does to them."""
    found: list[Clip | None] = [None] * len(moving)
    waiting = [index for index, moves in enumerate(moving) if moves]
    group = 0
    while waiting:
        batch = waiting[: COPIES - 1]
        touched = touched_by(asked, [(index, LOUD) for index in batch], micro)
        for index, members in zip(batch, touched, strict=True):
            if index not in waiting:
                continue
            waiting.remove(index)
            if members:
                norm = clip_norm(asked, index, micro)
                for member in members & {*waiting, index} | {index}:
                    found[member] = Clip(norm, group)
                waiting = [other for other in waiting if other not in members]
                group += 1
    return found


def touched_by(asked: Probe, spikes: list[tuple[int, float]], micro: int) -> list[set[int]]:
    """For each spike (leaf, size), the leaves of which other elements change their update."""
    rows = probing.normal_grads()[:WARM]
    trees = [
        [probing.first_elements(s, np.tile(QUIET * row, (COPIES, 1))) for s in asked.shapes]
        for row in rows
    ]
    trees = [tree for tree in trees[:-1] for _ in range(micro)] + [trees[-1]] * micro
    spiked = [leaf.copy() for leaf in trees[-1]]
    for copy, (index, size) in enumerate(spikes):
        spiked[index][copy].reshape(-1)[0] = size
    trees[-micro:] = [spiked] * micro
    answers = probing.answers(asked, trees, probing.full(asked, np.zeros(COPIES)))
    found = []
    for copy, (index, _) in enumerate(spikes):
        members = set()
        for other, seen in enumerate(answers):
            now, usual = seen[-1, copy], seen[-1, COPIES - 1]
            if other == index:
                now, usual = now[1:], usual[1:]
            if np.any(np.abs(now - usual) > 1e-5 * np.abs(usual).max(initial=0.0)):
                members.add(other)
        found.append(members)
    return found


def clip_norm(asked: Probe, index: int, micro: int) -> float:
    """The size of a spike from which on others notice it; 0 where they always do."""
    low, high = 1e-4, LOUD
    for _ in range(4):
        sizes = np.geomspace(low, high, COPIES - 1)
        touched = touched_by(asked, [(index, float(size)) for size in sizes], micro)
        noticed = [bool(members) for members in touched]
        first = noticed.index(True) if any(noticed) else len(sizes) - 1
        if first == 0:
            return 0.0 if low == 1e-4 else float(f"{low:.2g}")
        low, high = float(sizes[first - 1]), float(sizes[first])
    return float(f"{np.sqrt(low * high):.2g}")


def matrices(asked: Probe, micro: int) -> dict[int, str]:
    """The leaves whose updates have singular values all alike, and the axes taken as rows."""
    rng = np.random.default_rng(16)
    one = [uneven(rng, shape.shape) for shape in asked.shapes]
    grads = [np.tile(leaf, (COPIES, *[1] * leaf.ndim)).astype(leaf.dtype) for leaf in one]
    updates = probing.whole_updates(asked, grads, probing.full(asked, np.zeros(COPIES)), 6 * micro)
    found = {}
    for index, (update, gradient) in enumerate(zip(updates, one, strict=True)):
        splits = [
            (spread(update[0], axis), spread(gradient, axis), axis)
            for axis in range(1, gradient.ndim)
        ]
        flat, before, axis = max(splits, default=(0.0, 0.0, 0))
        if flat > max(FLAT, 1.5 * before):
            rows, columns = (range(axis), range(axis, gradient.ndim))
            found[index] = f"orthogonalised(rows={[*rows]}, columns={[*columns]})"
    return found


def uneven(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A random array, as a matrix with singular values from 1 to 0.1."""
    array = rng.normal(size=shape)
    if array.ndim < 2 or array.size == 0:
        return array
    left, values, right = np.linalg.svd(array.reshape(shape[0], -1), full_matrices=False)
    return (left * np.geomspace(1.0, 0.1, len(values)) @ right).reshape(shape)


def spread(array: Any, axis: int) -> float:
    """The smallest singular value over the largest, with the axes before `axis` as rows."""
    rows = int(np.prod(array.shape[:axis]))
    values = np.linalg.svd(array.reshape(rows, -1), compute_uv=False)
    alone = len(values) < 2 or not values[0]
    return 0.0 if alone else float(values[-1] / values[0])
