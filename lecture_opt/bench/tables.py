"""The bench as tables and sentences for the terminal."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from lecture_opt.bench.types import KINDS, Cell, Estimate, TreeCosts

COLUMNS = (
    *(kind.replace("first_step", "first step").replace("eager", "eager update") for kind in KINDS),
    "first's ratio",
    "x limit",
    "state",
    "peak",
)


def headed(title: str, columns: Iterable[str]) -> Table:
    """A table without rows: a column of optimizers at the left, then columns of numbers."""
    table = Table(title=title)
    table.add_column("optimizer", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def costs(tree: TreeCosts) -> Table:
    """One tree's optimizers in the order they were given."""
    table = headed(f"{tree.tree}: {tree.text} ({tree.parameters:,} parameters)", COLUMNS)
    for cell in tree.cells:
        table.add_row(cell.optimizer, *texts(cell))
    limit = tree.cells[0].bytes.moved / tree.bandwidth
    table.caption = (
        f"x limit: the step over the least time to read gradients, state and params and to write "
        f"state and params: {duration(limit)} for the first at {tree.bandwidth / 1e9:.1f} GB/s, "
        "this device's rate for arrays of this size that are changed in place."
    )
    return table


def sentences(tree: TreeCosts) -> Iterator[str]:
    """How long the first optimizer's step takes beside each other's, in words."""
    first, *others = tree.cells
    for cell in others:
        ratio = cell.ratio["step"]
        yield (
            f"{tree.tree}: a step of {first.optimizer} takes {ratio.value:.2f} times as long as "
            f"one of {cell.optimizer} (95 % interval {ratio.low:.2f} to {ratio.high:.2f}): "
            f"{verdict(ratio)}."
        )


def verdict(ratio: Estimate) -> str:
    """What an interval of the first's time over another's shows.

    >>> verdict(Estimate(0.9, 0.8, 1.1)), verdict(Estimate(0.9, 0.8, 0.95))
    ('cannot be told apart', 'faster')
    """
    return "faster" if ratio.high < 1 else "slower" if ratio.low > 1 else "cannot be told apart"


def texts(cell: Cell) -> list[str]:
    """The texts of one row, in the order of `COLUMNS`; "-" for what does not apply."""
    ratio, low, high = cell.ratio["step"]
    return [
        *(duration(cell.seconds[kind].value if kind in cell.seconds else None) for kind in KINDS),
        f"{ratio:.2f} ({low:.2f} to {high:.2f})",
        f"{cell.times_limit:.1f}",
        size(cell.bytes.state),
        size(cell.bytes.peak),
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
    """Bytes with one decimal and a unit of a thousand's power.

    >>> size(1_500_000), size(640), size(None)
    ('1.5 MB', '640 B', '-')
    """
    if count is None:
        return "-"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:.0f} B"
