"""What a comparison's results are: types, statistics, verdicts, and their JSON."""

from lecture_opt.compare.results.assemble import assemble, choose
from lecture_opt.compare.results.stored import FORMAT, plain, read, study, write
from lecture_opt.compare.results.types import (
    About,
    Cell,
    Cost,
    Curve,
    Device,
    Diverged,
    Facts,
    Measured,
    Overall,
    Reported,
    Study,
    Task,
    Tuned,
)

__all__ = [
    "FORMAT",
    "About",
    "Cell",
    "Cost",
    "Curve",
    "Device",
    "Diverged",
    "Facts",
    "Measured",
    "Overall",
    "Reported",
    "Study",
    "Task",
    "Tuned",
    "assemble",
    "choose",
    "plain",
    "read",
    "study",
    "write",
]
