"""One optimizer on one task: tuned over its draws, then reported at the one that was chosen."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from lecture_opt import specs
from lecture_opt.compare import results, space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.statistics import estimates
from lecture_opt.compare.runs import costs, engine, entrants, hosted, machine
from lecture_opt.compare.runs.data import Data
from lecture_opt.compare.runs.entrants import Entrant
from lecture_opt.compare.runs.examine import Examined
from lecture_opt.compare.runs.stage import Stage
from lecture_opt.compare.runs.store import Kept
from lecture_opt.numerics import tree_bytes
from lecture_opt.once import once
from lecture_opt.problems.loop import Loop, batch_size, evaluated_steps
from lecture_opt.problems.parts import PARTS, Pool

Settings = Mapping[str, np.ndarray]

TWIN = 500_000
"""How far the seeds of the baseline's twin lie from the study's."""

LOOK = 5
"""How many tuning seeds say where to look closer, so that more seeds change no setting."""


class Ran(NamedTuple):
    """What runs that report gave.

    Attributes:
        arrays: Of all of them.
        untrained: The mean metrics of their initial states.
        seconds: What they took, and what tracing and compiling did.
    """

    arrays: results.Reported
    untrained: Mapping[str, float]
    seconds: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Run:
    """One optimizer on one task, to be tuned and then reported.

    Attributes:
        spec: The optimizer as it was named.
        entrant: The optimizer on the task's loop.
        examined: What was seen of the loop.
        data: What all optimizers of the task share.
        protocol: What is the same for all.
        kept: Computes what seeds give, or finds what an earlier process computed.
        between: Called before each evaluation with the stage and the share of it that is done; an
            exception that it raises ends the training.
    """

    spec: specs.OptimizerSpec
    entrant: Entrant
    examined: Examined
    data: Data
    protocol: Protocol
    kept: Kept
    between: Callable[[str, float], None]

    @once
    def tuned(self) -> results.Tuned:
        """Every setting with every tuning seed."""
        return self._tuned("tuned", self.protocol.space(self.spec), self.protocol.tuning_seeds)

    @once
    def reported(self) -> Ran:
        """What the chosen settings, and those that other tuning seeds might choose, gave."""
        return self._reported("reported", self.tuned, self.protocol.reporting_seeds)

    @once
    def twin(self) -> tuple[results.Tuned, Ran] | None:
        """The same under other seeds and another unit of rate; `None` for settings of one pair."""
        if self.entrant.settings:
            return None
        ranges = self.protocol.space(self.spec)
        first = self.protocol.draws - self.protocol.refined
        ranges["learning_rate"] = space.shifted(ranges["learning_rate"], first)
        tuning = [TWIN + seed for seed in self.protocol.tuning_seeds]
        reporting = [TWIN + seed for seed in self.protocol.reporting_seeds]
        tuned = self._tuned("twin tuned", ranges, tuning)
        return tuned, self._reported("twin reported", tuned, reporting)

    @once
    def cost(self) -> results.Cost:
        """What clocks and sizes say; a step is timed now, so nothing else should go on."""
        place, entrant = int(self.reported.arrays.settings[0]), self.entrant
        setting = {name: values[place].item() for name, values in self.tuned.settings.items()}

        def compute(_: Sequence[int], seeds: Sequence[int]) -> list[dict[str, np.ndarray]]:
            program, made = None, entrant
            if not entrant.driver.host:
                program, made = self._made((place,) if entrant.settings else ())
            seconds = costs.step_seconds(program, made, self.data, setting, seeds[0])
            return [{"seconds": np.array([seconds])}]

        name = f"timed-{_digest(self.tuned.settings, [place])}"
        timed = float(self.kept.seeds("timed", [name], [0], compute)[0]["seconds"][0])
        parameters = tree_bytes(self.examined.params)
        state = costs.state_bytes(entrant, setting, parameters)
        return results.Cost(timed, *self.reported.seconds, state, parameters)

    def _tuned(
        self, stage: str, ranges: Mapping[str, specs.Range], seeds: Sequence[int]
    ) -> results.Tuned:
        """A coarse look, then settings around the best of it, which the first seeds say."""
        work = Stage(self.kept, self.between, stage, self.protocol.draws * len(seeds))
        more = 0 if self.entrant.settings else self.protocol.refined
        count = self.protocol.draws - more
        settings = space.draw(ranges, count)
        found = self._try(work, settings, seeds)
        if more:
            look = {name: values[:LOOK] for name, values in found.items()}
            coarse = results.Tuned(settings, look["validation"], look["diverged"])
            best = int(results.choose(coarse, higher_is_better=self._higher)[0])
            around = space.refine(ranges, count, best, more)
            again = self._try(work, around, seeds)
            found = {k: np.concatenate([v, again[k]], axis=1) for k, v in found.items()}
            settings = {k: np.concatenate([v, around[k]]) for k, v in settings.items()}
        return results.Tuned(settings, found["validation"], found["diverged"], more)

    def _try(self, stage: Stage, settings: Settings, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """(seeds, settings) validation metrics that choose, and which runs diverged."""
        places = range(len(next(iter(settings.values()))))

        def compute(_: Sequence[int], lacking: Sequence[int]) -> list[dict[str, np.ndarray]]:
            trained, _clocks = self._train(stage, settings, places, lacking)
            curves = trained.validation.reshape(-1, trained.validation.shape[-1])
            choose, higher = self.protocol.choose, self._higher
            taken = estimates.taken(curves, curves, choose, higher_is_better=higher)
            return [{"validation": taken.reshape(len(lacking), -1), "diverged": trained.diverged}]

        names = [f"tuned-{_digest(settings, places)}"]
        return self.kept.seeds(stage.name, names, seeds, compute)[0]

    def _reported(self, stage: str, tuned: results.Tuned, seeds: Sequence[int]) -> Ran:
        chosen = results.choose(tuned, higher_is_better=self._higher)
        work = Stage(self.kept, self.between, stage, len(chosen) * len(seeds))

        def compute(which: Sequence[int], lacking: Sequence[int]) -> list[dict[str, np.ndarray]]:
            return self._report(work, tuned.settings, chosen[list(which)].tolist(), lacking)

        names = [f"reported-{_digest(tuned.settings, [place])}" for place in chosen]
        found = self.kept.seeds(stage, names, seeds, compute)
        stacked = {name: np.stack([one[name] for one in found]) for name in found[0]}
        clocks, untrained = stacked.pop("clocks"), stacked.pop("untrained")[0].mean(axis=0)
        means = dict(zip(PARTS[1:], untrained.tolist(), strict=True))
        trace, compiling = clocks[..., 1:].max(axis=(0, 1)).tolist()
        seconds = float(clocks[..., 0].sum()), trace, compiling
        return Ran(results.Reported(chosen, **stacked), means, seconds)

    def _report(
        self, stage: Stage, settings: Settings, places: Sequence[int], seeds: Sequence[int]
    ) -> list[dict[str, np.ndarray]]:
        """For each setting its arrays, seeds first; the clock is shared out among all runs."""
        at = self.protocol.choose
        trained, (run, *made) = self._train(stage, settings, places, seeds, test_at=at)
        shares = np.array([run / (len(places) * len(seeds)), *made])
        test = np.where(trained.diverged, trained.untrained[..., 1], trained.test)
        arrays = {
            "losses": trained.losses,
            "validation": trained.validation,
            "test": test,
            "diverged": trained.diverged,
            "untrained": trained.untrained.astype(np.float64),
        }
        return [
            {name: array[:, i] for name, array in arrays.items()}
            | {"clocks": np.tile(shares, (len(seeds), 1))}
            for i in range(len(places))
        ]

    @property
    def _higher(self) -> bool:
        return self.entrant.loop.higher_is_better

    def _train(
        self,
        stage: Stage,
        settings: Settings,
        chosen: Sequence[int],
        seeds: Sequence[int],
        *,
        test_at: str | None = None,
    ) -> tuple[engine.Trained, np.ndarray]:
        """(seeds, settings) runs of the chosen settings; seconds as in `Ran`."""
        groups = [tuple(chosen)]
        if self.entrant.settings:  # a program holds a few settings
            most = machine.runs_at_once(self.entrant, [len(chosen)]) if self.entrant.build else 1
            groups = [tuple(chosen[i : i + most]) for i in range(0, len(chosen), most)]
        made = (self._group(stage, settings, group, seeds, test_at) for group in groups)
        trained, clocks = zip(*made, strict=True)
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *trained)
        return joined, np.sum(clocks, axis=0)

    def _group(
        self,
        stage: Stage,
        settings: Settings,
        group: tuple[int, ...],
        seeds: Sequence[int],
        test_at: str | None,
    ) -> tuple[engine.Trained, list[float]]:
        """One program's part of `_train`."""
        program = None
        values = {name: np.tile(v[list(group)], len(seeds)) for name, v in settings.items()}
        runs = np.repeat(seeds, len(group)).tolist()
        entrant, before = self.entrant, stage.seconds
        if not entrant.driver.host:
            program, entrant = self._made(group if entrant.settings else ())
        size = 1 if program is None else program.runs
        options: Any = {
            "test_at": test_at,
            "curve": test_at is not None or self.protocol.choose != "last",
            "keep": stage.keep,
            "between": lambda share: stage.between(share * size),
        }
        if program is None:
            trained = hosted.train(entrant, self.data, values, runs, **options)
            made = (0.0, 0.0)
        else:
            given = {} if entrant.settings else values
            trained = engine.train(program, entrant, self.data, given, runs, **options)
            made = (program.trace_seconds, program.compile_seconds)
        shaped = jax.tree.map(lambda x: x.reshape(len(seeds), len(group), *x.shape[1:]), trained)
        return shaped, [stage.seconds - before, *made]

    @once
    def _programs(self) -> dict[tuple[int, ...], tuple[engine.Program, Entrant]]:
        """Those that were made, by their groups; they live as long as the cell."""
        return {}

    def _made(self, group: tuple[int, ...]) -> tuple[engine.Program, Entrant]:
        """The compiled training; of a group of settings, where these can't be tracers."""
        if group not in self._programs:
            self._programs[group] = self._program(group)
        return self._programs[group]

    def _program(self, group: tuple[int, ...]) -> tuple[engine.Program, Entrant]:
        tries, more, seeds = self.protocol.draws, self.protocol.refined, self.protocol.tuning_seeds
        calls = [(tries - more) * len(seeds), more * len(seeds), self.protocol.seeds]
        entrant, runs = self.entrant, machine.runs_at_once(self.entrant, calls)
        if group:
            entrant = entrants.with_settings(entrant, [entrant.settings[i] for i in group])
            runs = len(group) * max(1, runs // len(group))
        program, room = engine.build(entrant, self.data, runs=runs), machine.room_bytes()
        least = max(len(group), jax.local_device_count())
        if program.memory_bytes > room and runs > least:
            runs = max(least, least * int(runs * room / program.memory_bytes / least))
            program = engine.build(entrant, self.data, runs=runs)
        return program, entrant


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


def _digest(settings: Settings, places: Sequence[int]) -> str:
    """What tells these settings from others."""
    values = {name: column[list(places)].tolist() for name, column in settings.items()}
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]
