"""The bench as a figure, drawn from the same results that the tables print."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito (2008), which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_KINDS = (("trace", "trace"), ("compile", "compile"), ("step", "compiled step"))


def series(
    results: dict[str, Any], kind: str
) -> dict[str, list[tuple[float, float, float] | None]]:
    """For each optimizer its (median, low, high) seconds on each tree; None where not measured."""
    names = list(dict.fromkeys(c["optimizer"] for t in results["trees"] for c in t["optimizers"]))
    rows: dict[str, list[tuple[float, float, float] | None]] = {name: [] for name in names}
    for tree in results["trees"]:
        cells = {cell["optimizer"]: cell for cell in tree["optimizers"]}
        for name in names:
            cell = cells.get(name, {})
            once = cell.get(f"{kind}_seconds")
            value = (once, once, once) if isinstance(once, float) else cell.get(f"{kind}_median")
            rows[name].append(value)
    return rows


def draw(results: dict[str, Any], path: Path) -> Path:
    """Writes the figure: seconds to trace, compile and step, by tree; returns its path."""
    trees = [tree["tree"] for tree in results["trees"]]
    figure = Figure(figsize=(4.2 * len(_KINDS), 4.2), layout="constrained")
    axes = figure.subplots(1, len(_KINDS))
    for ax, (kind, title) in zip(axes, _KINDS, strict=True):
        rows = series(results, kind)
        width = 0.8 / len(rows)
        for i, (name, values) in enumerate(rows.items()):
            shown = [(x + (i + 0.5) * width - 0.4, v) for x, v in enumerate(values) if v]
            heights = [v[0] for _, v in shown]
            errors = [[v[0] - v[1] for _, v in shown], [v[2] - v[0] for _, v in shown]]
            ax.bar(
                [x for x, _ in shown],
                heights,
                width,
                yerr=errors,
                color=_COLOURS[i % len(_COLOURS)],
                label=name,
            )
        if kind == "step":
            _limits(ax, results)
        ax.set(yscale="log", title=title, ylabel="seconds")
        ax.set_xticks(range(len(trees)), trees, rotation=30, ha="right")
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)
    return path


def _limits(ax: Any, results: dict[str, Any]) -> None:
    """A line a tree: the bytes that the first optimizer must move, at the copy's bandwidth."""
    bandwidth = results["bandwidth_bytes_per_second"]
    for x, tree in enumerate(results["trees"]):
        limit = tree["optimizers"][0]["moved_bytes"] / bandwidth
        label = "bandwidth limit" if x == 0 else None
        ax.hlines(limit, x - 0.45, x + 0.45, color="black", linestyle=":", label=label)
