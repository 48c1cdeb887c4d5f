"""The comparison as tables for the terminal."""

from typing import Any

from rich.table import Table


def ranked(task: dict[str, Any]) -> Table:
    """One task's optimizers, best test metric first."""
    better = "higher" if task["higher_is_better"] else "lower"
    table = Table(title=f"{task['task']}: test {task['metric']} ({better} is better)")
    table.add_column("", justify="right")
    table.add_column("optimizer", no_wrap=True)
    for name in ("learning rate", task["metric"], "95 % interval", "steps to target", "diverged"):
        table.add_column(name, justify="right")
    for rank, cell in enumerate(task["optimizers"], start=1):
        low, high = cell["test_interval"]
        steps = cell["steps_to_target"]
        table.add_row(
            str(rank),
            cell["optimizer"],
            f"{cell['learning_rate']:.2g}{' !' if cell['on_edge'] else ''}",
            f"{cell['test_mean']:.4f}",
            f"{low:.4f} to {high:.4f}",
            "never" if steps is None else f"{steps:.0f}",
            f"{cell['diverged_share']:.0%}",
        )
    edge = "!: on the edge of the grid, a better rate may lie beyond. "
    marked = any(cell["on_edge"] for cell in task["optimizers"])
    table.caption = (edge if marked else "") + (
        f"Target: validation {task['metric']} {task['target']:.4f}, the best baseline's median. "
        "Diverged: share of all runs, every rate counted."
    )
    return table
