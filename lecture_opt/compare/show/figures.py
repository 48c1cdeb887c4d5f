"""The charts as figures for a paper: PDF, PNG and SVG, from the series of `charts.py`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from lecture_opt.compare.results.types import Study
from lecture_opt.compare.show import captions
from lecture_opt.compare.show.axes import Axis, places, values
from lecture_opt.compare.show.charts import Chart, Series
from lecture_opt.compare.show.latex import escape
from lecture_opt.pages.paper import paper, save
from lecture_opt.pages.styles import Style, is_users, labels, styles

WIDTH = 7.0
"""Inches, as wide as the text of a page."""

_TYPE = 6.5
_QUIET = "#55606c"
_REFERENCE = {"color": _QUIET, "linewidth": 0.8, "linestyle": ":"}


class Look(NamedTuple):
    """How every optimizer is drawn and called."""

    style: Mapping[str, Style]
    label: Mapping[str, str]


def draw(study: Study, found: Sequence[Chart], folder: Path) -> list[Path]:
    """Writes a figure for each kind of chart, a panel for each task, and figures.tex.

    The same charts give the same bytes. Captions say how it was done and how much is noise; they
    are in figures.tex, and in each file among its metadata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [series.name for chart in found for series in chart.series]
    look = Look(styles(names), labels(names))
    written, floats = [], []
    for kind in dict.fromkeys(chart.kind for chart in found):
        panels = [chart for chart in found if chart.kind == kind]
        caption = captions.figure(panels, study)
        with paper(kind):
            written += save(panel_figure(panels, look), folder, kind, caption)
        floats.append(_float(kind, caption))
    text = "\n".join(["% Needs \\usepackage{graphicx}.", *floats])
    (folder / "figures.tex").write_text(text, encoding="utf-8")
    return [*written, folder / "figures.tex"]


def _float(kind: str, caption: str) -> str:
    return "\n".join(
        [
            r"\begin{figure}",
            r"\centering",
            f"\\includegraphics[width=\\linewidth]{{{kind}.pdf}}",
            f"\\caption{{{escape(caption)}}}",
            f"\\label{{fig:{kind}}}",
            r"\end{figure}",
            "",
        ]
    )


def panel_figure(panels: Sequence[Chart], look: Look) -> Figure:
    """The panels of one kind side by side, two a row."""
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    width = WIDTH if columns == 2 else 5.0
    figure = Figure(figsize=(width, _height(panels) * rows), layout=ConstrainedLayoutEngine())
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, chart in zip(axes, panels, strict=False):
        ax.set_title(chart.task or chart.title)
        ax.spines[["top", "right"]].set_visible(False)
        _PANELS.get(chart.kind, _lines)(ax, chart, look)
        ax.set_xlabel(chart.x.label)
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine(None)  # once is enough
    return figure


def _height(panels: Sequence[Chart]) -> float:
    """Inches of one panel: it grows with the rows or the labels in it."""
    count = max(len(chart.series) for chart in panels)
    if panels[0].kind in ("differences", "ranks"):
        return 0.9 + 0.17 * count
    return max(2.2, 0.6 + 0.115 * count)


# ---- lines -------------------------------------------------------------------------------------


def _lines(ax: Any, chart: Chart, look: Look) -> None:
    _scale(ax.set_xscale, chart.x)
    _scale(ax.set_yscale, chart.y)
    ends: list[tuple[Sequence[str], Series]] = []
    banded = len(chart.series) <= 8
    for names, series in distinct(chart):
        style = look.style[series.name]
        ax.plot(
            series.x,
            series.y,
            **_stroke(style, series.name, series.joined),
            marker="o" if chart.kind == "rates" else None,
            markersize=2,
            drawstyle="steps-post" if chart.kind == "profiles" else "default",
            label=series.name,
            zorder=3 if is_users(series.name) else 2,
        )
        if banded and series.low is not None and series.high is not None and series.joined:
            ax.fill_between(
                series.x, series.low, series.high, color=style.colour, alpha=0.08, linewidth=0
            )
        ends.append((names, series))
    _limits(ax, chart)
    _plain_ticks(ax.xaxis, chart.x.scale)
    _plain_ticks(ax.yaxis, chart.y.scale)
    ax.grid(alpha=0.25, linewidth=0.4)
    ax.set_ylabel(chart.y.label)
    _label(ax, chart, ends, look)


