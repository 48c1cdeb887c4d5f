"""The charts' series are the numbers of the results, and the figures draw those series."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sample_results
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal as assert_equal

from lecture_opt.compare import results as results_module
from lecture_opt.compare.show import charts, figures
from lecture_opt.pages.styles import COLOURS, styles


@pytest.fixture
def study():
    return sample_results.make()


def chart_of(study, kind, task=None):
    (found,) = [c for c in charts.charts(study) if c.kind == kind and c.task == task]
    return found


def series_of(chart, name):
    (found,) = [one for one in chart.series if one.name == name]
    return found


def test_every_task_has_its_charts_and_all_tasks_theirs(study):
    found = [(chart.task, chart.kind) for chart in charts.charts(study)]
    kinds = ["loss", "metric", "rates", "budget", "differences"]
    assert found == [
        (None, "profiles"),
        (None, "ranks"),
        *(("digits", kind) for kind in kinds),
        *(("diabetes", kind) for kind in kinds),
    ]


@pytest.mark.parametrize("name", sample_results.NAMES)
def test_series_are_the_numbers_of_the_results(study, name):
    task = study.tasks[0]
    (cell,) = [cell for cell in task.cells if cell.optimizer == name]
    for kind, curve in (("loss", cell.loss), ("metric", cell.validation)):
        one = series_of(chart_of(study, kind, "digits"), name)
        assert_equal([one.x, one.y], [task.steps, curve.median])
        assert_equal([one.low, one.high], [curve.low, curve.high])
    one = series_of(chart_of(study, "rates", "digits"), name)
    assert_equal([one.x, one.y], [sample_results.RATES, cell.tuning.validation.mean])
    assert one.joined == (name != sample_results.HOSTILE)
    one = series_of(chart_of(study, "budget", "digits"), name)
    assert_equal([one.x, one.y], [[1, 2, 3], cell.budget.validation.mean])
    one = series_of(chart_of(study, "profiles"), name)
    assert_equal(one.y, study.overall.profiles.shares[name])
    assert series_of(chart_of(study, "ranks"), name).x == study.overall.ranks.mean[name]


def test_differences_leave_the_baseline_out_and_say_the_verdict(study):
    chart = chart_of(study, "differences", "digits")
    names = [one.name for one in chart.series]
    assert names == sorted(set(sample_results.NAMES) - {"optax:adam"})
    one = series_of(chart, "lecture:adam")
    assert (one.x, one.low, one.high) == ([0.02], [-0.01], [0.05])
    assert one.notes == ["undecided, p = 0.5"]
    assert chart.line == 0


def test_a_draw_of_more_than_the_rate_says_what_else(study):
    one = series_of(chart_of(study, "rates", "digits"), sample_results.HOSTILE)
    assert one.notes == ["b1 0.8", "b1 0.9", "b1 0.95"]


def test_errors_are_logarithmic_and_accuracies_are_not(study):
    assert not chart_of(study, "metric", "digits").y.log
    assert chart_of(study, "metric", "diabetes").y.log


def test_charts_without_a_number_are_left_out(study):
    nothing = results_module.Curve(*[np.full(4, np.nan)] * 3, np.full((3, 4), np.nan))
    first, second = study.tasks
    first = replace(first, cells=[replace(cell, loss=nothing) for cell in first.cells])
    study = replace(study, overall=results_module.Overall(None, None), tasks=[first, second])
    kinds = [(chart.task, chart.kind) for chart in charts.charts(study)]
    assert ("digits", "loss") not in kinds
    assert ("diabetes", "loss") in kinds
    assert not [pair for pair in kinds if pair[0] is None]


def test_a_style_follows_the_name_not_the_order():
    names = ["optax:adam", "lecture:sgd", "lecture:adam", "optax:sgd(momentum=0.9)", "optax:sgd"]
    look = styles(names)
    assert look == styles(reversed(names))
    assert look["lecture:adam"].colour == look["optax:adam"].colour
    assert look["lecture:adam"].dashes == ()
    assert len(set(look.values())) == len(names)
    many = styles(f"optax:{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert len(set(many.values())) == 26
    assert {style.colour for style in many.values()} == set(COLOURS)


def test_figures_draw_the_series(study):
    found = charts.charts(study)
    look = styles(sample_results.NAMES)
    figure = figures._figure([c for c in found if c.kind == "loss"], look)
    assert isinstance(figure, Figure)
    first = figure.axes[0]
    assert first.get_yscale() == "log"
    assert (first.get_xlabel(), first.get_ylabel()) == ("optimizer steps", "training loss")
    lines = {line.get_label(): line for line in first.lines}
    for one in chart_of(study, "loss", "digits").series:
        assert_equal(lines[one.name].get_ydata(), one.y)
        assert lines[one.name].get_color() == look[one.name].colour


def test_labels_are_words_and_not_mathematics(tmp_path):
    """A dollar sign in a name would start matplotlib's own mathematics, or end in an error."""
    text = json.dumps(sample_results.PLAIN).replace("lecture:adam", "mine.py:cost$_$")
    study = results_module.study(json.loads(text))
    paths = figures.draw(charts.charts(study), tmp_path)
    assert sorted({path.suffix for path in paths}) == [".png", ".svg"]
