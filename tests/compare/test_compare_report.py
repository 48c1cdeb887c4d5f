"""The report: one file that asks for nothing, usable by pointer, key and table; CSV and LaTeX."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import browser
import pytest
import sample_results
from rich.console import Console
from sample_results import HOSTILE, NAMES

from lecture_opt import compare
from lecture_opt.compare import results
from lecture_opt.compare.show import charts, latex, long_table, report, terminal
from lecture_opt.compare.show.answers import answers
from lecture_opt.compare.show.rows import rows
from lecture_opt.pages.render import json_for_script
from lecture_opt.pages.styles import users_first


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    study = sample_results.make()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report.html(study, charts.charts(study)), encoding="utf-8")
    return path


def lines(driver, kind):
    """Names of the lines in the first chart of a kind."""
    return driver.execute_script(
        "return [...document.querySelector(`figure[data-kind='${arguments[0]}']`)"
        ".querySelectorAll('.series')].map((group) => group.dataset.name)",
        kind,
    )


def column(driver, name):
    return driver.execute_script(
        "return [...document.querySelector('table.sortable').tBodies[0].rows].map((row) => "
        "row.querySelector(`[data-column='${arguments[0]}']`).textContent)",
        name,
    )


def test_every_chart_is_drawn(driver):
    found = charts.charts(sample_results.make())
    drawn = driver.execute_script(
        "return [...document.querySelectorAll('figure.chart')].map((figure) => "
        "[figure.dataset.kind, figure.querySelectorAll('.series').length])"
    )
    assert drawn == [[chart.kind, len(chart.series)] for chart in found]
    paths = driver.find_elements("css selector", "figure[data-kind=loss] path.line")
    assert len(paths) == 2 * len(NAMES)
    assert all("NaN" not in path.get_attribute("d") for path in paths)


def test_a_line_ends_where_the_numbers_do(driver):
    points = driver.execute_script(
        "return Object.fromEntries([...document.querySelector('figure[data-kind=loss]')"
        ".querySelectorAll('.series')].map((g) => [g.dataset.name, "
        "g.querySelector('.line').getAttribute('d').split(/[ML]/).length - 1]))"
    )
    assert points == {name: 3 if name == HOSTILE else 4 for name in NAMES}


def test_places_are_the_numbers_on_the_axis(driver):
    """Two points of the loss and the logarithm between them."""
    (low, high), ys = driver.execute_script(
        "const chart = DATA.charts.find((c) => c.kind === 'loss');"
        "const y = scale(extent([0.1, 10], 'log'), 300, 0, 'log', 0);"
        "return [extent([null, 3, -1, 5], 'log'), [y(0.1), y(1), y(10)]]"
    )
    assert (low, high) == (3, 5)
    assert ys == pytest.approx([300, 150, 0])


def test_toggles_hide_an_optimizer_in_every_chart(driver):
    boxes = driver.find_elements("css selector", "#names input")
    driver.find_element("css selector", "#legend summary").click()
    assert [box.get_attribute("data-name") for box in boxes] == users_first(NAMES)
    boxes[0].click()
    for kind in ("loss", "rates", "differences", "profiles", "ranks"):
        assert HOSTILE not in lines(driver, kind)
    driver.find_element("id", "none").click()
    assert lines(driver, "loss") == []
    driver.find_element("id", "all").click()
    assert sorted(lines(driver, "loss")) == sorted(NAMES)
    assert driver.find_elements("css selector", ".band")
    driver.find_element("id", "bands").click()
    assert not driver.find_elements("css selector", ".band")


def test_logarithmic_axes_can_be_changed(driver):
    def places():
        return driver.find_element("css selector", "figure[data-kind=loss] .line").get_attribute(
            "d"
        )

    before = places()
    box = driver.find_element("css selector", "figure[data-kind=loss] [data-axis=scaleY]")
    assert box.is_selected()
    box.click()
    assert places() != before
    box.click()
    assert places() == before


def test_pointing_says_the_numbers(driver):
    from selenium.webdriver import ActionChains

    svg = driver.find_element("css selector", "figure[data-kind=differences] svg")
    dot = driver.find_element(
        "css selector", "figure[data-kind=differences] [data-name='lecture:adam'] .dot"
    )
    ActionChains(driver).scroll_to_element(svg).move_to_element(dot).perform()
    tip = driver.find_element("css selector", "figure[data-kind=differences] .tip")
    assert tip.is_displayed()
    assert "lecture:adam" in tip.text
    assert "0.02" in tip.text
    assert "from -0.01 to 0.05" in tip.text


def test_arrow_keys_walk_over_the_points_and_are_heard(driver):
    from selenium.webdriver.common.keys import Keys

    svg = driver.find_element("css selector", "figure[data-kind=loss] svg")
    svg.send_keys(Keys.ARROW_RIGHT)
    news = driver.find_element("id", "news")
    first, second = users_first(NAMES)[:2]
    assert news.get_attribute("textContent").startswith(f"{first}; optimizer steps: 10;")
    svg.send_keys(Keys.ARROW_RIGHT)
    assert "optimizer steps: 20;" in news.get_attribute("textContent")
    svg.send_keys(Keys.ARROW_DOWN)
    assert news.get_attribute("textContent").startswith(f"{second}; optimizer steps: 20;")


def test_headings_sort_and_missing_values_stay_last(driver):
    for name in ("test", "steps to target", "optimizer"):
        button = driver.find_element(
            "xpath", f"(//table[contains(@class, 'sortable')])[1]//th/button[text()='{name}']"
        )
        button.click()
        rising = column(driver, name)
        head = button.find_element("xpath", "..")
        assert head.get_attribute("aria-sort") == "ascending"
        button.click()
        assert head.get_attribute("aria-sort") == "descending"
        falling = column(driver, name)
        if name == "steps to target":
            assert rising[-1] == falling[-1] == "never"
        else:
            assert rising == sorted(rising, key=str.lower) == falling[::-1]
    assert len(driver.find_elements("css selector", "th[aria-sort]")) == 2  # one for each task


def test_the_numbers_of_a_chart_are_a_table_too(driver):
    details = driver.find_element("css selector", "figure[data-kind=differences] details")
    details.find_element("tag name", "summary").click()
    # The table is made in the event that follows.
    browser.wait(driver, "document.querySelectorAll('[data-kind=differences] tbody tr').length")
    rows = details.find_elements("css selector", "tbody tr")
    assert [row.find_element("tag name", "th").text for row in rows] == list(NAMES[1:])
    assert rows[0].text.split()[-1] == "0.5"


def test_it_fits_a_phone_and_has_a_dark_side(driver):
    browser.resize(driver, 375)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(colour)
    driver.find_element("id", "theme").click()
    assert driver.execute_script(colour) == light
    driver.find_element("id", "theme").click()
    assert driver.execute_script(colour) != light
    driver.execute_script("localStorage.clear()")


def test_names_are_text_and_nothing_else(driver, page):
    assert driver.execute_script("return document.querySelectorAll('script').length") == 2
    assert "<script>alert" not in page.read_text()
    assert HOSTILE in driver.find_element("tag name", "ul").text
    refused = driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.got = 1';"
        "document.body.append(s); return window.got === undefined"
    )
    assert refused
    assert any("Content Security Policy" in text for text in browser.complaints(driver))


def test_no_address_is_in_the_page(page):
    text = page.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|url\(|@import|src=", text)
    assert "default-src 'none'" in text


def test_every_control_has_a_name(driver):
    nameless = driver.execute_script(
        "return [...document.querySelectorAll('input, button, select, [tabindex]')].filter((e) => "
        "!(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).length"
    )
    assert nameless == 0


def test_the_same_results_give_the_same_bytes(every_format, tmp_path):
    study = sample_results.make()
    compare.write(study, tmp_path / "results.json")
    again = compare.read(tmp_path / "results.json")
    written = report.write(study, tmp_path / "a")
    report.write(again, tmp_path / "b")
    names = sorted(str(path.relative_to(tmp_path / "a")) for path in written)
    kinds = ("budget", "differences", "loss", "metric", "profiles", "ranks", "rates")
    assert names == sorted(
        ["curves.csv", "report.html", "runs.csv", "tables.tex"]
        + [f"figures/{kind}.{suffix}" for kind in kinds for suffix in ("pdf", "png", "svg")]
        + ["figures/figures.tex"]
    )
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ValueError, match="format 2; wanted 4"):
        compare.read(path)


def test_what_is_written_is_read_back_number_for_number():
    assert results.plain(sample_results.make()) == sample_results.PLAIN


def test_long_tables_hold_every_run_and_evaluation(tmp_path):
    study = sample_results.make()
    long_table.write(study, tmp_path)
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == 2 * len(NAMES) * (2 * 3 + 3)
    dead = [run for run in runs if run["diverged"] == "True" and run["phase"] == "reporting"]
    assert {run["optimizer"] for run in dead} == {HOSTILE}
    tried = [r for r in runs if r["optimizer"] == HOSTILE and r["phase"] == "tuning"]
    assert tried[1]["hyperparameters"] == "learning_rate=0.01 b1=0.9"
    with (tmp_path / "curves.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(NAMES) * 3 * 4
    cell = study.tasks[0].cells[1]
    (row,) = [
        r
        for r in rows
        if (r["task"], r["optimizer"], r["seed"], r["step"])
        == ("digits", "lecture:adam", "1000001", "30")
    ]
    assert float(row["loss"]) == pytest.approx(cell.loss.runs[1][2], rel=1e-8)


def test_latex_is_escaped_and_the_best_is_bold():
    study = sample_results.make()
    task = replace(study.tasks[0], metric="error_rate & 100% #1")
    text = latex.latex(replace(study, tasks=[task, study.tasks[1]]))
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"error\_rate \& 100\% \#1" in text
    assert r"\textless{}script\textgreater{}" in text
    rows = [
        line.split(" & ")
        for line in text.splitlines()
        if line.startswith(("optax:", "lecture:", r"\text"))
    ]
    assert len(rows) == 2 * len(NAMES)
    assert {len(row) for row in rows} == {len(latex.COLUMNS)}
    test = latex.COLUMNS.index("test")
    best = [row[0] for row in rows if row[test].startswith(r"\textbf")]
    assert best == ["optax:adam", "optax:adam"]
    own = [row[0] for row in rows if row[0].startswith(r"\textbf")]
    assert len(own) == 2
    assert all("mine.py" in name for name in own)


def test_latex_has_short_names_that_stay_apart_and_real_minus_signs():
    text = latex.latex(sample_results.make(sample_results.LONG))
    cells = [line.split(" & ") for line in text.splitlines() if line.endswith(r"\\")]
    names = [re.sub(r"\\ldots{}", "…", row[0]) for row in cells]
    assert len(set(names)) == len(sample_results.LONG) + 1
    assert "$-$0.01 to 0.05" in text


def test_text_inside_a_script_cannot_end_it():
    text = str(json_for_script({"a": "</script><!-- &"}))
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!-- &"}
    with pytest.raises(ValueError, match="JSON"):
        json_for_script(float("nan"))


def test_a_name_is_no_formula_and_stops_no_latex(tmp_path):
    text = json.dumps(sample_results.PLAIN).replace("lecture:adam", "=cmd|' /C calc'!A1")
    study = results.study(json.loads(text))
    long_table.write(study, tmp_path)
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        names = {row["optimizer"] for row in csv.DictReader(file)}
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)
    assert latex.escape("a\x00b\x1bc") == "abc"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_tables_and_figures_compile_and_fit_a_page_of_two_columns(every_format, tmp_path):
    study = sample_results.make(sample_results.LONG)
    report.write(study, tmp_path)
    packages = r"\usepackage{booktabs}\usepackage{graphicx}\graphicspath{{figures/}}"
    body = r"\begin{document}\input{tables.tex}\input{figures/figures.tex}\end{document}"
    text = rf"\documentclass[twocolumn]{{article}}{packages}{body}"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "too large for page" not in ran.stdout


def test_the_users_own_come_first_and_each_question_is_answered():
    study = sample_results.make()
    found = answers(study)
    assert list(found) == [HOSTILE, *sorted(NAMES[1:3])]
    first, second = found[HOSTILE]
    assert (first.task, second.task) == ("digits", "diabetes")
    assert first.verdict == "undecided"
    assert first.by.startswith("+0.04 in accuracy")
    assert first.sure == "95% interval -0.01 to 0.05; p = 0.5"
    assert first.change.startswith("about 34 seeds (20 to over a million) for a gain of 0.012")
    assert "wider range: the best learning_rate lies on its edge" in first.change


def lost(study):
    """The study with every run of every optimizer diverged."""
    tasks = []
    for task in study.tasks:
        cells = [
            replace(cell, diverged=replace(cell.diverged, tuning=1.0, reporting=3), on_edge=[])
            for cell in task.cells
        ]
        tasks.append(replace(task, cells=cells))
    return replace(study, tasks=tasks)


def test_a_study_where_all_diverged_says_so():
    study = lost(sample_results.make())
    assert {a.verdict for found in answers(study).values() for a in found} == {"diverged"}
    for row in rows(study.tasks[0]):
        assert row["setting"].text == "diverged"
        assert row["verdict"].text == "diverged"
        assert row["gain"].text == row["p"].text == "–"
    assert not [chart for chart in charts.charts(study) if chart.kind == "differences"]
    page = report.html(study, charts.charts(study))
    assert "lies on its edge" not in page
    assert "Noise floor" not in page


def test_an_optimizer_alone_has_no_verdict():
    study = sample_results.make(["mine.py:opt"])
    study = replace(study, verdicts=[], overall=results.Overall(None, None))
    page = report.html(study, charts.charts(study)).partition("<body>")[2]
    for word in (">Verdict<", "aseline:", "Noise floor", ">rank<", ">gain<"):
        assert word not in page
    assert ">mine.py:opt</h1>" in page
    console = Console(record=True, width=100, file=io.StringIO())
    terminal.show(study, console)
    text = console.export_text()
    assert "erdict" not in text
    assert "gain" not in text


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_the_terminal_table_fits_with_the_verdict_beside_the_name(width):
    study = sample_results.make(sample_results.LONG)
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(terminal.ranked(study.tasks[0], width))
    lines = console.export_text().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "…" not in "".join(lines)
    assert lines[2].split()[:2] == ["optimizer", "verdict"]
    assert ("µs" in lines[2]) == (width == 200)


def test_the_users_optimizer_stands_out_and_the_table_fits(driver):
    browser.resize(driver, 1280)
    own = driver.find_elements("css selector", "table.sortable tr.own")
    assert {row.get_attribute("data-name") for row in own} == {HOSTILE}
    widths = driver.execute_script(
        "return [...document.querySelectorAll('table.sortable')].map((table) => "
        "table.offsetWidth - table.parentElement.clientWidth)"
    )
    assert max(widths) <= 0
