"""The comparison in the terminal: a ranked table for each task, then the verdicts."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import verdicts
from lecture_opt.compare.results.types import Ranks, Study, Task
from lecture_opt.compare.show.rows import number, rows

COLUMNS = {
    "rank": "",
    "optimizer": "optimizer",
    "setting": "setting",
    "test": "test",
    "interval": "interval",
    "verdict": "verdict",
    "steps to target": "steps to target",
    "reached": "reached",
    "working rates": "decades",
    "diverged": "diverged",
    "step": "µs",
}
"""The rows' columns that are shown, and what stands above them."""


def show(study: Study, console: Console) -> None:
    """Prints everything there is to read."""

    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    for task in study.tasks:
        console.print(ranked(task))
        for sentence in (target(task), *sentences(task, study.protocol)):
            say(sentence)
        console.print("")
    if (ranks := study.overall.ranks) is not None:
        console.print(overall(ranks))
        say(
            f"Two differ (Nemenyi) where their ranks lie {ranks.critical_difference:.2f} apart; "
            f"that all rank alike has p = {ranks.friedman_p:.2g} (Friedman)."
        )
    say(legend(study.protocol))
    if study.verdicts:
        console.print("\n[bold]Verdict[/bold]")
    for sentence in study.verdicts:
        say(f"- {sentence}")


def ranked(task: Task) -> Table:
    """One task's optimizers, best first."""
    better = "higher" if task.higher_is_better else "lower"
    title = escape(f"{task.name}: test {task.metric} ({better} is better)")
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name, head in COLUMNS.items():
        left = name in ("optimizer", "verdict")
        table.add_column(head, justify="left" if left else "right", no_wrap=True)
    for row in rows(task):
        texts = [row[name].text for name in COLUMNS]
        table.add_row(*(escape(text) for text in texts))
    return table


def target(task: Task) -> str:
    """What the steps are counted to."""
    value, source = task.target.value, task.target.source
    if source == "none":
        return "No target: no optimizer ran."
    origin = "as given" if source == "given" else f"what {source} reaches"
    return f"Target: validation {task.metric} {number(value)}, {origin}."


def legend(protocol: Protocol) -> str:
    """What the columns mean."""
    shape = f"Learning rates follow {protocol.schedule}; a setting is the peak. "
    return (
        f"{shape if protocol.schedule else ''}Interval: {protocol.level:.0%}, over "
        f"{protocol.seeds} seeds. Verdict: against {protocol.baseline}. Steps: median and its "
        "interval; reached: runs that got there. Decades: of rates within 5 % of the best. "
        "Diverged: share of the tuning runs. µs: one step of one run, evaluations included. !: on "
        "the edge of its range. One split of the data serves all seeds: the intervals do not cover "
        "what another split would give."
    )


def sentences(task: Task, protocol: Protocol) -> list[str]:
    """The noise floor, each verdict that is more than an equivalence, equivalents, warnings."""
    gains = [(cell.optimizer, cell.gain) for cell in task.cells if cell.gain is not None]
    found = [verdicts.noise(task, protocol)] if gains else []
    found += [gain.sentence for _, gain in gains if gain.verdict != "equivalent"]
    alike = [name for name, gain in gains if gain.verdict == "equivalent"]
    if alike:
        found.append(f"Equivalent to {protocol.baseline}: {', '.join(alike)}.")
    return [*found, *task.notes, *task.warnings]


def overall(ranks: Ranks) -> Table:
    """Mean ranks over the tasks."""
    title = f"mean rank over {ranks.tasks} tasks"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("optimizer")
    table.add_column("mean rank", justify="right")
    for name, mean in sorted(ranks.mean.items(), key=lambda item: item[1]):
        table.add_row(escape(name), f"{mean:.2f}")
    return table
