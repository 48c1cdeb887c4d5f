"""The report as a table in the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lecture_opt.check.report import Report

LOOKS = {
    "pass": ("pass", "green"),
    "fail": ("FAIL", "bold red"),
    "trait": ("trait", "cyan"),
    "skip": ("skipped", "yellow"),
}


def show(report: Report, console: Console) -> None:
    """Print the table, then a paragraph for each failure, then the verdict."""
    table = Table(title=Text(report.optimizer), title_justify="left", pad_edge=False)
    for column in ("family", "property", "", "what was seen"):
        table.add_column(column, overflow="fold", no_wrap=column in ("family", "property"))
    family = ""
    for result in report.results:
        now, _, name = result.name.partition(".")
        word, style = LOOKS[result.status]
        seen = "see below" if result.status == "fail" else result.message
        heading = now if now != family else ""
        table.add_row(heading, name.replace("_", " "), Text(word, style), Text(seen))
        family = now
    console.print(table)
    for result in report.failures:
        console.print()
        console.print(Text(result.name, "bold red"))
        console.print(Text(result.in_words().partition(": ")[2]))
    counts = report.counts()
    console.print(
        f"\n{counts['pass']} passed, {counts['fail']} failed, {counts['trait']} traits, "
        f"{counts['skip']} skipped in {report.seconds:.1f} s"
    )
