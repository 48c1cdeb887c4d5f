"""The charts' series are the numbers of the results, and the figures draw those series."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import sample_results
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from numpy.testing import assert_array_equal as assert_equal

from lecture_opt.compare import results as results_module
from lecture_opt.compare.show import axes, charts, figures, lines
from lecture_opt.pages.styles import COLOURS, is_users, labels, styles

XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # from linear sRGB
SIGHT = {  # Machado, Oliveira and Fernandes (2009), of linear sRGB, in full
    "all": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.fixture
def study():
    return sample_results.make()


def chart_of(study, kind, task=None):
    (found,) = [c for c in charts.charts(study) if c.kind == kind and c.task == task]
    return found


def series_of(chart, name):
    (found,) = [one for one in chart.series if one.name == name]
    return found


def look_of(study):
    names = [optimizer.name for optimizer in study.optimizers]
    return lines.Look(styles(names), labels(names))


@pytest.mark.parametrize("choose", ["last", "best"])
def test_the_rates_are_said_to_be_measured_when_they_are(study, choose):
    study = replace(study, protocol=replace(study.protocol, choose=choose))
    assert f"each run at its {choose} evaluation" in chart_of(study, "rates", "digits").caption


def test_every_task_has_its_charts_and_all_tasks_theirs(study):
    found = [(chart.task, chart.kind) for chart in charts.charts(study)]
    kinds = ["differences", "loss", "metric", "rates", "budget"]
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


def test_differences_are_best_first_without_the_baseline_and_say_the_verdict(study):
    chart = chart_of(study, "differences", "digits")
    names = [one.name for one in chart.series]
    assert names == [cell.optimizer for cell in study.tasks[0].cells if cell.gain is not None]
    one = series_of(chart, "lecture:adam")
    assert (one.x, one.low, one.high) == ([0.02], [-0.01], [0.05])
    assert one.notes == ["undecided, p = 0.5"]
    assert chart.line == 0


def test_a_draw_of_more_than_the_rate_says_what_else(study):
    one = series_of(chart_of(study, "rates", "digits"), sample_results.HOSTILE)
    assert one.notes == ["b1 0.8", "b1 0.9", "b1 0.95"]


def test_errors_are_logarithmic_and_accuracies_are_spaced_by_error(study):
    assert chart_of(study, "metric", "diabetes").y.scale == "log"
    high = chart_of(study, "metric", "digits").y
    assert (high.scale, high.high) == ("error", pytest.approx(0.9, abs=0.1))


def tuned(study, means):
    """The study with other means of the tuning runs, for each optimizer of its first task."""
    first, *rest = study.tasks
    cells = []
    for cell, mean in zip(first.cells, means, strict=True):
        spread = replace(cell.tuning.validation, mean=np.array(mean), low=None, high=None)
        cells.append(replace(cell, tuning=replace(cell.tuning, validation=spread)))
    return replace(study, tasks=[replace(first, cells=cells), *rest])


@pytest.mark.parametrize("far", [1e3, 1e28, np.nan, np.inf])
def test_a_rate_about_to_diverge_stretches_no_axis(study, far):
    """Untrained the error is 1: the axis ends a little above, whatever the largest rate gives."""
    first, *rest = study.tasks
    first = replace(first, higher_is_better=False, untrained={"validation": 1.0, "test": 1.0})
    study = replace(study, tasks=[first, *rest])
    good = [[1.0, 0.5, 0.4], [0.9, 0.5, 0.6], [0.8, 0.4, 0.3], [1.0, 0.5, far]]
    axis = chart_of(tuned(study, good), "rates", "digits").y
    assert axis.scale == "log"
    assert axis.low == 0.3
    assert 1 <= axis.high <= 1.5


def test_accuracies_near_the_top_are_spread(study):
    """Half of the axis is for errors below the square root of the least and the largest."""
    means = [[0.1, 0.97, 0.98], [0.1, 0.96, 0.97], [0.2, 0.98, 0.99], [0.1, 0.9, 0.98]]
    axis = chart_of(tuned(study, means), "rates", "digits").y
    low, middle, high = axes.places(np.array([0.1, 0.9, 0.99]), axis.scale)
    assert axis.scale == "error"
    assert middle - low < high - middle


def test_an_accuracy_of_one_has_a_place_on_the_axis(study):
    means = [[0.1, 0.97, 1.0], [0.1, 0.96, 0.97], [0.2, 0.98, 0.99], [0.1, 0.9, 1.0]]
    axis = chart_of(tuned(study, means), "rates", "digits").y
    assert axis.high < 1
    assert np.isfinite(axes.places(np.array([axis.high]), axis.scale)).all()


@pytest.mark.parametrize("scale", ["linear", "log", "error"])
def test_places_and_values_are_inverse(scale):
    found = np.array([0.001, 0.3, 0.5, 0.999])
    assert_allclose(axes.values(axes.places(found, scale), scale), found, rtol=1e-12)
    assert np.isnan(axes.places(np.array([np.nan, -np.inf, np.inf]), scale)).all()


def test_one_that_diverged_flattens_no_differences(study):
    """Its gain of -100 is beyond the frame, which the others fill."""
    first, *rest = study.tasks
    cells = list(first.cells)
    lost = replace(cells[1].gain, mean=-100.0, low=-110.0, high=-90.0)
    cells[1] = replace(cells[1], gain=lost, diverged=replace(cells[1].diverged, reporting=3))
    study = replace(study, tasks=[replace(first, cells=cells), *rest])
    axis = chart_of(study, "differences", "digits").x
    assert -1 < axis.low < 0 < axis.high < 1


def test_lines_that_coincide_are_one_line_with_all_names(study):
    """Equal to within half a percent of the axis at every point, and missing at the same ones."""
    x = np.arange(4)
    y = np.array([1.0, 0.5, 0.2, 0.1])
    gone = np.where(x == 3, np.nan, y)
    drawn = [("a", x, y), ("b", x, y * 1.001), ("c", x, y * 1.1), ("d", x, gone), ("e", x, gone)]
    found = axes.coinciding(drawn, axes.Axis("y", "log", 0.1, 1.0))
    assert found == [["a", "b"], ["d", "e"]]
    assert axes.coinciding([("a", x, y), ("b", 2 * x, y)], axes.Axis("y")) == []
    shown = axes.Axis("y", "log", 0.1, 0.4)  # apart where they can't be seen
    assert axes.coinciding([("a", x, y), ("b", x, np.where(y > 0.4, 9, y))], shown) == [["a", "b"]]
    assert axes.coinciding([("a", x, y * 1e9), ("b", x, y * 1e12)], shown) == []


def test_equal_optimizers_are_drawn_once(study):
    first, *rest = study.tasks
    cells = [replace(cell, loss=first.cells[0].loss) for cell in first.cells]
    study = replace(study, tasks=[replace(first, cells=cells), *rest])
    chart = chart_of(study, "loss", "digits")
    assert [sorted(names) for names in chart.coinciding] == [sorted(sample_results.NAMES)]
    ((names, one),) = lines.distinct(chart)
    assert names[0] == one.name == sample_results.HOSTILE  # the user's own
    figure = figures.panel_figure([chart], look_of(study))
    assert len([line for line in figure.axes[0].lines if line.get_label() in names]) == 1


def test_charts_without_a_number_are_left_out(study):
    nothing = results_module.Curve(*[np.full(4, np.nan)] * 3, np.full((3, 4), np.nan))
    first, second = study.tasks
    first = replace(first, cells=[replace(cell, loss=nothing) for cell in first.cells])
    study = replace(study, overall=results_module.Overall(None, None), tasks=[first, second])
    kinds = [(chart.task, chart.kind) for chart in charts.charts(study)]
    assert ("digits", "loss") not in kinds
    assert ("diabetes", "loss") in kinds
    assert not [pair for pair in kinds if pair[0] is None]


def test_the_users_own_have_colours_to_themselves():
    names = ["mine.py:adam", "b.py:opt", *(f"optax:{letter}" for letter in "abcdefghijklm")]
    look = styles(names)
    own = [look[name] for name in names if is_users(name)]
    assert [style.colour for style in own] == [COLOURS[1], COLOURS[0]]
    assert {style.dashes for style in own} == {()}
    assert not {s.colour for s in own} & {look[n].colour for n in names if not is_users(n)}
    assert len(set(look.values())) == len(names)
    assert len({style.colour for style in look.values()}) <= 8


def test_colours_can_be_told_apart():
    """WCAG's contrast of graphics on paper, 3:1, and CIELAB distances in Machado's simulation."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert (1.05 / (linear @ XYZ[1] + 0.05) >= 3).all()
    for seen in SIGHT.values():
        xyz = np.clip(linear @ np.array(seen).T, 0, 1) @ XYZ.T / [0.95047, 1, 1.08883]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])
        apart = np.linalg.norm(lab[:, :, None] - lab[:, None], axis=0)
        assert apart[~np.eye(len(COLOURS), dtype=bool)].min() > 20  # Okabe and Ito: 16


