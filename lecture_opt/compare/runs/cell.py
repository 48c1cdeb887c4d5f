"""One optimizer on one task: tuned over its draws, then reported at the one that was chosen."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lecture_opt import specs
from lecture_opt.compare import results, space
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.runs import engine
from lecture_opt.compare.runs.store import Stage
from lecture_opt.environment import fast_jit, lenient
from lecture_opt.problems.task import Task, examples


class Prepared(NamedTuple):
    """A task with what its seeds fix; `untrained` are the initial params' metrics by seed."""

    task: Task
    start: engine.Start
    untrained_validation: np.ndarray
    untrained_test: np.ndarray
    evaluate: Callable[..., jax.Array]


def prepare(task: Task, protocol: Protocol) -> Prepared:
    """The start of every seed, and what the initial params are worth."""
    start = engine.prepare(
        task,
        seeds=protocol.tuning_seeds + protocol.reporting_seeds,
        steps=protocol.steps,
        batch_size=protocol.batch_size,
        evaluations=protocol.evaluations,
    )
    evaluate = fast_jit(jax.vmap(task.metric, in_axes=(0, None)))
    first = len(protocol.tuning_seeds)
    reporting = jax.tree.map(lambda leaf: leaf[first:], start.params)
    with lenient():
        validation = np.asarray(evaluate(reporting, task.validation))
        test = np.asarray(evaluate(reporting, task.test))
    return Prepared(task, start, validation, test, evaluate)


def facts(prepared: Prepared, protocol: Protocol) -> results.Facts:
    """What the results say of the task apart from its runs."""
    task, seeds = prepared.task, len(protocol.tuning_seeds) + protocol.seeds
    return results.Facts(
        name=task.name,
        description=task.description,
        metric=task.metric_name,
        higher_is_better=task.higher_is_better,
        examples={
            "train": examples(task.train),
            "validation": examples(task.validation),
            "test": examples(task.test),
        },
        parameters=sum(leaf.size for leaf in jax.tree.leaves(prepared.start.params)) // seeds,
        untrained={
            "validation": float(prepared.untrained_validation.mean()),
            "test": float(prepared.untrained_test.mean()),
        },
    )


class Cell:
    """One optimizer on one task: compiled when first needed, and only then."""

    def __init__(
        self,
        prepared: Prepared,
        facts: results.Facts,
        spec: specs.OptimizerSpec,
        protocol: Protocol,
        kept: Stage,
    ) -> None:
        """`kept` computes a stage, or finds what an earlier process computed."""
        self.prepared, self.facts, self.spec, self.protocol = prepared, facts, spec, protocol
        self._program: engine.Program | None = None
        self._kept = kept
        self._draws = space.draw(protocol.space(spec), protocol.draws)

    def tuned(self) -> results.Tuned:
        """Every setting with every tuning seed."""
        return results.Tuned(self._draws, **self._kept("tuned", self._tune))

    def measured(self) -> results.Measured:
        """All that is said of the cell: tuned, and reported at the settings that tuning chose."""
        tuned = self.tuned()
        arrays = dict(self._kept("reported", self._report))
        seconds, sizes = arrays.pop("seconds").tolist(), arrays.pop("bytes").tolist()
        cost = results.Cost(*seconds, *sizes)
        return results.Measured(tuned, results.Reported(**arrays), cost)

    def _tune(self) -> dict[str, np.ndarray]:
        seeds, draws = len(self.protocol.tuning_seeds), self.protocol.draws
        hyperparameters = {name: np.tile(v, seeds) for name, v in self._draws.items()}
        trained = self._train(hyperparameters, np.repeat(np.arange(seeds), draws))
        return {
            "validation": trained.validation[:, -1].reshape(seeds, draws),
            "diverged": trained.diverged.reshape(seeds, draws),
        }

    def _report(self) -> dict[str, np.ndarray]:
        chosen = results.choose(self.tuned(), higher_is_better=self.facts.higher_is_better)
        count, first = self.protocol.seeds, len(self.protocol.tuning_seeds)
        hyperparameters = {name: np.repeat(v[chosen], count) for name, v in self._draws.items()}
        program = self._compiled()
        began = time.perf_counter()
        trained = self._train(hyperparameters, np.tile(first + np.arange(count), len(chosen)))
        seconds = time.perf_counter() - began
        with lenient():
            test = np.asarray(self.prepared.evaluate(trained.params, self.prepared.task.test))
        untrained = np.tile(self.prepared.untrained_test, len(chosen))
        calls = -(-len(test) // program.runs)
        clocks = [
            seconds / (calls * program.runs * self.protocol.steps),
            seconds,
            program.trace_seconds,
            program.compile_seconds,
        ]
        arrays = {
            "losses": trained.losses,
            "validation": trained.validation,
            "test": np.where(trained.diverged, untrained, test),
            "diverged": trained.diverged,
        }
        shaped = {k: v.reshape(len(chosen), count, *v.shape[1:]) for k, v in arrays.items()}
        return {"settings": chosen, "seconds": np.array(clocks), "bytes": self._bytes(), **shaped}

    def _train(self, hyperparameters: dict[str, np.ndarray], seeds: np.ndarray) -> engine.Trained:
        prepared = self.prepared
        return engine.train(self._compiled(), prepared.task, prepared.start, hyperparameters, seeds)

    def _compiled(self) -> engine.Program:
        if self._program is None:
            self._program = engine.build(
                self.prepared.task,
                lambda **scalars: specs.build(self.spec, **scalars),
                list(self._draws),
                self.prepared.start,
                runs=engine.runs_at_once(
                    self.prepared.start, self.protocol.draws * len(self.protocol.tuning_seeds)
                ),
            )
        return self._program

    def _bytes(self) -> np.ndarray:
        params = jax.tree.map(lambda leaf: leaf[0], self.prepared.start.params)
        scalars = {name: np.float32(v[0]) for name, v in self._draws.items()}
        with lenient():
            state = jax.eval_shape(lambda p: specs.build(self.spec, **scalars).init(p), params)
        return np.array([_bytes(state), _bytes(params)])


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
