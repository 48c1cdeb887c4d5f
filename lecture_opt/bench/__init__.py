"""What an optimizer costs: its own time and memory, beside others in the same run."""

from lecture_opt.bench.study import optimizers, run, write
from lecture_opt.bench.trees import Tree, trees

__all__ = ["Tree", "optimizers", "run", "trees", "write"]
