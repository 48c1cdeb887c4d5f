"""What is compared, and with which budget, where nothing else is asked for.

>>> sorted(SUITES)
['lecture', 'modern']
"""

from typing import NamedTuple

from lecture_opt import equals
from lecture_opt.problems import DEFAULT, MODERN, QUICK

DEFAULT_OPTIMIZERS = tuple(text for pair in equals.PAIRS for text in (pair.lecture, pair.optax))


class Suite(NamedTuple):
    """Tasks, optimizers and a budget for each of these.

    Attributes:
        tasks, quick: Names of tasks; those of a coarser and sooner look.
        optimizers: As `specs.parse` takes them.
        draws: Settings tried for each optimizer.
        seeds: How many report.
        tuning_seeds: How many tune; `None` takes the number of those that report.
        rates: Ends of the range of learning rates.
        schedule: The shape of the learning rate over a run; `None` where it is constant.
    """

    tasks: tuple[str, ...]
    quick: tuple[str, ...]
    optimizers: tuple[str, ...]
    draws: int
    seeds: int
    tuning_seeds: int | None
    rates: tuple[float, float]
    schedule: str | None = None


SUITES = {
    "lecture": Suite(DEFAULT, QUICK, DEFAULT_OPTIMIZERS, 16, 10, None, (1e-4, 10.0)),
    "modern": Suite(
        MODERN,
        ("digits-batchnorm", "digits-vae", "text-glove"),
        (
            "optax:adamw",
            "optax:contrib.muon",
            "optax:lion",
            "optax:contrib.schedule_free_adamw",
            "optax:adafactor",
            "lecture:adam",
        ),
        draws=7,
        seeds=10,
        tuning_seeds=2,
        rates=(1e-4, 1.0),
        schedule="warmup_cosine(0.05)",
    ),
}
