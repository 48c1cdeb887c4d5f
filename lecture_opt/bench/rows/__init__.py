"""What a step on a table costs, by rows of the table and rows touched.

In one run and in turns of ten steps, as steps follow each other in training: the row-sparse
optimizers, their dense optax equals, and torch's sparse ones where torch is installed. A step
looks up a batch of random rows, takes the gradient of the sum of their squares and moves the
table. A figure is the median of its steps; torch's is the better of its threads and one, as its
threads may get in each other's way where XLA has some too.
"""

from lecture_opt.bench.rows.steps import SLOTS
from lecture_opt.bench.rows.study import Cell, measure

__all__ = ["SLOTS", "Cell", "measure"]
