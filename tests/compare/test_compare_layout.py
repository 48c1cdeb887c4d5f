"""The report on a desk, a phone and paper: nothing is cut, covered or faint."""

from dataclasses import replace

import browser
import pytest
import sample_results
from sample_results import LONG

from lecture_opt.compare.show import charts, report


@pytest.fixture(scope="module")
def long_page(tmp_path_factory):
    """Sixteen long names; two of the user's own give the very same numbers."""
    study = sample_results.make(LONG)
    tasks = []
    for task in study.tasks:
        cells = list(task.cells)
        cells[2] = replace(cells[1], optimizer=LONG[2], rank=2)
        tasks.append(replace(task, cells=cells))
    path = tmp_path_factory.mktemp("long") / "report.html"
    study = replace(study, tasks=tasks)
    path.write_text(report.html(study, charts.charts(study)), encoding="utf-8")
    return path


@pytest.fixture(params=[(1280, False), (1280, True), (390, False), (390, True)])
def looked_at(request, chromium, long_page):
    """The page of long names as it looks on a desk and on a phone, light and dark."""
    width, dark = request.param
    browser.resize(chromium, width)
    browser.dark(chromium, dark)
    browser.open_page(chromium, long_page)
    yield chromium, width
    browser.dark(chromium, False)


def test_a_page_of_sixteen_long_names_fits(looked_at):
    driver, width = looked_at
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.too_wide(driver) == []
    assert browser.overlaps(driver) == []


def test_labels_lie_beside_the_lines(looked_at):
    """On a phone they are a list under each drawing."""
    driver, width = looked_at
    names = driver.execute_script(
        "return [...document.querySelector('figure[data-kind=loss]')"
        ".querySelectorAll('.label .name title, .key span')].map((e) => e.textContent)"
    )
    if width < 500:
        assert f"{LONG[1]} = {LONG[2]}" in names
        assert len(names) == len(LONG) - 1
    else:
        assert sorted(names) == sorted(LONG)
    drawn = driver.execute_script(
        "return document.querySelectorAll('figure[data-kind=loss] path.line').length"
    )
    assert drawn == 2 * (len(LONG) - 1)


def test_text_has_contrast(looked_at):
    """WCAG: 4.5 between text and what is behind it; 3 between a line and the paper."""
    driver, _ = looked_at
    assert browser.faint(driver) == []


def test_it_prints_without_what_a_reader_clicks(chromium, long_page):
    browser.resize(chromium, 1280)
    browser.open_page(chromium, long_page)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = chromium.execute_script(
        "dispatchEvent(new Event('beforeprint'));"
        "return ['.legend', '#theme', '.tools', 'nav'].every((what) => "
        "document.querySelector(what).offsetParent === null) && "
        "[...document.querySelectorAll('details.printed')].every((part) => part.open)"
    )
    again = chromium.execute_script(
        "dispatchEvent(new Event('afterprint'));"
        "return [...document.querySelectorAll('details.printed')].some((part) => part.open)"
    )
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden
    assert not again
