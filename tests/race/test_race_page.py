"""The race's pictures and page: files, drags, keys, sliders, toggles; the command's errors."""

import dataclasses
import re

import browser
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from lecture_opt import cli, race, specs
from lecture_opt.pages.paper import paper
from lecture_opt.pages.styles import styles
from lecture_opt.race import pictures, webpage

TEXTS = ("lecture:sgd", "lecture:momentum(momentum=0.8)", "optax:adam(learning_rate=0.1)")
SURFACES = [race.SURFACES["beale"], race.SURFACES["noisy-bowl"]]


@pytest.fixture(scope="module")
def contest():
    optimizers = [specs.parse(text) for text in TEXTS]
    return race.run(optimizers, SURFACES, steps=40, learning_rate=0.01), optimizers


@pytest.fixture
def page(contest, tmp_path):
    (path,) = webpage.write(*contest, SURFACES, tmp_path)
    return path


def drawn(driver):
    """The points of the paths in the picture, by name, in the units of the surface."""
    return driver.execute_script(
        """const {x, y} = state.surface, box = $("plot").getBoundingClientRect();
        return Object.fromEntries([...document.querySelectorAll(".path")].map((path) => [
          path.dataset.name,
          path.getAttribute("d").slice(1).split("L").map((pair) => {
            const [a, b] = pair.split(" ").map(Number);
            return [x[0] + a / box.width * (x[1] - x[0]), y[1] - b / box.height * (y[1] - y[0])];
          })]));"""
    )


def test_the_picture_shows_the_library_s_paths(driver, contest):
    shown = drawn(driver)
    for lane in contest[0]:
        # Places are written in hundredths of a pixel.
        np.testing.assert_allclose(shown[lane.name], lane.paths["beale"].walked, atol=1e-3)
    colours = driver.execute_script(
        "const c = $('ground'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data; return new Set([...d].filter((_, i) => i % 4 == 0)).size"
    )
    assert colours > 8


def test_dragging_the_ring_moves_the_start_of_the_computed_paths(driver):
    from selenium.webdriver import ActionChains

    ring = driver.find_element("id", "handle")
    before = drawn(driver)["lecture:sgd"]
    ActionChains(driver).click_and_hold(ring).move_by_offset(80, 50).release().perform()
    after = drawn(driver)
    assert after["lecture:sgd"][0][0] > before[0][0] + 0.3
    assert after["lecture:sgd"][0][1] < before[0][1] - 0.1
    # The path that was computed in Python starts where it started, so it is not shown.
    assert set(after) == {"lecture:sgd", "lecture:momentum(momentum=0.8)"}
    driver.find_element("id", "reset").click()
    np.testing.assert_allclose(drawn(driver)["lecture:sgd"], before)


def test_touch_drags_too(driver):
    box = driver.execute_script("return $('handle').getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = drawn(driver)["lecture:sgd"][0]
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + 40, "y": y + 30}]),
        ("touchEnd", []),
    ):
        message = {"type": kind, "touchPoints": points}
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", message)
    after = drawn(driver)["lecture:sgd"][0]
    assert after[0] > before[0] + 0.1
    assert after[1] < before[1] - 0.05


def test_arrow_keys_move_the_start_and_say_so(driver):
    from selenium.webdriver.common.keys import Keys

    ring = driver.find_element("id", "handle")
    ring.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    x, y = drawn(driver)["lecture:sgd"][0]
    np.testing.assert_allclose([x, y], [1.0 + 0.005 * 5, 1.6 - 0.005 * 3.2], atol=1e-3)
    assert ring.get_attribute("aria-valuetext") == "x 1.025, y 1.584"


def test_sliders_toggles_and_steps(driver):
    from selenium.webdriver.common.keys import Keys

    before = drawn(driver)
    driver.find_element("css selector", "tr[data-name='lecture:sgd'] [type=range]").send_keys(
        Keys.ARROW_LEFT
    )
    rates = driver.execute_script("return state.rates")
    assert rates["lecture:sgd"] < 0.01 == rates["lecture:momentum(momentum=0.8)"]
    driver.find_element("id", "together").click()
    driver.find_element("css selector", "tr[data-name='lecture:sgd'] [type=range]").send_keys(
        Keys.HOME
    )
    rates = driver.execute_script("return state.rates")
    assert rates["lecture:sgd"] == rates["lecture:momentum(momentum=0.8)"] == 1e-5
    driver.find_element("id", "reset").click()
    driver.find_element("id", "momentum").send_keys(Keys.HOME)
    after = drawn(driver)
    np.testing.assert_allclose(after["lecture:momentum(momentum=0.8)"], before["lecture:sgd"])
    driver.find_element("css selector", "tr[data-name='lecture:sgd'] [type=checkbox]").click()
    assert "lecture:sgd" not in drawn(driver)
    driver.find_element("id", "step").send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert {len(points) for points in drawn(driver).values()} == {2}


