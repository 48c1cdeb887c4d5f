"""The report as a table in the terminal."""

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lecture_opt.check.report import Report

LOOKS = {  # in the order of the table
    "fail": ("FAIL", "bold red"),
    "trait": ("trait", "cyan"),
    "skip": ("skipped", "yellow"),
    "pass": ("pass", "green"),
}


def show(report: Report, console: Console, *, everything: bool = False) -> None:
    """Print failures in words, then what is not a plain pass, then counts.

    Args:
        report: What to print.
        console: Where to.
        everything: One row for every property, also for those that passed.
    """
    console.print(Text(report.optimizer, "bold"))
    if report.failures:
        console.print(Text(f"\n{report.failures_in_words().partition(chr(10) * 2)[2]}\n"))
    table = Table(pad_edge=False)
    for column in ("property", "", "what was seen"):
        table.add_column(column, overflow="fold", no_wrap=column == "property")
    shown = [result for result in report.results if everything or result.status != "pass"]
    for result in sorted(shown, key=lambda result: list(LOOKS).index(result.status)):
        word, style = LOOKS[result.status]
        seen = "see above" if result.status == "fail" else result.message
        table.add_row(result.name, Text(word, style), Text(seen))
    if shown:
        console.print(table)
    passed = Counter(r.name.partition(".")[0] for r in report.results if r.status == "pass")
    if passed and not everything:
        counted = ", ".join(f"{family} {count}" for family, count in passed.items())
        console.print(Text(f"passed: {counted} (--all lists them)", "green"))
    counts = report.counts()
    console.print(
        f"{counts['pass']} passed, {counts['fail']} failed, {counts['trait']} traits, "
        f"{counts['skip']} skipped in {report.seconds:.1f} s"
    )
