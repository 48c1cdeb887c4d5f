"""What a run has seen: losses, metrics by epoch, evaluations, and which of these is the best.

>>> seen = History()
>>> seen.metrics.append({"accuracy": np.array([0.0, 1.0, 0.5, 1.0])})
>>> seen.ends.append(2)
>>> means(seen, start=0, step=4)
[(2, {'accuracy': 0.5}), (4, {'accuracy': 0.75})]
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.numerics import PyTree
from lecture_opt.training import contents
from lecture_opt.training.steps import Told

_WEIGHT = "denominator"


@dataclasses.dataclass
class History:
    """What a run has seen so far, in pieces that its chunks add."""

    losses: list[np.ndarray] = dataclasses.field(default_factory=list)
    metrics: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    ends: list[int] = dataclasses.field(default_factory=list)
    """The steps after which an epoch ended, where there are metrics."""
    evaluations: list[tuple[int, Any]] = dataclasses.field(default_factory=list)

    def add(self, told: Told, step: int, place: tuple[int, int], per_epoch: int | None) -> None:
        """Takes what the steps after `step` tell; `place` is where they end."""
        self.losses.append(told.loss)
        if told.metrics:
            self.metrics.append(told.metrics)
            end = step + told.loss.size
            if per_epoch is not None:
                self.ends += range(step - step % per_epoch + per_epoch, end + 1, per_epoch)
            elif place[1] == 0:
                self.ends.append(end)


class Snapshot(NamedTuple):
    """A run after some step, as a checkpoint holds it."""

    step: int
    place: tuple[int, int]
    """The epoch of the next step, and how many batches of it were drawn."""
    params: PyTree
    opt_state: PyTree
    history: History
    best: PyTree = None
    """With patience, the parameters at the lowest evaluation, at first those of the start."""


def arrays(history: History) -> dict[str, np.ndarray]:
    """The history as arrays by name."""
    metrics = {f"metrics {name}": column for name, column in columns(history).items()}
    losses = np.concatenate(history.losses)
    return {"losses": losses} | metrics | contents.stacked(history.evaluations)


def parted(
    seen: dict[str, np.ndarray],
) -> tuple[np.ndarray, list[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """The losses, the metrics and the evaluations in what `arrays` made."""
    start = "metrics "
    metrics = {n.removeprefix(start): a for n, a in seen.items() if n.startswith(start)}
    rest = {n: a for n, a in seen.items() if n != "losses" and not n.startswith(start)}
    return seen["losses"], [metrics] if metrics else [], rest


def columns(history: History) -> dict[str, np.ndarray]:
    """Each metric of each step."""
    names = history.metrics[0] if history.metrics else ()
    return {name: np.concatenate([part[name] for part in history.metrics]) for name in names}


def means(history: History, start: int, step: int) -> list[tuple[int, dict[str, float]]]:
    """The metrics' means over each epoch, and the step that it ends at; the last may be partial.

    Batches count alike, or as their metric "denominator" says.
    """
    values = {name: np.asarray(c, np.float64) for name, c in columns(history).items()}
    if not values:
        return []
    weights = values.pop(_WEIGHT, np.ones(step - start))
    ends = [*history.ends, *([step] if step not in history.ends[-1:] else [])]
    found = []
    for begun, end in zip([start, *ends], ends, strict=False):
        part = slice(begun - start, end - start)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = {n: float(np.average(c[part], weights=weights[part])) if weights[part].any()
                    else math.nan for n, c in values.items()}  # fmt: skip
        found.append((end, mean))
    return found


def latest(history: History, start: int, step: int) -> dict[str, float]:
    """The last of `means`, of which only the pieces of its epoch are read."""
    begun = max([start, *(end for end in history.ends[-2:] if end < step)])
    pieces, covered = 0, 0
    while pieces < len(history.metrics) and covered < step - begun:
        pieces += 1
        covered += len(next(iter(history.metrics[-pieces].values())))
    if not pieces:
        return {}
    epoch = History(metrics=history.metrics[-pieces:], ends=[begun])
    return means(epoch, step - covered, step)[-1][1]


def best(history: History) -> int | None:
    """Which evaluation is the lowest, the first of equals; `None` where there are but NaNs."""
    scores = [_score(value) for _, value in history.evaluations]
    known = [i for i, score in enumerate(scores) if not math.isnan(score)]
    return min(known, key=scores.__getitem__) if known else None


def stalled(history: History) -> int:
    """How many evaluations there were since the best."""
    at = best(history)
    return len(history.evaluations) - (0 if at is None else at + 1)


def _score(value: Any) -> float:
    if not jax.tree_util.all_leaves([value]) or np.shape(value) != () or np.iscomplexobj(value):
        raise TypeError(
            f"fit: patience is given and eval_fn gives shape {jax.tree.map(jnp.shape, value)}; "
            "wanted one number, of which the lowest is the best"
        )
    return float(value)
