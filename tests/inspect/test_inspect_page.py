"""The page of an inspection: schedules drawn as measured, a tree to unfold, nothing asked for."""

import re

import browser
import jax
import numpy as np
import optax
import pytest

from lecture_opt import cli, inspect
from lecture_opt.inspect import webpage

HOSTILE = "<script>alert(1)</script>"
STEPS = 60
SCHEDULE = optax.warmup_cosine_decay_schedule(0, 3e-4, 10, 40)


def made():
    """A tree whose head never moves and whose schedule ends early, with names of every kind."""

    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, "float32")

    long = "a_module_with_a_very_long_name_that_no_phone_is_wide_enough_for_in_one_line"
    params = {
        "blocks": [
            {"dense": {"kernel": shape(8, 8), "bias": shape(8)}, "norm": {"scale": shape(8)}}
            for _ in range(2)
        ],
        long: {"kernel": shape(8, 4)},
        HOSTILE: {"kernel": shape(4, 4)},
        "head": {"kernel": shape(8, 4)},
    }

    def label(path, leaf):
        first = str(path[0].key)
        return "frozen" if first == "head" else "plain" if leaf.ndim == 1 else "adam"

    rules = {
        "adam": optax.adamw(SCHEDULE),
        "plain": optax.sgd(1e-3),
        "frozen": optax.set_to_zero(),
    }
    labels = jax.tree_util.tree_map_with_path(label, params)
    return optax.multi_transform(rules, labels), params


@pytest.fixture(scope="module")
def inspection():
    return inspect.run(*made(), steps=STEPS)


@pytest.fixture(scope="module")
def page(inspection, tmp_path_factory):
    return webpage.write(inspection, tmp_path_factory.mktemp("inspect") / "i.html", "train.py:make")


def seen(driver, selector):
    """The texts of the elements that are on the page to be seen."""
    found = driver.find_elements("css selector", selector)
    return [one.text for one in found if one.is_displayed()]


def test_schedules_are_the_rates_measured(inspection):
    groups = inspection.groups()
    found = webpage.schedules(groups)
    assert len(found) == 2  # what is frozen has none
    for one in found:
        for i in one["groups"]:
            for leaf in groups[i]:
                assert one["x"] == list(range(1, STEPS + 1))
                np.testing.assert_allclose(one["y"], leaf.rates, rtol=1e-5)


def test_a_long_schedule_keeps_its_ends_and_its_spikes():
    rates = np.full(100_000, 0.1)
    rates[77_777] = 5.0
    shown = webpage._shown(rates)
    assert len(shown) <= webpage.POINTS + 1
    assert {0, 77_777, 99_999} <= set(shown)


def test_the_tree_holds_every_leaf_once(inspection):
    def leaves(node):
        here = [node.leaf] if node.leaf else []
        return here + [leaf for one in node.below.values() for leaf in leaves(one)]

    root = webpage.tree(inspection.leaves)
    assert leaves(root) == list(inspection.leaves) == root.leaves
    assert root.below["head"].name == "head/kernel"  # one key below: one node


def test_the_facts_of_a_leaf_say_what_it_has():
    """Two gradients to a step, their mean, and a decay that follows the schedule."""
    params = {"w": jax.ShapeDtypeStruct((4, 4), "float32")}
    optimizer = optax.MultiSteps(optax.adamw(SCHEDULE, weight_decay=0.1), 2)
    (leaf,) = inspect.run(optimizer, params, steps=STEPS).leaves
    found = dict(webpage.facts(leaf))
    assert found["gradients to a step"] == "2, their mean"
    assert found["weight decay"] == "0.1 decoupled"
    assert found["learning rate"].startswith("0 first, 0.0003 at most")
    assert "float32 [4, 4], 64 B" in found["state"]
    assert "noise" not in found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_a_desk_and_a_phone(driver, width, dark):
    browser.resize(driver, width)
    browser.dark(driver, dark)
    driver.find_element("id", "unfold").click()
    for part in driver.find_elements("css selector", ".leaf summary"):
        assert part.is_displayed()
    faint, wide = browser.faint(driver), browser.too_wide(driver)
    across = driver.execute_script("return document.documentElement.scrollWidth")
    overlaps = browser.overlaps(driver)
    browser.dark(driver, False)
    assert across <= width
    assert (wide, overlaps, faint) == ([], [], [])


def test_the_tree_unfolds_and_is_searched(driver):
    driver.find_element("id", "fold").click()
    assert len(seen(driver, ".tree summary")) == 4
    driver.find_element("id", "filter").send_keys("norm/")
    names = driver.execute_script(
        "return [...document.querySelectorAll('.leaf')].filter((e) => e.checkVisibility())"
        ".map((e) => e.dataset.path)"
    )
    assert names == ["blocks/0/norm/scale", "blocks/1/norm/scale"]


def test_a_finding_leads_to_its_leaf(driver, inspection):
    assert any(finding.leaves == ("head/kernel",) for finding in inspection.findings)
    driver.find_element("id", "fold").click()
    driver.find_element("link text", "head/kernel").click()
    leaf = driver.find_element("css selector", "[data-path='head/kernel'] dl")
    assert leaf.is_displayed()
    assert "frozen" in leaf.text
    assert "never moves" in driver.find_element("css selector", "[data-path='head/kernel']").text


def test_the_schedules_can_be_logarithmic(driver):
    def lines():
        found = driver.find_elements("css selector", "#drawing .line")
        return [line.get_attribute("d") for line in found]

    before = lines()
    driver.find_element("id", "log").click()
    after = lines()
    assert len(before) == len(after) == 2
    assert before != after
    assert not any("NaN" in line for line in (*before, *after))


def test_names_are_text_and_nothing_is_asked_for(page):
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert not re.search(r"https?://|url\(|@import|src=", text.replace("http://www.w3.org", ""))


def test_the_command_writes_the_page(tmp_path, capsys):
    script = tmp_path / "train.py"
    script.write_text(
        "import jax, optax\n"
        "def make():\n"
        "    return optax.adam(1e-3), {'w': jax.ShapeDtypeStruct((4, 4), 'float32')}\n"
    )
    path = tmp_path / "new" / "page.html"
    assert cli.main(["inspect", f"{script}:make", "--steps", "10", "--html", str(path)]) == 0
    assert f"What {script}:make does to each leaf" in path.read_text(encoding="utf-8")
