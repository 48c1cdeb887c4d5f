"""What is said of the optimizers over all tasks."""

from collections.abc import Sequence

import numpy as np

from lecture_opt.compare.results.statistics import across
from lecture_opt.compare.results.types import Overall, Profiles, Ranks, Task


def overall(names: Sequence[str], tasks: Sequence[Task], level: float) -> Overall:
    """Profiles and ranks of the optimizers that failed nowhere, where there are several of both."""
    failed = {one.optimizer for task in tasks for one in task.failures}
    names = [name for name in names if name not in failed]
    if len(names) < 2 or len(tasks) < 2:
        return Overall(None, None)
    by_name = [{cell.optimizer: cell for cell in task.cells} for task in tasks]
    times = np.concatenate(
        [np.stack([cells[name].steps_to_target.values for name in names], 1) for cells in by_name]
    )
    ratios = across.corners(times)
    shares = across.performance_profile(times, ratios)
    costs = np.array([[cells[name].rank for name in names] for cells in by_name])
    ranks = across.ranks(costs, level=1 - level)
    return Overall(
        Profiles(ratios, dict(zip(names, shares, strict=True))),
        Ranks(
            dict(zip(names, ranks.mean.tolist(), strict=True)),
            ranks.critical_difference,
            ranks.friedman_p,
            [[names[i] for i in group] for group in ranks.groups],
            len(tasks),
        ),
    )
