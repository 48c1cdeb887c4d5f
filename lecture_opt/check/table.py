"""The report as a table in the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
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


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback for `check.run` that draws a bar."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def step(name: str, index: int, total: int) -> None:
            progress.update(task, completed=index, total=total, description=name)

        yield step
