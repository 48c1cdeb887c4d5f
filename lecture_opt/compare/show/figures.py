"""The charts as figures for a paper: PDF, PNG and SVG, from the series of `charts.py`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from lecture_opt.compare.results.types import Study
from lecture_opt.compare.show import captions
from lecture_opt.compare.show.charts import Chart
from lecture_opt.compare.show.latex import escape
from lecture_opt.compare.show.lines import QUIET, TYPE, Look, draw_lines
from lecture_opt.pages.paper import DPI, paper, save
from lecture_opt.pages.styles import is_users, labels, styles

WIDTH = 7.0
"""Inches, as wide as the text of a page."""


def draw(study: Study, found: Sequence[Chart], folder: Path) -> list[Path]:
    """Writes a figure for each kind of chart, a panel for each task, and figures.tex.

    The same charts give the same bytes. Captions say how it was done and how much is noise; they
    are in figures.tex, and in each file among its metadata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [series.name for chart in found for series in chart.series]
    look = Look(styles(names), labels(names, 24))
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
            r"\begin{figure*}",
            r"\centering",
            f"\\includegraphics[width=\\textwidth]{{{kind}.pdf}}",
            f"\\caption{{{escape(caption)}}}",
            f"\\label{{fig:{kind}}}",
            r"\end{figure*}",
            "",
        ]
    )


def panel_figure(panels: Sequence[Chart], look: Look) -> Figure:
    """The panels of one kind side by side, two a row."""
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    width = WIDTH if columns == 2 else 5.0
    layout: Any = ConstrainedLayoutEngine(w_pad=0.06)
    figure = Figure(figsize=(width, _height(panels) * rows), layout=layout, dpi=DPI)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    fill: Callable[..., None] = _PANELS.get(panels[0].kind, draw_lines)
    for ax, chart in zip(axes, panels, strict=False):
        ax.set_title(chart.task or chart.title)
        ax.spines[["top", "right"]].set_visible(False)
        fill(ax, chart, look)
        ax.set_xlabel(chart.x.label)
    for ax in axes[len(panels) :]:
        ax.remove()
    layout.execute(figure)
    figure.set_layout_engine(None)  # once is enough
    return figure


def _height(panels: Sequence[Chart]) -> float:
    """Inches of one panel: it grows with the rows or the labels in it."""
    count = max(len(chart.series) for chart in panels)
    if panels[0].kind in ("differences", "ranks"):
        return 0.9 + 0.17 * count
    return max(2.2, 0.6 + 0.115 * count)


def _differences(ax: Any, chart: Chart, look: Look) -> None:
    """Best at the top; what lies beyond the frame is an arrow with its number."""
    low, high = chart.x.low or 0.0, chart.x.high or 0.0
    room = 0.06 * (high - low) or 1.0
    if chart.margin is not None:
        ax.axvspan(-chart.margin, chart.margin, color="#000", alpha=0.07, linewidth=0)
    ax.axvline(0, color=QUIET, linewidth=0.8)
    for row, series in enumerate(chart.series):
        (mean,), colour = series.x, look.style[series.name].colour
        ax.plot([series.low, series.high], [row, row], color=colour, linewidth=1.6)
        if low <= mean <= high:
            ax.plot([mean], [row], "o", color=colour, markersize=4)
            continue
        edge, mark = (low - room / 2, "<") if mean < low else (high + room / 2, ">")
        ax.plot([edge], [row], mark, color=colour, markersize=5, clip_on=False)
        side = "left" if mean < low else "right"
        away = (6 if mean < low else -6, 1)
        ax.annotate(
            f"{mean:.2g}", (edge, row), away, textcoords="offset points", ha=side, fontsize=TYPE
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
            f"{at[0]:.2f}", at, (5, 0), textcoords="offset points", va="center", fontsize=TYPE
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
        text, middle = f"critical difference {chart.line:.2f}", (left + chart.line / 2, -0.6)
        ax.annotate(text, middle, (0, 3), textcoords="offset points", ha="center", fontsize=TYPE)


def _rows(ax: Any, names: Sequence[str], look: Look) -> None:
    ax.set_yticks(range(len(names)), [look.label[name] for name in names])
    for name, text in zip(names, ax.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if is_users(name) else "normal")
    ax.tick_params(axis="y", labelsize=TYPE, length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.25, linewidth=0.4)


_PANELS: Mapping[str, Callable[..., None]] = {"differences": _differences, "ranks": _ranks}
