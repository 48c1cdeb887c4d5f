"""The comparison in the terminal: a ranked table for each task, then the verdicts."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Results = Mapping[str, Any]
SHORT = {"better": "better", "worse": "worse", "cannot be told apart": "not told apart"}
HEADS = ("setting", "test", "interval", "verdict", "steps to target", "decades", "diverged", "µs")


def show(results: Results, console: Console) -> None:
    """Prints everything there is to read."""

    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    for task in results["tasks"]:
        console.print(ranked(task))
        for sentence in (target(task), *sentences(task, results["protocol"])):
            say(sentence)
        console.print("")
    if results["overall"]["ranks"] is not None:
        console.print(overall(results))
        ranks = results["overall"]["ranks"]
        say(
            f"Two differ (Nemenyi) where their ranks lie {ranks['critical_difference']:.2f} apart; "
            f"that all rank alike has p = {ranks['friedman_p']:.2g} (Friedman)."
        )
    say(legend(results["protocol"]))
    console.print("\n[bold]Verdict[/bold]")
    for sentence in results["verdicts"]:
        say(f"- {sentence}")


def ranked(task: Mapping[str, Any]) -> Table:
    """One task's optimizers, best first."""
    better = "higher" if task["higher_is_better"] else "lower"
    title = escape(f"{task['name']}: test {task['metric']} ({better} is better)")
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("optimizer", no_wrap=True)
    for name in HEADS:
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for cell in task["cells"]:
        table.add_row(*_row(cell))
    return table


def target(task: Mapping[str, Any]) -> str:
    """What the steps are counted to."""
    value, source = task["target"]["value"], task["target"]["source"]
    origin = "as given" if source == "given" else f"what {source} reaches"
    return f"Target: validation {task['metric']} {_number(value)}, {origin}."


def legend(protocol: Mapping[str, Any]) -> str:
    """What the columns mean."""
    seeds = len(protocol["reporting_seeds"])
    return (
        f"Interval: {protocol['level']:.0%}, over {seeds} seeds. Verdict: against "
        f"{protocol['baseline']}. Steps: median and its interval. Decades: of rates within "
        "5 % of the best. Diverged: share of the tuning runs. µs: one step of one run, evaluations "
        "included. !: on the edge of its range."
    )


def _row(cell: Mapping[str, Any]) -> list[str]:
    test, gain, steps = cell["test"], cell["gain"], cell["steps_to_target"]
    settings = ", ".join(
        f"{_short(name)}{value:.2g}{'!' if name in cell['on_edge'] else ''}"
        for name, value in cell["hyperparameters"].items()
    )
    width = cell["working_range"]["decades"]
    return [
        str(cell["rank"]),
        escape(cell["optimizer"]),
        settings,
        _number(test["mean"]),
        f"{_number(test['low'])} to {_number(test['high'])}",
        "baseline" if gain is None else SHORT[gain["verdict"]],
        _steps(steps),
        "" if width is None else f"{width:.1f}",
        f"{cell['diverged']['tuning']:.0%}",
        f"{1e6 * cell['cost']['step_seconds']:.1f}",
    ]


def _short(name: str) -> str:
    return "" if name == "learning_rate" else f"{name} "


def _steps(steps: Mapping[str, Any]) -> str:
    if steps["median"] is None:
        return f"{steps['reached']} of {len(steps['values'])} runs"
    low, high = steps["low"], steps["high"]
    ends = ("-" if low is None else f"{low:.0f}", "never" if high is None else f"{high:.0f}")
    return f"{steps['median']:.0f} ({ends[0]} to {ends[1]})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def sentences(task: Mapping[str, Any], protocol: Mapping[str, Any]) -> list[str]:
    """The differences that were seen on a task, those that were not in one line, warnings."""
    alike, found = [], []
    for cell in task["cells"]:
        gain = cell["gain"]
        if gain is None:
            continue
        if gain["verdict"] != "cannot be told apart":
            found.append(gain["sentence"])
            continue
        needed = gain["seeds_needed"]
        alike.append(cell["optimizer"] + ("" if needed is None else f" ({needed:,})"))
    if alike:
        seeds = len(protocol["reporting_seeds"])
        found.append(
            f"Not told apart from {protocol['baseline']} with {seeds} seeds (and how many would be "
            f"needed to see a difference of this size): {', '.join(alike)}."
        )
    return [*found, *task["warnings"]]


def overall(results: Results) -> Table:
    """Mean ranks over the tasks."""
    ranks = results["overall"]["ranks"]
    title = f"mean rank over {ranks['tasks']} tasks"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("optimizer")
    table.add_column("mean rank", justify="right")
    for name in sorted(ranks["mean"], key=lambda name: ranks["mean"][name]):
        table.add_row(escape(name), f"{ranks['mean'][name]:.2f}")
    return table
