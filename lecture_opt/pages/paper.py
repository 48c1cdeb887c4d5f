"""Figures for paper: one size of type, vectors that journals take, and matplotlib kept quiet."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lecture_opt.pages.styles import labels

DPI = 200
FORMATS = ("pdf", "png", "svg")


@contextmanager
def paper(name: str) -> Iterator[None]:
    """Settings under which figures are made and saved. The same figure gives the same bytes.

    Names are text: a dollar sign in one starts no mathematics, and a glyph that no font has is no
    reason to warn.
    """
    settings: Any = {
        "svg.hashsalt": name,
        "text.parse_math": False,
        "pdf.fonttype": 42,  # TrueType: some venues refuse Type 3
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 7,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "axes.linewidth": 0.6,
    }
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), matplotlib.rc_context(settings):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Names under the panels, cut where they are long, in the columns that the figure holds."""
    short = labels(names)
    texts = [short[name] for name in names]
    inches = 0.5 + 0.07 * max(len(text) for text in texts)
    columns = max(1, int(figure.get_figwidth() / inches))
    columns = min(columns, len(texts))
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, frameon=False)


def save(figure: Figure, folder: Path, name: str, caption: str = "") -> list[Path]:
    """Writes the figure in each format, the caption among its metadata; returns the paths."""
    says = {
        "pdf": {"Subject": caption, "CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Description": caption, "Software": None},
        "svg": {"Description": caption, "Date": None},
    }
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    for path in paths:
        figure.savefig(path, dpi=DPI, metadata=says[path.suffix[1:]])
    return paths
