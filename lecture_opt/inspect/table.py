"""An inspection in the terminal: groups first, then findings and notes."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lecture_opt.inspect.findings import Finding, bytes_of
from lecture_opt.inspect.inspection import Inspection
from lecture_opt.inspect.leaf import Leaf

COLUMNS = ("leaves", "params", "rule", "rate: first, peak, last", "decay", "clip", "state")


def show(inspection: Inspection, console: Console) -> None:
    """Print the groups of leaves that are treated alike, the findings and the notes."""
    table = Table(pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column == "leaves")
    for group in inspection.groups():
        table.add_row(*row(group))
    console.print(table)
    for finding in inspection.findings:
        console.print(Text(f"\n{finding.text}", "bold red"))
        console.print(Text(in_short(finding)))
    for note in inspection.notes:
        console.print(Text(f"\nnote: {note.text}", "cyan"))
    console.print(
        f"\nleaves: {len(inspection.leaves)}, findings: {len(inspection.findings)}, "
        f"notes: {len(inspection.notes)}"
    )


def row(group: Sequence[Leaf]) -> list[str]:
    """A group as a row: which leaves, how large, and what is done to each."""
    leaf = group[0]
    kinds = Counter(leaf.kind for leaf in group)
    names = "\n".join(
        kind if count == 1 else f"{kind} ({count})" for kind, count in kinds.most_common(8)
    )
    more = f"\n{len(kinds) - 8} more kinds" if len(kinds) > 8 else ""
    first, last = (leaf.rates[0], leaf.rates[-1]) if len(leaf.rates) else (0.0, 0.0)
    rates = f"{first:.3g}, {leaf.peak:.3g}, {last:.3g}"
    rates += f"\n0 from step {leaf.ends:,}" if leaf.ends else ""
    decay = "" if leaf.decay.kind == "no" else f"{leaf.decay.amount:g} {leaf.decay.kind}"
    how = {"": "", "sum": ", their sum", "mean": ", their mean"}[leaf.accumulates]
    each = f"every {leaf.every} gradients{how}" if leaf.every > 1 else ""
    keeps = f"keeps {leaf.keeps} of the params" if leaf.keeps else ""
    return [
        f"{names}{more}",
        in_bytes(sum(map(bytes_of, group))),
        "\n".join(filter(None, (leaf.rule, each, keeps))),
        rates if leaf.moves else "",
        decay,
        leaf.clipping,
        in_bytes(sum(each.state_bytes for each in group)),
    ]


def in_bytes(size: int) -> str:
    """A number of bytes as one reads it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024  # type: ignore[assignment]  # from here on a float
    return f"{size:.3g} GiB"


def in_short(finding: Finding) -> str:
    """The usual cause, and the first few leaves."""
    listed = ", ".join(finding.leaves[:4])
    more = f" and {len(finding.leaves) - 4} more" if len(finding.leaves) > 4 else ""
    return f"  usual cause: {finding.cause}\n  leaves: {listed}{more}"
