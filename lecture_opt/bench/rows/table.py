"""The cells as a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from lecture_opt.bench.rows.study import Cell


def of(cells: Sequence[Cell]) -> Table:
    """A line for each cell."""
    out = Table(
        title="Milliseconds per step (median)",
        caption="Empty where --memory does not suffice or the library lacks the optimizer",
    )
    for title in ("optimizer", "table", "touched", "rows", "optax dense", "ratio", "torch sparse"):
        out.add_column(title, justify="left" if title == "optimizer" else "right")
    for c in cells:
        out.add_row(
            c.optimizer,
            f"{c.table_rows:,} x {c.width}",
            f"{c.touched:,}",
            _number(c.rows_ms),
            _number(c.optax_ms),
            "" if c.optax_ms is None else ratio(c.optax_ms / c.rows_ms),
            _number(c.torch_ms),
        )
    return out


def ratio(value: float) -> str:
    """Two digits at least.

    >>> ratio(0.4567), ratio(1.234), ratio(116.4)
    ('0.46x', '1.2x', '116x')
    """
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:.{digits}f}x"


def _number(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3f}"
