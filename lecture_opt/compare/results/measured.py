"""What the runs of one optimizer on one task gave: the engine fills it, results are made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


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
        fingerprint: Digest of the data.
        pooled: Whether each seed splits the data anew.
        batch_size: Examples of a minibatch.
        steps: (evaluations,) steps done at each evaluation, the last of which ends a run.
        goal: The validation metric to reach that the task says, if it does.
        notes: Sentences on how the runs went.
    """

    name: str
    description: str
    metric: str
    higher_is_better: bool
    examples: Mapping[str, int]
    parameters: int
    untrained: Mapping[str, float]
    fingerprint: str
    pooled: bool
    batch_size: int
    steps: np.ndarray
    goal: float | None
    notes: Sequence[str]


@dataclass(frozen=True)
class Tuned:
    """Every setting with every tuning seed.

    Attributes:
        settings: Hyperparameter to its values, (settings,) each.
        validation: (tuning seeds, settings) validation metric that chooses the setting.
        diverged: (tuning seeds, settings).
        refined: How many of the settings, the last ones, lie around the best of those before.
    """

    settings: Mapping[str, np.ndarray]
    validation: np.ndarray
    diverged: np.ndarray
    refined: int = 0


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
        step_seconds: One step of one run, in the batch of all; timed while nothing else goes on.
        run_seconds: All reported runs, beside those of other optimizers.
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


@dataclass(frozen=True)
class Failure:
    """An optimizer that raised on a task, and the error in a line."""

    optimizer: str
    why: str
