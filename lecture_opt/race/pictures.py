"""The race as pictures: a still for paper, as PNG and SVG, and an animation, as GIF."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from lecture_opt.pages.paper import legend, paper
from lecture_opt.pages.styles import is_users, styles
from lecture_opt.race.surfaces import Surface
from lecture_opt.race.trajectories import Lane, heights

FRAMES = 75
"""Of the animation at most, so that the file stays small."""

_GROUND = LinearSegmentedColormap.from_list("ground", ["#b9c3cf", "#f7f8fa"])


def still(lanes: Sequence[Lane], surfaces: Sequence[Surface], folder: Path) -> list[Path]:
    """Writes race.png and race.svg: a panel for each surface. The same race, the same bytes."""
    written = [folder / "race.png", folder / "race.svg"]
    with paper("race"):
        figure, _ = _figure(lanes, surfaces, scale=1.0)
        figure.savefig(written[0], dpi=200)
        figure.savefig(written[1], metadata={"Date": None})
    return written


def animation(lanes: Sequence[Lane], surfaces: Sequence[Surface], folder: Path) -> list[Path]:
    """Writes race.gif: the paths grow, then stand still for two seconds."""
    with paper("race"):
        frames = _frames(lanes, surfaces)
    path = folder / "race.gif"
    times = [80] * (len(frames) - 1) + [2000]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0)
    return [path]


def _frames(lanes: Sequence[Lane], surfaces: Sequence[Surface]) -> list[Image.Image]:
    """The animation's pictures, all in the palette of the last."""
    figure, drawn = _figure(lanes, surfaces, scale=0.8)
    canvas = FigureCanvasAgg(figure)
    lines = [line for line, _ in drawn]
    for line in lines:
        line.set_animated(True)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    steps = len(next(iter(lanes[0].paths.values())).points) - 1
    frames = []
    for step in np.unique(np.linspace(0, steps, min(FRAMES, steps + 1)).round().astype(int)):
        canvas.restore_region(ground)
        for line, points in drawn:
            reached = points[: step + 1]
            line.set_data(reached[:, 0], reached[:, 1])
            line.set_markevery([len(reached) - 1])
            line.axes.draw_artist(line)
        frames.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]))
    palette = _palette(frames[-1], [line.get_color() for line in lines])
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _palette(frame: Image.Image, colours: Sequence[str]) -> Image.Image:
    """The palette of a frame, in which the paths' own colours weigh as much as the ground's."""
    width, height = frame.size
    sample = Image.new("RGB", (width, height + 20 * len(set(colours))), "white")
    sample.paste(frame)
    for i, colour in enumerate(sorted(set(colours))):
        sample.paste(colour, (0, height + 20 * i, width, height + 20 * (i + 1)))
    return sample.quantize(256, dither=Image.Dither.NONE)


def _figure(
    lanes: Sequence[Lane], surfaces: Sequence[Surface], scale: float
) -> tuple[Figure, list[tuple[Any, np.ndarray]]]:
    """The finished picture, and every path's (line, points)."""
    columns = min(3, len(surfaces))
    rows = math.ceil(len(surfaces) / columns)
    width = 3.5 * columns if columns > 1 else 5.5
    figure = Figure(
        figsize=(width, (2.9 if columns > 1 else 4.4) * rows + 0.5), layout="constrained"
    )
    figure.set_dpi(100 * scale)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    look = styles(lane.name for lane in lanes)
    drawn = []
    for ax, surface in zip(panels, surfaces, strict=False):
        _ground(ax, surface)
        for lane in sorted(lanes):
            path, style = lane.paths[surface.name], look[lane.name]
            dashes = (0, style.dashes) if style.dashes else "-"
            (line,) = ax.plot(
                *path.walked.T,
                color=style.colour,
                linestyle=dashes,
                linewidth=2.6 if is_users(lane.name) else 1.6,
                marker="X" if path.diverged else "o",
                markersize=6,
                markevery=[len(path.walked) - 1],
                markeredgecolor="white",
                markeredgewidth=0.7,
                label=lane.name,
                solid_joinstyle="round",
            )
            drawn.append((line, path.walked))
        begin = lanes[0].paths[surface.name].points[0]
        ax.plot(*begin, "o", markersize=7, mfc="none", mec="#222", mew=1.4, zorder=3)
    for ax in panels[len(surfaces) :]:
        ax.remove()
    legend(figure, *panels[0].get_legend_handles_labels())
    return figure, drawn


def _ground(ax: Any, surface: Surface) -> None:
    """The surface as shaded contours, and its minima as stars."""
    x, y = np.meshgrid(np.linspace(*surface.x, 160), np.linspace(*surface.y, 160))
    height = heights(surface, np.stack([x, y], axis=-1))
    level = np.log10(height + height.max() * 1e-4)
    ax.contourf(x, y, level, levels=14, cmap=_GROUND)
    ax.contour(x, y, level, levels=14, colors="#8a96a3", linewidths=0.35, linestyles="solid")
    ax.plot(*np.transpose(surface.minima), "*", color="#222", markersize=8, mec="white", mew=0.6)
    ax.set(xlim=surface.x, ylim=surface.y, xlabel="x", ylabel="y")
    ax.set_title(surface.title, fontsize="medium")
