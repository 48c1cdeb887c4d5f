"""The lines of a figure: names at their ends, and only the part of the axes that tells."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from lecture_opt.compare.show.axes import Axis, places, values
from lecture_opt.compare.show.charts import Chart, Series
from lecture_opt.pages.styles import Style, is_users

TYPE = 6.0
"""Points of the type of labels."""

QUIET = "#55606c"
_REFERENCE = {"color": QUIET, "linewidth": 0.8, "linestyle": ":"}


class Look(NamedTuple):
    """How every optimizer is drawn and called."""

    style: Mapping[str, Style]
    label: Mapping[str, str]


def draw_lines(ax: Any, chart: Chart, look: Look) -> None:
    """Every line that is distinct, the user's own above the others, and the names beside them."""
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
    ax.set_ylabel(chart.y.label.replace(" (", "\n("))
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
    apart = min(1.25 * TYPE / 72 / height, 1.1 / max(1, len(rows) - 1))
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
    place = blended_transform_factory(inches, ax.transAxes)  # from the right end of the axes
    for at, (_, text, name, i) in zip(spread([row[0] for row in rows], apart), rows, strict=True):
        if i == 0:
            stroke = _stroke(look.style[name], name) if name else _REFERENCE
            ax.plot([0.05, 0.2], [at, at], transform=place, clip_on=False, **stroke)
        weight = "bold" if name and is_users(name) else "normal"
        bold = {"fontsize": TYPE, "fontweight": weight, "va": "center"}
        ax.text(0.24, at, text, transform=place, **bold)


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


def _scale(set_scale: Callable[..., None], chosen: Axis) -> None:
    if chosen.scale == "log":
        set_scale("log", nonpositive="mask")
    elif chosen.scale == "error":
        both = (functools.partial(function, scale="error") for function in (places, values))
        set_scale("function", functions=tuple(both))


def _plain_ticks(axis: Any, scale: str) -> None:
    """Plain numbers at the ticks; between the powers of ten only where there are few powers."""
    if scale == "linear":
        return
    low, high = axis.get_view_interval()
    if scale == "error":
        low, high = 1 - high, 1 - low
    decades = np.log10(high / low)
    between = range(1, 10) if decades < 0.6 else (1, 2, 5) if decades < 2 else (1,)
    locator: Any = MaxNLocator(5) if decades < 0.25 else LogLocator(subs=between)
    if scale == "error":
        locator = FixedLocator([1 - error for error in locator.tick_values(low, high)])
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_minor_locator(NullLocator())
