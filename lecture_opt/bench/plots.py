"""The bench as a figure, drawn from the same results that the tables print."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from lecture_opt.bench.types import Estimate, Results
from lecture_opt.pages.paper import legend, paper
from lecture_opt.pages.styles import styles

PANELS = (("trace", "trace"), ("compile", "compile"), ("step", "compiled step"))


def series(results: Results, kind: str) -> dict[str, list[Estimate | None]]:
    """For each optimizer its seconds on each tree; None where they were not measured."""
    names = dict.fromkeys(cell.optimizer for tree in results.trees for cell in tree.cells)
    found = [{cell.optimizer: cell.seconds for cell in tree.cells} for tree in results.trees]
    return {name: [cells.get(name, {}).get(kind) for cells in found] for name in names}


def draw(results: Results, path: Path) -> Path:
    """Writes the figure: seconds to trace, compile and step, by tree; returns its path."""
    with paper("bench"):
        _figure(results).savefig(path, dpi=120)
    return path


def _figure(results: Results) -> Figure:
    trees = [tree.tree for tree in results.trees]
    figure = Figure(figsize=(4.2 * len(PANELS), 4.2), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    for ax, (kind, title) in zip(axes, PANELS, strict=True):
        rows = series(results, kind)
        look = styles(rows)
        width = 0.8 / len(rows)
        for i, (name, values) in enumerate(rows.items()):
            shown = [(x + (i + 0.5) * width - 0.4, v) for x, v in enumerate(values) if v]
            ax.bar(
                [x for x, _ in shown],
                [v.value for _, v in shown],
                width,
                yerr=[[v.value - v.low for _, v in shown], [v.high - v.value for _, v in shown]],
                color=look[name].colour,
                hatch="//" if look[name].dashes else None,
                edgecolor="white",
                linewidth=0,
                label=name,
            )
        if kind == "step":
            _limits(ax, results)
        ax.set(yscale="log", title=title)
        low, high = ax.get_ylim()
        ax.set_ylim(low / 2, 1.2 * high)  # bars a little apart look so
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(EngFormatter(unit="s"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xticks(range(len(trees)), trees, rotation=30, ha="right")
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[-1].get_legend_handles_labels()
    legend(figure, handles, labels)
    return figure


def _limits(ax: Axes, results: Results) -> None:
    """A line per tree: the time of the bytes that the first optimizer must move."""
    for x, tree in enumerate(results.trees):
        limit = tree.cells[0].bytes.moved / tree.bandwidth
        label = "bandwidth limit" if x == 0 else ""
        ax.hlines(limit, x - 0.45, x + 0.45, color="black", linestyle=":", label=label)
