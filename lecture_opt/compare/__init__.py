r"""Is an optimizer any good: tasks on real data, one compiled program a cell, verdicts.

from lecture_opt import compare, specs

study = compare.run(
    compare.load_tasks(["cancer-logistic"]),
    [specs.parse("lecture:adam"), specs.parse("optax:adam")],
    compare.Protocol(steps=200, evaluations=20),
)
print(*study.verdicts, sep="\n")
"""

from lecture_opt.compare.expectations import assert_not_worse
from lecture_opt.compare.ledger import Ledger
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import Study, merge, read, write
from lecture_opt.compare.runs.store import Store
from lecture_opt.compare.runs.study import run
from lecture_opt.compare.suites import DEFAULT_OPTIMIZERS, SUITES
from lecture_opt.problems import TASKS, Loop, Pool, Task, as_loop, eval_params, split
from lecture_opt.problems import load_all as load_tasks

__all__ = [
    "DEFAULT_OPTIMIZERS", "SUITES", "TASKS", "Ledger", "Loop", "Pool", "Protocol", "Store", "Study",
    "Task", "as_loop", "assert_not_worse", "eval_params", "load_tasks", "merge", "read", "run",
    "split", "write",
]  # fmt: skip
