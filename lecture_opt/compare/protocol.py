"""What is fixed before any run: one frozen object, saved with the results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lecture_opt import specs
from lecture_opt.compare import schedules, space
from lecture_opt.problems.loop import Loop

FIRST_REPORTING_SEED = 1_000_000
OVERRIDES = ("steps", "batch_size", "evaluations")


@dataclass(frozen=True)
class Protocol:
    """The same for every optimizer.

    Attributes:
        steps: Optimizer steps of a run; `None` takes those that each task says.
        batch_size: Examples of a minibatch, likewise.
        evaluations: How many times the validation metric is taken, likewise.
        draws: Settings tried for each optimizer, from its own search space: a coarse look, then
            settings around the best of it.
        seeds: How many report, numbered from a million; those that tune are numbered from 0.
        tuning_seed_count: How many seeds tune.
        level: Of every interval; its complement is the error rate of every verdict.
        baseline: Name of the optimizer that the others are measured against.
        target: Validation metric to reach; `None` takes the task's own, else what the best baseline
            reaches.
        rates: Range of learning rates for optimizers that declare no range of their own.
        schedule: The shape that every learning rate takes over a run, as in "warmup_cosine(0.05)",
            a rise over 5 % of the steps; what is tuned is its peak. `None` leaves them constant.
        margin: The smallest difference of the test metric that matters; `None` takes the noise
            floor of each task.
        relative: Whether `margin` is a share of the baseline's metric.
        planned: Seeds of the first look, where this study extends an earlier one.
        first_seed: Where the reporting seeds start, so that several machines may take different
            ones. All tune on the same seeds, and so report the same settings.
        choose: When the metric of a run is taken, in tuning and in the report: "last", after the
            last step, or "best", at the run's best validation metric.
        joined: (first, count) of the reporting seeds of studies that were merged into this one.
    """

    steps: int | None = None
    batch_size: int | None = None
    evaluations: int | None = None
    draws: int = 16
    seeds: int = 10
    tuning_seed_count: int = 10
    level: float = 0.95
    baseline: str = "optax:adam"
    target: float | None = None
    rates: specs.Range = space.LEARNING_RATES
    schedule: str | None = None
    margin: float | None = None
    relative: bool = False
    planned: int | None = None
    first_seed: int = 0
    choose: str = "last"
    joined: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, where the protocol makes no sense."""
        for name in (*OVERRIDES, "draws", "tuning_seed_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Protocol: {name}={value}; wanted 1 at least")
        if self.choose not in ("last", "best"):
            raise ValueError(f"Protocol: choose={self.choose!r}; wanted 'last' or 'best'")
        if not 2 <= self.seeds < FIRST_REPORTING_SEED:
            raise ValueError(f"Protocol: seeds={self.seeds}; intervals want two at least")
        if not 0 < self.level < 1:
            raise ValueError(f"Protocol: level={self.level}; wanted between 0 and 1")
        if self.margin is not None and not 0 < self.margin < np.inf:
            raise ValueError(f"Protocol: margin={self.margin}; wanted a positive number")
        if self.schedule is not None:
            schedules.parse(self.schedule)
        if self.target is not None and not np.isfinite(self.target):
            raise ValueError(f"Protocol: target={self.target}; wanted a finite metric")

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds that choose the setting, by the validation metric."""
        return tuple(range(self.tuning_seed_count))

    @property
    def reporting_seeds(self) -> tuple[int, ...]:
        """Seeds that give every number reported at the chosen setting."""
        return tuple(
            FIRST_REPORTING_SEED + first + i for first, count in self.ranges for i in range(count)
        )

    @property
    def ranges(self) -> Sequence[Sequence[int]]:
        """(first, count) of the reporting seeds of each study that was joined."""
        return self.joined or ((self.first_seed, self.seeds),)

    @property
    def refined(self) -> int:
        """How many of the draws lie around the best of the others."""
        return 2 * (3 * self.draws // 16)

    def error_rate(self, number: int = 1) -> float:
        """Of all verdicts together on the set of candidates of this number.

        The first set that is judged in a folder spends nine tenths of 1 - level, and the later ones
        share the rest, 1 / (j (j - 1)) of it to the j-th: all ever judged keep the level
        (alpha-spending; Foster and Stine, 2008).
        """
        share = 0.9 if number == 1 else 0.1 / (number * (number - 1))
        return (1 - self.level) * share

    def applied(self, loop: Loop) -> Loop:
        """The loop with the steps, evaluations and examples of a batch that are given here."""
        given = {name: getattr(self, name) for name in OVERRIDES}
        return replace(loop, **{name: v for name, v in given.items() if v is not None})

    def space(self, spec: specs.OptimizerSpec) -> dict[str, specs.Range]:
        """The optimizer's search space."""
        return space.of(spec, self.rates)

    def is_baseline(self, spec: specs.OptimizerSpec) -> bool:
        """Whether the target may come from this optimizer: optax's, and the named one."""
        return spec.name == self.baseline or spec.name.startswith("optax:")
