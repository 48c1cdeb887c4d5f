"""What the results of a comparison hold: frozen, built once.

A `Study` becomes JSON in `stored.py` under the names of its fields, which README.md beside the
package describes one by one. A number that does not exist is NaN here and `null` there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lecture_opt import specs
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.measured import Cost, Facts, Failure
from lecture_opt.compare.results.statistics.paired import Needed

# ---- numbers with their intervals --------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its interval at `protocol.level`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class NoiseFloor(Estimate):
    """What the baseline differs from itself by; `deviation` is that of one run."""

    deviation: float


@dataclass(frozen=True)
class Sample(Estimate):
    """A mean over reporting seeds, and the `values` per seed."""

    values: np.ndarray


@dataclass(frozen=True)
class Gain(Sample):
    """How much better than the baseline, per seed; positive is better in either direction."""

    error: float
    choice_error: float
    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float
    verdict: str
    set_number: int
    set_size: int
    planned: int | None
    error_rate: float
    seeds_needed: Needed | None
    sentence: str


@dataclass(frozen=True)
class Median:
    """A median and the ends of its interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Steps(Median):
    """Steps until the validation metric reaches the target; how many runs `reached` it."""

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
    """Learning rates whose validation metric is within 5 % of the best."""

    decades: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class WrongRate:
    """What a tenth of the chosen rate and ten times it cost in the validation metric."""

    tenth: Estimate
    tenfold: Estimate


@dataclass(frozen=True)
class Costs(Cost):
    """With `seconds_to_target`, the steps to the target times those of a step."""

    seconds_to_target: Median


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
class Candidate:
    """A setting that this `share` of resampled tuning seeds would choose."""

    hyperparameters: Mapping[str, float]
    share: float
    test: Sample


@dataclass(frozen=True)
class Cell:
    """One optimizer on one task."""

    optimizer: str
    rank: int
    hyperparameters: Mapping[str, float]
    on_edge: Sequence[str]
    candidates: Sequence[Candidate]
    test: Sample
    steps_to_target: Steps
    loss_area: Sample
    working_range: WorkingRange
    wrong_rate: WrongRate
    diverged: Diverged
    gain: Gain | None
    loss: Curve
    validation: Curve
    tuning: Tuning
    budget: Budget
    cost: Costs


# ---- a study -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """The metric to reach; `source`: "given", "the task", the baseline it is of, or "none"."""

    value: float
    source: str


@dataclass(frozen=True)
class Margin:
    """The smallest difference that matters; `source` is "given", "noise floor" or "none"."""

    value: float
    source: str


@dataclass(frozen=True)
class Task(Facts):
    """One task: its facts and its optimizers; of those in `failures` there is no cell."""

    target: Target
    noise_floor: NoiseFloor
    margin: Margin
    cells: Sequence[Cell]
    failures: Sequence[Failure]
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
