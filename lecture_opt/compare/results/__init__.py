"""What a comparison's results are: types, statistics, verdicts, and their JSON."""

from lecture_opt.compare.results.assemble import assemble, choose
from lecture_opt.compare.results.gains import Standing
from lecture_opt.compare.results.measured import Cost, Facts, Failure, Measured, Reported, Tuned
from lecture_opt.compare.results.merge import merge
from lecture_opt.compare.results.stored import FORMAT, plain, read, study, write
from lecture_opt.compare.results.types import About, Curve, Device, Diverged, Overall, Study

__all__ = [
    "FORMAT", "About", "Cost", "Curve", "Device", "Diverged", "Facts", "Failure", "Measured",
    "Overall", "Reported", "Standing", "Study", "Tuned", "assemble", "choose", "merge", "plain",
    "read", "study", "write",
]  # fmt: skip