def test_a_rate_too_high_is_marked_as_diverged(driver):
    from selenium.webdriver.common.keys import Keys

    row = driver.find_element("css selector", "tr[data-name='lecture:sgd']")
    row.find_element("css selector", "[type=range]").send_keys(Keys.END)
    assert re.fullmatch(r"at step \d+", row.find_element("class name", "state").text)


def test_the_page_fits_a_phone_and_has_a_dark_side(driver):
    browser.resize(driver, 375)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
    light = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.dark(driver, True)
    dark = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.dark(driver, False)
    assert light == "rgb(255, 255, 255)" != dark


LONG = "mine.py:a_very_long_name_of_an_optimizer_with_cautious_masking_and_decoupled_decay"


def with_a_long_name(contest):
    (first, *others), (spec, *specs_of) = contest
    return [first._replace(name=LONG), *others], [dataclasses.replace(spec, name=LONG), *specs_of]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_name_pushes_no_page(chromium, contest, tmp_path, width, dark):
    (path,) = webpage.write(*with_a_long_name(contest), SURFACES, tmp_path)
    browser.resize(chromium, width)
    browser.dark(chromium, dark)
    browser.open_page(chromium, path)
    table = "const t = document.querySelector('.scroll'); return t.scrollWidth - t.clientWidth"
    inner, whole = chromium.execute_script(table), browser.too_wide(chromium)
    faint = browser.faint(chromium)
    browser.dark(chromium, False)
    assert inner <= 0
    assert whole == []
    assert faint == []


def test_a_long_name_leaves_no_picture(contest):
    lanes, _ = with_a_long_name(contest)
    for surfaces in (SURFACES, SURFACES[:1]):
        with paper("race"):
            figure, _ = pictures._figure(lanes, surfaces, scale=1.0)
            FigureCanvasAgg(figure).draw()
            box = figure.legends[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


def test_pictures_are_small_and_the_same_every_time(contest, tmp_path):
    lanes, optimizers = contest
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        webpage.write(lanes, optimizers, SURFACES, folder)
        pictures.still(lanes, SURFACES, folder)
        pictures.animation(lanes, SURFACES, folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["race.gif", "race.html", "race.png", "race.svg"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "race.gif").stat().st_size < 2_000_000
    with Image.open(tmp_path / "a" / "race.gif") as animation:
        assert animation.n_frames == 41
        animation.seek(40)
        last = np.array(animation.convert("RGB"))
    for style in styles(lane.name for lane in lanes).values():
        colour = [round(255 * part) for part in to_rgb(style.colour)]
        assert np.any(np.abs(last.astype(int) - colour).max(axis=-1) < 12)


def test_a_name_is_text_and_nothing_else(contest, tmp_path):
    lanes, optimizers = contest
    hostile = "</script><script>alert(1)</script>"
    lanes = [lanes[0]._replace(name=hostile), *lanes[1:]]
    (path,) = webpage.write(lanes, optimizers, SURFACES, tmp_path)
    assert "<script>alert" not in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--surface", "hill"], "unknown; the surfaces are saddle, beale"),
        (["--surface", "beale", "--start", "9", "0"], "outside the picture of beale"),
        (["--start", "nan", "0"], "outside the picture"),
        (["--learning-rate", "0"], "must be positive"),
        (["--learning-rate", "inf"], "must be positive and finite"),
        (["--steps", "0"], "from 1 to"),
        (["--optimizer", "optax:adaam"], "did you mean"),
        (["--output", "/proc/none"], "--output: /proc/none can't be written to"),
    ],
)
def test_bad_input_is_one_line_before_any_work(arguments, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(race, "run", None)
    assert cli.main(["race", *arguments]) == 2
    out, message = capsys.readouterr()
    assert says in message
    assert message.count("\n") == 1
    assert out == ""


def test_a_start_that_is_no_pair_of_numbers_is_refused(capsys):
    for start in (["1"], ["1", "two"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["race", "--start", *start])
        assert stop.value.code == 2
        assert "--start" in capsys.readouterr().err


def test_the_command_writes_everything(tmp_path, capsys):
    arguments = ["--surface", "valley", "--optimizer", "lecture:sgd", "--steps", "5"]
    assert cli.main(["race", *arguments, "--output", str(tmp_path / "new")]) == 0
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["race.gif", "race.html", "race.png", "race.svg"]
    assert "lecture:sgd" in capsys.readouterr().out
