"""Every wrong optimizer of the folder is caught, by the property or the cause that it must be."""

import pytest
from wrong import WRONG

from lecture_opt import check

BREAKS = {name: entry for name, entry in WRONG.items() if entry.caught_by}


@pytest.mark.parametrize("name", BREAKS)
def test_the_property_catches_it(name):
    report = check.run(BREAKS[name].constructor, only=[BREAKS[name].caught_by])
    assert not report.ok, f"{name} passes {BREAKS[name].caught_by}"
    assert report.failures[0].message


# The whole battery, on two.
WHOLE = ("counter_wraps", "averages_over_the_size")


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_the_battery_alone_catches_it(name):
    report = check.run(BREAKS[name].constructor)
    assert BREAKS[name].caught_by in {result.name for result in report.failures}


def test_there_are_many():
    assert len(WRONG) >= 45


DIFFERS = {name: entry for name, entry in WRONG.items() if entry.reference is not None}
# One of each way in which a cause is found; the others are slow tests.
QUICK = (
    "adam_without_second_correction",
    "adam_with_eps_inside",
    "adam_with_turned_averages",
    "adamw_with_decay_in_the_gradient",
    "momentum_one_step_late",
    "momentum_with_a_tenth_of_the_rate",
    "clipped_from_above",
    "adamw_whose_mask_is_turned_round",
    "adamw_that_decays_the_new_params",
    "adam_whose_first_step_is_nan",
    "clip_that_scales_small_gradients_up",
    "lion_with_decays_exchanged",
)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DIFFERS],
)
def test_the_reference_names_the_cause(name):
    entry = DIFFERS[name]
    outcome = check.against(check.make(entry.constructor()), entry.reference)
    assert outcome.status == "fail"
    assert entry.cause in outcome.message


def test_the_names_above_exist():
    assert {*WHOLE, *QUICK} <= WRONG.keys()
