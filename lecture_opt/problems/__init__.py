"""The problems that optimizers are judged on: real data, small models, and your own.

- `loop`: what a `Loop` is; `parts`: its data, such as a `Pool`, which each seed splits
- `bound`: a loop with its optimizer, as pure functions of arrays; `tracing`: the program of a step
- `task`: its short form, `Task`, and `split`, which makes data
- `tables`: handwritten digits, patients, tumours and wines, which scikit-learn carries
- `text`: Python's own documentation, which every installation carries
- `synthetic`: deep narrow networks and the noisy quadratic
- `fetched`: data sets that need a network once
- `modern`: a transformer, recurrent and convolutional nets and more, in Flax and Equinox
- `registry`: `TASKS` has them all by name; `load` finds one by name or in a file of the user's
"""

from lecture_opt.problems.loop import Loop
from lecture_opt.problems.parts import Pool, TaskError
from lecture_opt.problems.registry import DEFAULT, MODERN, QUICK, TASKS, load, load_all
from lecture_opt.problems.task import Task, as_loop, eval_params, split

__all__ = [
    "DEFAULT", "MODERN", "QUICK", "TASKS", "Loop", "Pool", "Task", "TaskError", "as_loop",
    "eval_params", "load", "load_all", "split",
]  # fmt: skip
