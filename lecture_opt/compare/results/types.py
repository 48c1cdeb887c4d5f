"""What a comparison measures, and what its results hold: frozen, built once.

    Measured     what the runs of one optimizer on one task gave; the engine fills it
    Study        everything that is reported: tasks, their cells, what they say together

A `Study` becomes JSON in `stored.py` under the names of its fields; README.md beside the package
describes them. A number that does not exist is NaN here and `null` there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lecture_opt import specs
from lecture_opt.compare.protocol import Protocol

# ---- what runs give ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What the results say about a task apart from its runs.

    Attributes:
        name, description: As `--task` names it; one sentence.
        metric: What the validation and test numbers are.
        higher_is_better: The metric's direction.
        examples: Part of the data ("train", "validation", "test") to its number of examples.
        parameters: How many numbers the model has.
        untrained: "validation" and "test": mean metric of the initial params.
    """

    name: str
    description: str
    metric: str
    higher_is_better: bool
    examples: Mapping[str, int]
    parameters: int
    untrained: Mapping[str, float]


@dataclass(frozen=True)
class Tuned:
    """Every setting with every tuning seed.

    Attributes:
        settings: Hyperparameter to its values, (settings,) each.
        validation: (tuning seeds, settings) validation metric that chooses the setting.
        diverged: (tuning seeds, settings).
    """

    settings: Mapping[str, np.ndarray]
    validation: np.ndarray
    diverged: np.ndarray


@dataclass(frozen=True)
class Reported:
    """The settings that are reported, the chosen one first, with every reporting seed.

    Attributes:
        settings: (reported,) places in `Tuned.settings`.
        losses: (reported, reporting seeds, evaluations) training loss, NaN once diverged.
        validation: (reported, reporting seeds, evaluations), likewise.
        test: (reported, reporting seeds); a diverged run counts as untrained.
        diverged: (reported, reporting seeds).
    """

    settings: np.ndarray
    losses: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    diverged: np.ndarray


@dataclass(frozen=True)
class Cost:
    """What clocks and sizes said of the reported runs.

    Attributes:
        step_seconds: One step of one run, in the batch of all.
        run_seconds: All reported runs.
        trace_seconds, compile_seconds: Making the program.
        state_bytes, parameter_bytes: Of one run.
    """

    step_seconds: float
    run_seconds: float
    trace_seconds: float
    compile_seconds: float
    state_bytes: int
    parameter_bytes: int


@dataclass(frozen=True)
class Measured:
    """All that the runs of one optimizer on one task gave."""

    tuned: Tuned
    reported: Reported
    cost: Cost


# ---- numbers with their intervals --------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its interval at `protocol.level`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample(Estimate):
    """A mean over reporting seeds, and the `values` per seed."""

    values: np.ndarray


@dataclass(frozen=True)
class Gain(Sample):
    """How much better than the baseline, per seed; positive is better in either direction.

    Attributes:
        wins, ties, losses: Seeds.
        p: Exact paired permutation test.
        p_holm: With Holm's correction over the task's comparisons.
        verdict: "better", "worse" or "cannot be told apart".
        seeds_needed: Would show a difference of this size four times in five; `None` where no
            number would.
        sentence: All that in words.
    """

    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float
    verdict: str
    seeds_needed: int | None
    sentence: str


@dataclass(frozen=True)
class Steps:
    """Steps until the validation metric reaches the target: the median and its interval.

    Attributes:
        median, low, high: Not finite beyond the last step.
        reached: Runs that reached it.
        restricted_mean: A run that never does counts as all steps.
        values: (reporting seeds,) not finite where a run never does.
    """

    median: float
    low: float
    high: float
    reached: int
    restricted_mean: float
    values: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A number against `Task.steps`: quartiles over the reporting seeds, and each run."""

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: np.ndarray


@dataclass(frozen=True)
class Spread:
    """Means with their quartiles."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Validation(Spread):
    """Over tuning seeds, for each setting; `runs` is (tuning seeds, settings)."""

    runs: np.ndarray


# ---- one optimizer on one task -----------------------------------------------------------------


@dataclass(frozen=True)
class WorkingRange:
    """Learning rates whose validation metric is within 5 % of the best.

    Attributes:
        decades, low, high: Width and ends; NaN where more than the rate is tuned.
        share: Of all settings, within 5 %.
    """

    decades: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Diverged:
    """The share of the tuning runs, and the number of reporting runs."""

    tuning: float
    reporting: int


@dataclass(frozen=True)
class Tuning:
    """What tuning saw: `draws` is hyperparameter to values, `diverged` runs for each draw."""

    draws: Mapping[str, np.ndarray]
    validation: Validation
    diverged: np.ndarray


@dataclass(frozen=True)
class Budget:
    """The best of 1, 2, ... `draws` taken at random from all."""

    draws: np.ndarray
    validation: Spread


@dataclass(frozen=True)
class Cell:
    """One optimizer on one task.

    Attributes:
        optimizer: Its name.
        rank: 1 is best; equal means share the better rank.
        hyperparameters: The chosen setting.
        on_edge: Names of those at an end of what was searched.
        test: Over reporting seeds; a diverged run counts as untrained.
        steps_to_target: Until the validation metric reaches the task's target.
        loss_area: Training loss averaged over all steps.
        working_range: How wide the range of good rates is.
        diverged: How many runs did.
        gain: Against the baseline; `None` for the baseline itself.
        loss, validation: Curves of the reported runs.
        tuning: What each setting gave.
        budget: What fewer settings would have given.
        cost: What clocks and sizes said.
    """

    optimizer: str
    rank: int
    hyperparameters: Mapping[str, float]
    on_edge: Sequence[str]
    test: Sample
    steps_to_target: Steps
    loss_area: Sample
    working_range: WorkingRange
    diverged: Diverged
    gain: Gain | None
    loss: Curve
    validation: Curve
    tuning: Tuning
    budget: Budget
    cost: Cost


# ---- a study -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """The validation metric to reach; `source` is "given" or the baseline it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Task(Facts):
    """One task: its facts and its optimizers.

    Attributes:
        steps: Steps done at each evaluation: the x of every curve.
        target: What the steps are counted to.
        cells: Best first: fewest diverged, then best mean test metric.
        warnings: Sentences to read before believing the table.
    """

    steps: np.ndarray
    target: Target
    cells: Sequence[Cell]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Profiles:
    """Performance profiles over (task, seed) pairs: shares solved within each `ratio`."""

    ratio: np.ndarray
    shares: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over `tasks` tasks; `groups` are not separated by the critical difference."""

    mean: Mapping[str, float]
    critical_difference: float
    friedman_p: float
    groups: Sequence[Sequence[str]]
    tasks: int


@dataclass(frozen=True)
class Overall:
    """What many tasks say; `None` with fewer than two tasks or optimizers."""

    profiles: Profiles | None
    ranks: Ranks | None


@dataclass(frozen=True)
class Optimizer:
    """As the user named it; the target comes from those that are baselines."""

    name: str
    text: str
    is_baseline: bool
    search_space: Mapping[str, specs.Range]


@dataclass(frozen=True)
class Device:
    """What ran it."""

    platform: str
    kind: str
    devices: int
    processes: int


@dataclass(frozen=True)
class About:
    """What the numbers depend on beside the protocol."""

    versions: Mapping[str, str]
    device: Device


@dataclass(frozen=True)
class Study(About):
    """A whole comparison; `verdicts` are sentences, the most important first."""

    protocol: Protocol
    optimizers: Sequence[Optimizer]
    tasks: Sequence[Task]
    overall: Overall
    verdicts: Sequence[str]
