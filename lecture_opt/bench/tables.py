"""The bench as tables for the terminal."""

from typing import Any

from rich.table import Table

COLUMNS = (
    "init",
    "trace",
    "lower",
    "compile",
    "first step",
    "eager update",
    "step",
    "first's ratio",
    "x limit",
    "state",
    "peak",
)


def costs(tree: dict[str, Any], bandwidth: float) -> Table:
    """One tree's optimizers in the order they were given."""
    table = Table(title=f"{tree['tree']}: {tree['text']} ({tree['parameters']:,} parameters)")
    table.add_column("optimizer", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for cell in tree["optimizers"]:
        table.add_row(cell["optimizer"], *cells(cell))
    limit = tree["optimizers"][0]["moved_bytes"] / bandwidth
    table.caption = (
        f"x limit: of the time to read gradients, state and params and write state and params "
        f"once, {duration(limit)} at {bandwidth / 1e9:.1f} GB/s, this device's copy. "
        "first's ratio: the first row's step over this one's, with its 95 % interval."
    )
    return table


def cells(cell: dict[str, Any]) -> list[str]:
    """The texts of one row, in the order of `COLUMNS`; "-" where there is no such thing."""
    ratio, low, high = cell["step_ratio"]
    return [
        duration(cell.get("init_median", [None])[0]),
        duration(cell.get("trace_median", [None])[0]),
        duration(cell.get("lower_seconds")),
        duration(cell.get("compile_seconds")),
        duration(cell.get("step_first_seconds")),
        duration(cell.get("eager_median", [None])[0]),
        duration(cell["step_median"][0]),
        f"{ratio:.2f} ({low:.2f} to {high:.2f})",
        f"{cell['times_limit']:.1f}",
        size(cell.get("state_bytes")),
        size(cell.get("peak_bytes")),
    ]


def duration(seconds: float | None) -> str:
    """Three digits and a unit.

    >>> duration(0.0123), duration(2.5), duration(45e-6), duration(None)
    ('12.3 ms', '2.50 s', '45.0 us', '-')
    """
    if seconds is None:
        return "-"
    unit, scale = next(
        ((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("us", 1e-6)
    )
    value = seconds / scale
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def size(count: float | None) -> str:
    """Bytes in MB of a million.

    >>> size(1_500_000), size(None)
    ('1.5 MB', '-')
    """
    return "-" if count is None else f"{count / 1e6:,.1f} MB"
