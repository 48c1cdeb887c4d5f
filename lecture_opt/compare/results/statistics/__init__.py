"""The statistics of a comparison: small pure functions of arrays of runs.

- `estimates`: what one optimizer's runs say, with intervals
- `paired`: whether two optimizers differ, from runs paired by seed
- `sequence`: tests that hold at every number of seeds at once
- `choice`: what other tuning seeds would have chosen
- `across`: what many tasks say together
"""

from lecture_opt.compare.results.statistics import across, choice, estimates, paired, sequence

__all__ = ["across", "choice", "estimates", "paired", "sequence"]
