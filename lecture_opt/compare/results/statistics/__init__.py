"""The statistics of a comparison: small pure functions of arrays of runs.

- `estimates`: what one optimizer's runs say, with intervals
- `paired`: whether two optimizers differ, from runs paired by seed
- `across`: what many tasks say together
"""

from lecture_opt.compare.results.statistics import across, estimates, paired

__all__ = ["across", "estimates", "paired"]
