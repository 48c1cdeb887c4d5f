"""One optimizer on one task: tuned over its draws, then reported at the one that was chosen."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from lecture_opt import specs
from lecture_opt.compare import results, space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.statistics import estimates
from lecture_opt.compare.runs import engine, entrants, hosted, machine
from lecture_opt.compare.runs.data import Data
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.compare.runs.examine import Examined
from lecture_opt.compare.runs.guard import users_code
from lecture_opt.compare.runs.store import Stage
from lecture_opt.numerics import PyTree
from lecture_opt.problems import bound
from lecture_opt.problems.loop import Loop, batch_size, evaluated_steps
from lecture_opt.problems.parts import PARTS, Pool

Settings = Mapping[str, np.ndarray]

TWIN = 500_000
"""How far the seeds of the baseline's twin lie from the study's."""


@dataclass(frozen=True, eq=False)
class Run:
    """One optimizer on one task, to be tuned and then reported.

    Attributes:
        spec: The optimizer as it was named.
        entrant: The optimizer on the task's loop.
        examined: What was seen of the loop.
        data: What all optimizers of the task share.
        protocol: What is the same for all.
        kept: Computes a stage, or finds what an earlier process computed.
        between: Called at each evaluation; an exception that it raises ends the training.
    """

    spec: specs.OptimizerSpec
    entrant: Entrant
    examined: Examined
    data: Data
    protocol: Protocol
    kept: Stage
    between: Callable[[], None]

    @functools.cached_property
    def tuned(self) -> results.Tuned:
        """Every setting with every tuning seed."""
        ranges = self.protocol.space(self.spec)
        return self._tuned("tuned", ranges, self.protocol.tuning_seeds)

    @functools.cached_property
    def measured(self) -> tuple[results.Measured, Mapping[str, float]]:
        """The tuned, and what is reported of the chosen; the mean metrics of untrained runs."""
        return self._reported("reported", self.tuned, self.protocol.reporting_seeds)

    @functools.cached_property
    def twin(self) -> results.Measured | None:
        """The same under other seeds and another unit of rate; `None` for settings of one pair."""
        if self.entrant.settings:
            return None
        other = replace(self.protocol, first_seed=self.protocol.first_seed + TWIN)
        ranges = self.protocol.space(self.spec)
        first = self.protocol.draws - self.protocol.refined
        rate = space.shifted(ranges["learning_rate"], first)
        tuned = self._tuned("twin tuned", {**ranges, "learning_rate": rate}, other.tuning_seeds)
        return self._reported("twin reported", tuned, other.reporting_seeds)[0]

    def _tuned(
        self, stage: str, ranges: Mapping[str, specs.Range], seeds: Sequence[int]
    ) -> results.Tuned:
        arrays = dict(self.kept(stage, lambda: self._tune(ranges, seeds)))
        validation, diverged = arrays.pop("validation"), arrays.pop("diverged")
        settings = {name.removeprefix("="): values for name, values in arrays.items()}
        return results.Tuned({name: settings[name] for name in ranges}, validation, diverged)

    def _reported(
        self, stage: str, tuned: results.Tuned, seeds: Sequence[int]
    ) -> tuple[results.Measured, Mapping[str, float]]:
        arrays = dict(self.kept(stage, lambda: self._report(tuned, seeds)))
        seconds, sizes = arrays.pop("seconds").tolist(), arrays.pop("bytes").tolist()
        untrained = dict(zip(PARTS[1:], arrays.pop("untrained").tolist(), strict=True))
        cost = results.Cost(*seconds, *sizes)
        return results.Measured(tuned, results.Reported(**arrays), cost), untrained

    def _tune(
        self, ranges: Mapping[str, specs.Range], seeds: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """A coarse look, then settings around the best of it; the keys of settings begin with =."""
        more = 0 if self.entrant.settings else self.protocol.refined
        count = self.protocol.draws - more
        settings = space.draw(ranges, count)
        found = self._try(settings, seeds)
        if more:
            look = self.protocol.planned or len(seeds)  # later seeds change no setting
            coarse = results.Tuned(settings, found["validation"][:look], found["diverged"][:look])
            best = int(results.choose(coarse, higher_is_better=self._higher)[0])
            around = space.refine(ranges, count, best, more)
            again = self._try(around, seeds)
            found = {k: np.concatenate([v, again[k]], axis=1) for k, v in found.items()}
            settings = {k: np.concatenate([v, around[k]]) for k, v in settings.items()}
        return {**found, **{f"={name}": values for name, values in settings.items()}}

    def _try(self, settings: Settings, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        count = len(next(iter(settings.values())))
        trained, _ = self._train(settings, range(count), seeds, test_at=None)
        curves = trained.validation.reshape(-1, trained.validation.shape[-1])
        place = estimates.taken_at(curves, self.protocol.choose, higher_is_better=self._higher)
        taken = np.take_along_axis(curves, place[:, None], axis=1)
        return {
            "validation": taken.reshape(len(seeds), count),
            "diverged": trained.diverged,
        }

    @property
    def _higher(self) -> bool:
        return self.entrant.loop.higher_is_better

    def _report(self, tuned: results.Tuned, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        chosen = results.choose(tuned, higher_is_better=self._higher)
        at = self.protocol.choose
        trained, clocks = self._train(tuned.settings, chosen.tolist(), seeds, test_at=at)
        arrays = {
            "losses": trained.losses,
            "validation": trained.validation,
            "test": np.where(trained.diverged, trained.untrained[..., 1], trained.test),
            "diverged": trained.diverged,
        }
        return {
            "settings": chosen,
            "seconds": clocks,
            "bytes": np.array(_bytes(self)),
            "untrained": trained.untrained[:, 0].mean(axis=0, dtype=np.float64),
            **{name: array.swapaxes(0, 1) for name, array in arrays.items()},
        }

    def _train(
        self,
        settings: Settings,
        chosen: Sequence[int],
        seeds: Sequence[int],
        *,
        test_at: str | None,
    ) -> tuple[engine.Trained, np.ndarray]:
        """(seeds, settings) runs of the chosen settings; what clocks said, as in `Cost`."""
        groups = [tuple(chosen)]
        if self.entrant.settings:  # a program holds a few settings
            most = machine.runs_at_once(self.entrant, len(chosen)) if self.entrant.build else 1
            groups = [tuple(chosen[i : i + most]) for i in range(0, len(chosen), most)]
        made = (self._group(settings, group, seeds, test_at) for group in groups)
        trained, clocks = zip(*made, strict=True)
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *trained)
        return joined, np.sum(clocks, axis=0) / np.array([len(groups), 1, 1, 1])

    def _group(
        self, settings: Settings, group: tuple[int, ...], seeds: Sequence[int], test_at: str | None
    ) -> tuple[engine.Trained, list[float]]:
        """One program's part of `_train`."""
        count, program = len(group) * len(seeds), None
        values = {name: np.tile(v[list(group)], len(seeds)) for name, v in settings.items()}
        runs = np.repeat(seeds, len(group)).tolist()
        entrant, between = self.entrant, self.between
        if not entrant.driver.host:
            entrant, program = self._program(group if entrant.settings else ())
        began = time.perf_counter()
        if program is None:
            trained = hosted.train(
                entrant, self.data, values, runs, test_at=test_at, between=between
            )
            made, size = (0.0, 0.0), 1
        else:
            given = {} if entrant.settings else values
            trained = engine.train(
                program, entrant, self.data, given, runs, test_at=test_at, between=between
            )
            made, size = (program.trace_seconds, program.compile_seconds), program.runs
        seconds = time.perf_counter() - began
        done = -(-count // size) * size * entrant.loop.steps
        shaped = jax.tree.map(lambda x: x.reshape(len(seeds), len(group), *x.shape[1:]), trained)
        return shaped, [seconds / done, seconds, *made]

    @functools.cache  # noqa: B019  a cell lives as long as its programs
    def _program(self, group: tuple[int, ...]) -> tuple[Entrant, engine.Program]:
        """The compiled training; of a group of settings, where these can't be tracers."""
        wanted = self.protocol.draws * len(self.protocol.tuning_seeds)
        entrant, runs = self.entrant, machine.runs_at_once(self.entrant, wanted)
        if group:
            entrant = entrants.with_settings(entrant, [entrant.settings[i] for i in group])
            runs = len(group) * max(1, runs // len(group))
        return entrant, engine.build(entrant, self.data, runs=runs)


def facts(
    loop: Loop,
    examined: Examined,
    untrained: Mapping[str, float],
    fingerprint: str,
    notes: Sequence[str],
) -> results.Facts:
    """What the results say of the task apart from its runs."""
    return results.Facts(
        name=loop.name,
        description=loop.description,
        metric=loop.metric_name,
        higher_is_better=loop.higher_is_better,
        examples={part: size or 0 for part, size in zip(PARTS, loop.sizes(), strict=True)},
        parameters=sum(leaf.size for leaf in jax.tree.leaves(examined.params)),
        untrained=untrained,
        fingerprint=fingerprint,
        pooled=isinstance(loop.data, Pool),
        batch_size=batch_size(loop),
        steps=evaluated_steps(loop),
        goal=loop.target,
        notes=notes,
    )


def _bytes(run: Run) -> tuple[int, int]:
    """The sizes of the optimizer's state and of the params of one run."""
    entrant, params = run.entrant, _size(run.examined.params)
    if entrant.build is None:
        held = sum(a.size * a.dtype.itemsize for a in entrant.layout if a is not None)
        return max(held - params, 0), params
    setting = {name: values[0].item() for name, values in run.tuned.settings.items()}
    with users_code():
        _, state = bound.trained_by(entrant.loop, entrant.made(setting))
    return _size(state), params


def _size(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