def distinct(chart: Chart) -> list[tuple[Sequence[str], Series]]:
    """The lines to draw, those that lie on each other as one with all their names."""
    names_of = {names[0]: names for names in chart.coinciding}
    hidden = {name for names in chart.coinciding for name in names[1:]}
    return [
        (names_of.get(one.name, [one.name]), one) for one in chart.series if one.name not in hidden
    ]


def _limits(ax: Any, chart: Chart) -> None:
    """The part of y that the chart shows, and a little room."""
    low, high = chart.y.low, chart.y.high
    if low is None or high is None or not low < high:
        return
    ends = places(np.array([low, high]), chart.y.scale)
    if np.isfinite(ends).all():
        room = 0.04 * (ends[1] - ends[0])
        ax.set_ylim(*values(ends + np.array([-room, room]), chart.y.scale))


def _stroke(style: Style, name: str, joined: bool = True) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": (0, style.dashes) if style.dashes else "-",
        "linewidth": 0 if not joined else 2.0 if is_users(name) else 1.0,
    }


def _label(ax: Any, chart: Chart, ends: Sequence[tuple[Sequence[str], Series]], look: Look) -> None:
    """The names at the right, each as near as may be to where its line ends."""
    rows = [
        (_height_of(ax, series), look.label[name] if i == 0 else f"= {look.label[name]}", name, i)
        for names, series in ends
        for i, name in enumerate(names)
    ]
    low, high = ax.get_ylim()
    if chart.line is not None and low <= chart.line <= high:
        ax.axhline(chart.line, zorder=0, **_REFERENCE)
        rows.append((_share(ax, chart.line), chart.line_label, "", 0))
    rows.sort(key=lambda row: -row[0])
    height = ax.figure.get_figheight() / ax.get_gridspec().nrows - 0.6
    apart = min(1.25 * _TYPE / 72 / height, 1.1 / max(1, len(rows) - 1))
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
    place = blended_transform_factory(inches, ax.transAxes)  # from the right end of the axes
    for at, (_, text, name, i) in zip(spread([row[0] for row in rows], apart), rows, strict=True):
        if i == 0:
            stroke = _stroke(look.style[name], name) if name else _REFERENCE
            ax.plot([0.06, 0.26], [at, at], transform=place, clip_on=False, **stroke)
        weight = "bold" if name and is_users(name) else "normal"
        bold = {"fontsize": _TYPE, "fontweight": weight, "va": "center"}
        ax.text(0.3, at, text, transform=place, **bold)


def _height_of(ax: Any, series: Series) -> float:
    """How high the line ends, as a share of the axes: of its last point that is shown."""
    low, high = ax.get_ylim()
    inside = series.y[np.isfinite(series.y) & (series.y >= low) & (series.y <= high)]
    return _share(ax, inside[-1]) if inside.size else 1.0


def _share(ax: Any, y: float) -> float:
    return float(ax.transAxes.inverted().transform(ax.transData.transform((1, y)))[1])


def spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Heights at least so far apart, falling, each as near as may be to where it wants to be.

    >>> spread([1.0, 0.5, 0.5], 0.25)
    [1.0, 0.5, 0.25]
    """
    found = list(wanted)
    for i in range(1, len(found)):
        found[i] = min(found[i], found[i - 1] - apart)
    floor = -0.1
    for i in reversed(range(len(found))):
        found[i] = max(found[i], floor)
        floor = found[i] + apart
    return found


# ---- rows --------------------------------------------------------------------------------------


def _differences(ax: Any, chart: Chart, look: Look) -> None:
    """Best at the top; what lies beyond the frame is an arrow with its number."""
    low, high = chart.x.low or 0.0, chart.x.high or 0.0
    room = 0.06 * (high - low) or 1.0
    if chart.margin is not None:
        ax.axvspan(-chart.margin, chart.margin, color="#000", alpha=0.07, linewidth=0)
    ax.axvline(0, color=_QUIET, linewidth=0.8)
    for row, series in enumerate(chart.series):
        (mean,), colour = series.x, look.style[series.name].colour
        ax.plot([series.low, series.high], [row, row], color=colour, linewidth=1.6)
        if low <= mean <= high:
            ax.plot([mean], [row], "o", color=colour, markersize=4)
            continue
        edge, mark = (low - room / 2, "<") if mean < low else (high + room / 2, ">")
        ax.plot([edge], [row], mark, color=colour, markersize=5, clip_on=False)
        side = "left" if mean < low else "right"
        at = (6 if mean < low else -6, 1)
        ax.annotate(
            f"{mean:.2g}", (edge, row), at, textcoords="offset points", ha=side, fontsize=_TYPE
        )
    ax.set_xlim(low - room, high + room)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _rows(ax, [series.name for series in chart.series], look)


def _ranks(ax: Any, chart: Chart, look: Look) -> None:
    """Best at the top; a bar in the margin joins what is not told apart."""
    order = sorted(chart.series, key=lambda series: (series.x[0], series.name))
    rows = {series.name: row for row, series in enumerate(order)}
    for series in order:
        at = (series.x[0], rows[series.name])
        ax.plot(*at, "o", color=look.style[series.name].colour, markersize=5)
        ax.annotate(
            f"{at[0]:.2f}", at, (5, 0), textcoords="offset points", va="center", fontsize=_TYPE
        )
    ranks = [series.x[0] for series in order]
    left, right = min(ranks), max(max(ranks), min(ranks) + (chart.line or 0))
    wide = (right - left) or 1.0
    for i, group in enumerate(chart.groups):
        at = right + wide * (0.12 + 0.04 * i)
        ends = [rows[group[0]] - 0.2, rows[group[-1]] + 0.2]
        ax.plot([at, at], ends, color="#333", linewidth=2.5, solid_capstyle="butt")
    _rows(ax, [series.name for series in order], look)
    ax.set_ylim(len(order) - 0.4, -1.3)
    if chart.line is not None:
        ax.plot([left, left + chart.line], [-0.6, -0.6], color="#333", linewidth=1.0, marker="|")
        text, at = f"critical difference {chart.line:.2f}", (left + chart.line / 2, -0.6)
        ax.annotate(text, at, (0, 3), textcoords="offset points", ha="center", fontsize=_TYPE)


def _rows(ax: Any, names: Sequence[str], look: Look) -> None:
    ax.set_yticks(range(len(names)), [look.label[name] for name in names])
    for name, text in zip(names, ax.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if is_users(name) else "normal")
    ax.tick_params(axis="y", labelsize=_TYPE, length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.25, linewidth=0.4)


_PANELS: Mapping[str, Callable[..., None]] = {"differences": _differences, "ranks": _ranks}


# ---- scales ------------------------------------------------------------------------------------


def _scale(set_scale: Callable[..., None], chosen: Axis) -> None:
    if chosen.scale == "log":
        set_scale("log", nonpositive="mask")
    elif chosen.scale == "error":
        set_scale("function", functions=(_spaced, _unspaced))


def _spaced(accuracies: np.ndarray) -> np.ndarray:
    return places(accuracies, "error")


def _unspaced(spaced: np.ndarray) -> np.ndarray:
    return values(spaced, "error")


def _plain_ticks(axis: Any, scale: str) -> None:
    """Plain numbers at the ticks; between the powers of ten only where there are few powers."""
    if scale == "linear":
        return
    low, high = axis.get_view_interval()
    if scale == "error":
        low, high = 1 - high, 1 - low
    decades = np.log10(high / low)
    between = range(1, 10) if decades < 0.6 else (1, 2, 5) if decades < 2 else (1,)
    locator = LogLocator(subs=between)
    if decades < 0.25:
        locator = MaxNLocator(5)
    if scale == "error":
        locator = FixedLocator([1 - error for error in locator.tick_values(low, high)])
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_minor_formatter(NullFormatter())
