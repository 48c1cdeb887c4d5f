"""The comparison as figures, drawn from the same results that the tables print."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito (2008), which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PAIRS = {
    "optax:sgd(momentum=0.9)": "momentum",
    "optax:sgd(momentum=0.9, nesterov=True)": "nesterov",
}


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes `losses.png` and `learning_rates.png` into the folder; returns their paths."""
    names = sorted({c["optimizer"] for task in results["tasks"] for c in task["cells"]})
    families = sorted({_family(name) for name in names})
    style = {
        name: {
            "color": _COLOURS[families.index(_family(name)) % len(_COLOURS)],
            "linestyle": "--" if name.startswith("optax:") else "-",
            "label": name,
        }
        for name in names
    }
    return [
        _figure(results, style, _losses, folder / "losses.png"),
        _figure(results, style, _rates, folder / "learning_rates.png"),
    ]


def _family(name: str) -> str:
    return _PAIRS.get(name, name.partition(":")[2])


def _figure(results: dict[str, Any], style: dict[str, Any], panel: Any, path: Path) -> Path:
    tasks = results["tasks"]
    figure = Figure(figsize=(4.2 * len(tasks), 4.6), layout="constrained")
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for ax, task in zip(axes, tasks, strict=True):
        ax.set_title(task["name"])
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        panel(ax, task, style, results["protocol"])
    lines = {name: line for ax in axes for line, name in zip(*ax.get_legend_handles_labels())}  # noqa: B905
    names = sorted(lines)
    figure.legend(
        [lines[name] for name in names],
        names,
        loc="outside lower center",
        ncols=max(1, min(6, round(1.5 * len(tasks)))),
        frameon=False,
    )
    figure.savefig(path, dpi=120)
    return path


def _losses(ax: Any, task: dict[str, Any], style: dict[str, Any], _: Any) -> None:
    for cell in task["cells"]:
        low, middle, high = (
            np.asarray(cell["loss"][name], float) for name in ("low", "median", "high")
        )
        line = style[cell["optimizer"]]
        ax.plot(task["steps"], middle, lw=1.6, **line)
        ax.fill_between(task["steps"], low, high, color=line["color"], alpha=0.08, lw=0)
    ax.set(yscale="log", xlabel="step", ylabel="training loss (median and quartiles)")


def _rates(ax: Any, task: dict[str, Any], style: dict[str, Any], _: Any) -> None:
    for cell in task["cells"]:
        tuning = cell["tuning"]
        values = np.asarray(tuning["validation"]["mean"], float)
        ax.plot(
            tuning["draws"]["learning_rate"], values, marker="o", ms=3, **style[cell["optimizer"]]
        )
    ax.set(xscale="log", xlabel="learning rate", ylabel=f"validation {task['metric']}")
    if not task["higher_is_better"]:
        ax.set_yscale("log")
