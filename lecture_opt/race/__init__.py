"""The optimizers' paths over the classic test surfaces: as data, pictures and a page.

lanes = race.run([specs.parse("lecture:adam")], list(race.SURFACES.values()))
"""

from lecture_opt.race.surfaces import SURFACES, Surface
from lecture_opt.race.trajectories import Lane, Path, run

__all__ = ["SURFACES", "Lane", "Path", "Surface", "run"]
