"""Is an optimizer any good: tasks on real data, one compiled program a cell, tables and plots."""

from lecture_opt.compare.study import (
    DEFAULT_OPTIMIZERS,
    Protocol,
    load_tasks,
    protocol,
    run,
    write,
)
from lecture_opt.compare.tasks import TASKS, Task

__all__ = [
    "DEFAULT_OPTIMIZERS",
    "TASKS",
    "Protocol",
    "Task",
    "load_tasks",
    "protocol",
    "run",
    "write",
]
