"""Training: `fit`, on one device or many, with checkpoints.

`loop` is `fit`; `steps` its compiled chunk, `batches` the order of the examples, `streams` batches
that come from the host, `watches` what the host does between chunks, `history` what the run has
seen, `sharding` the devices, `saving` when a run is saved, `checkpoints` the folder that it is
saved in, `contents` what is in it, `identity` which run it is of, `checks` the errors before a run,
`nans` why a loss is NaN. `narrow` keeps an optimizer's state in bfloat16.
"""

from lecture_opt.training.loop import FitResult, fit
from lecture_opt.training.narrow import bfloat16_state
from lecture_opt.training.saving import Checkpoint
from lecture_opt.training.sharding import shard_data, shard_params, zero1

__all__ = [
    "Checkpoint", "FitResult", "bfloat16_state", "fit", "shard_data", "shard_params", "zero1",
]  # fmt: skip
