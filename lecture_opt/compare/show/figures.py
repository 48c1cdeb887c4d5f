"""The charts as figures for paper: PNG and SVG, from the series of `charts.py`."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lecture_opt.compare.show.charts import Chart
from lecture_opt.pages.styles import Style, styles

FORMATS = ("png", "svg")


def draw(found: Sequence[Chart], folder: Path) -> list[Path]:
    """Writes a figure for each kind of chart, a panel for each task. Same charts, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph or a place that matplotlib misses
        return _draw(found, folder)


def _draw(found: Sequence[Chart], folder: Path) -> list[Path]:
    look = styles(series.name for chart in found for series in chart.series)
    written = []
    for kind in dict.fromkeys(chart.kind for chart in found):
        # Names are text: a dollar sign in one starts no mathematics.
        with matplotlib.rc_context({"svg.hashsalt": kind, "text.parse_math": False}):
            figure = _figure([chart for chart in found if chart.kind == kind], look)
            for suffix in FORMATS:
                path = folder / f"{kind}.{suffix}"
                metadata = {"Date": None} if suffix == "svg" else None
                figure.savefig(path, dpi=150, metadata=metadata)
                written.append(path)
    return written


def _figure(panels: Sequence[Chart], look: Mapping[str, Style]) -> Figure:
    kind = panels[0].kind
    columns = min(4 if len(panels) > 6 else 3, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = _size(panels)
    names = sorted({series.name for chart in panels for series in chart.series})
    per_row = max(1, int(width * columns / 1.9))
    legend = (
        0.0 if kind in ("ranks", "differences") else 0.25 + 0.2 * math.ceil(len(names) / per_row)
    )
    layout = ConstrainedLayoutEngine()
    figure = Figure(figsize=(width * columns, height * rows + legend), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, chart in zip(axes, panels, strict=False):
        ax.set_title(chart.task or chart.title, fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        _PANELS.get(kind, _lines)(ax, chart, look)
        ax.set_xlabel(chart.x.label)
    for ax in axes[len(panels) :]:
        ax.remove()
    if legend:
        handles = {h.get_label(): h for ax in axes[: len(panels)] for h in ax.lines}
        figure.legend(
            [handles[name] for name in names],
            names,
            loc="outside lower center",
            ncols=min(per_row, len(names)),
            frameon=False,
            fontsize="small",
            handlelength=3,
        )
    layout.execute(figure)
    figure.set_layout_engine(None)  # once is enough
    return figure


def _size(panels: Sequence[Chart]) -> tuple[float, float]:
    """Inches of one panel: those with a row for each optimizer grow with their number."""
    count = max(len(chart.series) for chart in panels)
    return {
        "differences": (4.6, 1.1 + 0.24 * count),
        "ranks": (6.5, 1.2 + 0.3 * count),
        "profiles": (6.5, 4.2),
    }.get(panels[0].kind, (4.2, 3.3))


def _lines(ax: Any, chart: Chart, look: Mapping[str, Style]) -> None:
    top = np.inf if chart.y.top is None else chart.y.top
    for series in chart.series:
        style = look[series.name]
        x, y = series.x, np.minimum(series.y, top)
        ax.plot(
            x,
            y,
            color=style.colour,
            linestyle=(0, style.dashes) if style.dashes else "-",
            linewidth=1.5 if series.joined else 0,
            marker="o" if chart.kind in ("rates", "budget") else None,
            markersize=2.5,
            drawstyle="steps-post" if chart.kind == "profiles" else "default",
            label=series.name,
        )
        if series.low is not None and series.high is not None and series.joined:
            low, high = np.minimum(series.low, top), np.minimum(series.high, top)
            ax.fill_between(x, low, high, color=style.colour, alpha=0.08, linewidth=0)
    if chart.line is not None:
        ax.axhline(chart.line, color="#555", linewidth=0.8, linestyle=":", zorder=0)
        ax.annotate(
            chart.line_label,
            (0.99, chart.line),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize="x-small",
            color="#555",
        )
    ax.grid(alpha=0.25, linewidth=0.6)
    if chart.x.log:
        ax.set_xscale("log")
        _plain_ticks(ax.xaxis)
    if chart.y.log and _positive(chart):
        ax.set_yscale("log")
        _plain_ticks(ax.yaxis)
    ax.set_ylabel(chart.y.label)


def _differences(ax: Any, chart: Chart, look: Mapping[str, Style]) -> None:
    for row, series in enumerate(chart.series):
        (mean,), colour = series.x, look[series.name].colour
        ax.plot(
            [series.low, series.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt"
        )
        ax.plot([mean], [row], "o", color=colour, markersize=5)
    ax.axvline(0, color="#555", linewidth=0.8)
    ax.set_yticks(range(len(chart.series)), [series.name for series in chart.series])
    ax.tick_params(axis="y", labelsize="small", length=0)
    ax.set_ylim(len(chart.series) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.25, linewidth=0.6)


def _ranks(ax: Any, chart: Chart, look: Mapping[str, Style]) -> None:
    """Best at the top; a bar in the margin joins what is not told apart."""
    order = sorted(chart.series, key=lambda series: (series.x[0], series.name))
    rows = {series.name: row for row, series in enumerate(order)}
    for series in order:
        row = rows[series.name]
        ax.plot(series.x, [row], "o", color=look[series.name].colour, markersize=7)
        ax.annotate(
            f"{series.x[0]:.2f}",
            (series.x[0], row),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ranks = [series.x[0] for series in order]
    left, right = min(ranks), max(max(ranks), min(ranks) + (chart.line or 0))
    wide = (right - left) or 1.0
    for i, group in enumerate(chart.groups):
        at = right + wide * (0.12 + 0.04 * i)
        ends = [rows[group[0]] - 0.2, rows[group[-1]] + 0.2]
        ax.plot([at, at], ends, color="#333", linewidth=3, solid_capstyle="butt")
    ax.set_yticks(range(len(order)), [series.name for series in order])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(order) - 0.4, -1.1)
    if chart.line is not None:
        ax.plot([left, left + chart.line], [-0.6, -0.6], color="#333", linewidth=1.2, marker="|")
        ax.annotate(
            f"critical difference {chart.line:.2f}",
            (left + chart.line / 2, -0.6),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    ax.grid(axis="x", alpha=0.25, linewidth=0.6)


_PANELS = {"differences": _differences, "ranks": _ranks}


def _plain_ticks(axis: Any) -> None:
    """Plain numbers at the ticks; between the powers of ten only where there are few powers."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    between = range(1, 10) if decades < 0.6 else (1, 2, 5) if decades < 2 else (1,)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _positive(chart: Chart) -> bool:
    values = np.concatenate([series.y for series in chart.series])
    return bool(np.all(values[~np.isnan(values)] > 0))