@pytest.mark.parametrize("width", [10, 28])
def test_labels_are_short_and_stay_apart(width):
    names = [f"optax:sgd(momentum=0.9, decay={k}, nesterov=True)" for k in range(12)]
    names += ["mine.py:" + "x" * 200, "mine.py:" + "x" * 199 + "y", "optax:a"]
    found = labels(names, width)
    assert len(set(found.values())) == len(names)
    assert max(len(text) for text in found.values()) <= width
    assert found["optax:a"] == "optax:a"


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
    look = look_of(study)
    figure = figures.panel_figure([c for c in found if c.kind == "loss"], look)
    assert isinstance(figure, Figure)
    first = figure.axes[0]
    assert first.get_yscale() == "log"
    assert (first.get_xlabel(), first.get_ylabel()) == ("optimizer steps", "training loss")
    drawn = {line.get_label(): line for line in first.lines}
    for one in chart_of(study, "loss", "digits").series:
        assert_equal(drawn[one.name].get_ydata(), one.y)
        assert drawn[one.name].get_color() == look.style[one.name].colour


def test_names_lie_beside_the_plot_and_not_on_each_other(study):
    """Sixteen long ones, half of them on one line: nothing overlaps or leaves the paper."""
    names = [
        f"mine.py:a_very_long_name_of_an_optimizer_{k}_with_all_its_settings" for k in range(16)
    ]
    (cell, *_), x = study.tasks[0].cells, study.tasks[0].steps
    drawn = [
        charts.Series(name, x, cell.loss.median * (1 + k // 2)) for k, name in enumerate(names)
    ]
    chart = chart_of(study, "loss", "digits")
    chart = charts._joined(chart._replace(series=drawn, y=axes.Axis("training loss", "log")))
    assert len(chart.coinciding) == 8
    look = lines.Look(styles(names), labels(names))
    figure = figures.panel_figure([chart, chart], look)
    canvas = FigureCanvasAgg(figure)
    for ax in figure.axes:
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in ax.texts]
        assert len(boxes) == 16
        assert all(box.x0 > ax.bbox.x1 for box in boxes)
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_figures_are_written_without_a_word(every_format, tmp_path, recwarn, caplog):
    """With a name that would start mathematics, be left out of a legend, and has no glyphs."""
    text = json.dumps(sample_results.PLAIN).replace("lecture:adam", "_mine.py:优化$_$")
    study = results_module.study(json.loads(text))
    paths = figures.draw(study, charts.charts(study), tmp_path)
    assert sorted({path.suffix for path in paths}) == [".pdf", ".png", ".svg", ".tex"]
    assert not list(recwarn)
    assert not caplog.records
    (caption,) = re.findall(r"caption.*Loss against step.*", (tmp_path / "figures.tex").read_text())
    for part in ("3 other seeds", "noise floor", "optax:adam", "digits", r"95\\%"):
        assert re.search(part, caption, re.IGNORECASE), part
    assert b"3 other seeds" in (tmp_path / "loss.pdf").read_bytes()
    assert b"3 other seeds" in (tmp_path / "loss.svg").read_bytes()
