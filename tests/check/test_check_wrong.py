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


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_the_battery_alone_catches_it(name):
    report = check.run(BREAKS[name].constructor)
    assert BREAKS[name].caught_by in {result.name for result in report.failures}


def test_there_are_many():
    assert len(WRONG) >= 45


DIFFERS = {name: entry for name, entry in WRONG.items() if entry.reference is not None}


@pytest.mark.parametrize("name", DIFFERS)
def test_the_reference_names_the_cause(name):
    entry = DIFFERS[name]
    outcome = check.against(check.make(entry.constructor()), entry.reference)
    assert outcome.status == "fail"
    assert entry.cause in outcome.message
