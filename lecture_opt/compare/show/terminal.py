"""The comparison in the terminal: a ranked table for each task, then the verdicts."""

from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results import verdicts
from lecture_opt.compare.results.types import Ranks, Study, Task
from lecture_opt.compare.show.rows import columns, compared, diverged, number, rows
from lecture_opt.pages.styles import is_users

COLUMNS = {
    "rank": "",
    "optimizer": "optimizer",
    "verdict": "verdict",
    "gain": "gain",
    "gain interval": "its interval",
    "test": "test",
    "setting": "setting",
    "steps to target": "steps to target",
    "reached": "reached",
    "working rates": "decades",
    "diverged": "diverged",
    "step": "µs",
}
"""The rows' columns, the most important first, and what stands above them. A terminal that is too
narrow for all shows the first."""


def show(study: Study, console: Console) -> None:
    """Prints everything there is to read."""

    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    for task in study.tasks:
        console.print(ranked(task, console.width))
        for sentence in (target(task), *sentences(task, study.protocol)):
            say(sentence)
        console.print("")
    if (ranks := study.overall.ranks) is not None:
        console.print(overall(ranks))
        say(
            f"Two differ (Nemenyi) where their ranks lie {ranks.critical_difference:.2f} apart; "
            f"that all rank alike has p = {ranks.friedman_p:.2g} (Friedman)."
        )
    say(legend(study.protocol, len(study.optimizers) > 1))
    if study.verdicts:
        console.print("\n[bold]Verdict[/bold]")
    for sentence in study.verdicts:
        say(f"- {sentence}")


def ranked(task: Task, width: int) -> Table:
    """One task's optimizers, best first, in a table that fits; the user's own are bold."""
    better = "higher" if task.higher_is_better else "lower"
    title = escape(f"{task.name}: test {task.metric} ({better} is better)")
    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0)
    )
    found = rows(task)
    most = {"optimizer": max(28, width // 4), "setting": 24}  # longer ones are folded
    room, shown = width, []
    for name, head in columns(COLUMNS, len(found)).items():
        wide = max(len(head), *(len(row[name].text) for row in found))
        wide = min(wide, most.get(name, wide))
        room -= wide + 2
        if room < 0:
            break
        shown.append(name)
        left = name in ("optimizer", "verdict")
        side: Literal["left", "right"] = "left" if left else "right"
        table.add_column(head, justify=side, overflow="fold", width=wide)
    for row in found:
        own = is_users(row["optimizer"].text)
        texts = (escape(row[name].text) for name in shown)
        table.add_row(*texts, style="bold" if own else None)
    return table


def target(task: Task) -> str:
    """What the steps are counted to."""
    value, source = task.target.value, task.target.source
    if source == "none":
        return "No target: no optimizer ran."
    said = {"given": "as given", "the task": "as the task says"}
    origin = said.get(source, f"what {source} reaches")
    return f"Target: validation {task.metric} {number(value)}, {origin}."


def legend(protocol: Protocol, several: bool) -> str:
    """What the columns mean."""
    versus = (
        f"Verdict and gain: against {protocol.baseline}, by seed; "
        f"the interval holds it with {protocol.level:.0%}. "
    )
    shape = f"Learning rates follow {protocol.schedule}; a setting is the peak. "
    return (
        f"{shape if protocol.schedule else ''}{versus if several else ''}Test: mean over "
        f"{protocol.seeds} seeds. Steps: median and its "
        "interval; reached: runs that got there. Decades: of rates within 5 % of the best. "
        "Diverged: share of the tuning runs. µs: one step of one run, in the batch of all. "
        f"!: on the edge of its range. {verdicts.taken(protocol)}"
    )


def sentences(task: Task, protocol: Protocol) -> list[str]:
    """The verdict on each of the user's own, or else each that is more than an equivalence."""
    gains = {c.optimizer: c.gain for c in task.cells if c.gain is not None and not diverged(c)}
    own = [gain.sentence for name, gain in gains.items() if is_users(name)]
    others = [gain.sentence for gain in gains.values() if gain.verdict != "equivalent"]
    return [*(own or others), *remarks(task, protocol)]


def remarks(task: Task, protocol: Protocol) -> list[str]:
    """What to know before believing a task's table: the noise floor, notes, warnings."""
    floor = [verdicts.noise(task, protocol)] if compared(task) else []
    return [*floor, *task.notes, *task.warnings]


def overall(ranks: Ranks) -> Table:
    """Mean ranks over the tasks."""
    title = f"mean rank over {ranks.tasks} tasks"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("optimizer")
    table.add_column("mean rank", justify="right")
    for name, mean in sorted(ranks.mean.items(), key=lambda item: item[1]):
        table.add_row(escape(name), f"{mean:.2f}")
    return table
