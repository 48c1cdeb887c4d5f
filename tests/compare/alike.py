"""Studies of one optimizer under many names, drawn from a table of its runs.

A table has the validation and the test metric of each learning rate and each seed. A study takes
some of its seeds to tune and others to report, and goes the way of `compare`: the same settings,
the same choice, the same gains. A candidate in another unit of rate reads the table at other rates.
"""

from typing import NamedTuple

import numpy as np

from lecture_opt import compare
from lecture_opt.compare import results, space
from lecture_opt.compare.results import Facts, Measured, Reported, Tuned, gains
from lecture_opt.compare.results.statistics import estimates
from lecture_opt.compare.results.types import Margin
from lecture_opt.compare.runs.cell import LOOK


class Table(NamedTuple):
    """Metrics of (rates, seeds); the rates ascend evenly over their logarithm."""

    rates: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    diverged: np.ndarray
    higher: bool = False

    def at(self, rates):
        """The rows of these rates, and whether the table has them."""
        logs = np.log10(self.rates)
        places = np.round((np.log10(rates) - logs[0]) / (logs[1] - logs[0])).astype(int)
        return np.clip(places, 0, len(logs) - 1), (places >= 0) & (places < len(logs))

    def tried(self, rates, seeds):
        """(seeds, rates) validation metrics, and what diverged: all beyond the table's rates."""
        rows, inside = self.at(rates)
        diverged = self.diverged[rows][:, seeds].T | ~inside
        return np.nan_to_num(self.validation[rows][:, seeds].T), diverged


def side(table, unit, protocol, tuning, reporting):
    """The side of a comparison of the optimizer whose rates are in another unit."""
    ranges = protocol.rates
    count = protocol.draws - protocol.refined
    coarse = space.draw({"learning_rate": ranges}, count)["learning_rate"]
    first = table.tried(coarse * unit, tuning)
    best = estimates.best_draw(first[0][:LOOK], first[1][:LOOK], higher_is_better=table.higher)
    around = space.refine({"learning_rate": ranges}, count, best, protocol.refined)["learning_rate"]
    second = table.tried(around * unit, tuning)
    rates = np.concatenate([coarse, around])
    validation, diverged = (np.concatenate(pair, 1) for pair in zip(first, second, strict=True))
    tuned = Tuned({"learning_rate": rates}, validation, diverged)
    chosen = results.choose(tuned, higher_is_better=table.higher)
    rows, _ = table.at(rates[chosen] * unit)
    test, lost = table.test[rows][:, reporting], table.diverged[rows][:, reporting]
    reported = Reported(chosen, np.zeros(0), np.zeros(0), test, lost)
    return gains.side(Measured(tuned, reported, None), higher_is_better=table.higher)


def told_apart(tables, protocol, *, candidates, studies, seed=0):
    """The share of studies that tell any of the candidates from the baseline, the first table.

    The margin is so small that no difference is equivalent for its size.
    """
    rng, base = np.random.default_rng(seed), tables[0]
    facts = Facts("t", "", "m", base.higher, {}, 1, {}, "", True, 32, np.array([1]), None, ())
    names = [protocol.baseline, *map(str, range(candidates))]
    told = 0
    for _ in range(studies):
        order = rng.permutation(base.test.shape[1])
        tuning, rest = np.split(order, [protocol.tuning_seed_count])
        reporting = rest[: protocol.seeds]
        drawn = [
            (tables[rng.integers(len(tables))], 10 ** rng.uniform(-0.3, 0.3))
            for _ in range(candidates)
        ]
        sides = [side(t, u, protocol, tuning, reporting) for t, u in [(base, 1.0), *drawn]]
        found = gains.gains(names, sides, Margin(1e-12, "given"), facts, protocol)
        told += any(gain.verdict in ("better", "worse") for gain in found[1:])
    return told / studies


DEFAULT = compare.Protocol()
QUICK = compare.Protocol(draws=8, tuning_seed_count=5)
