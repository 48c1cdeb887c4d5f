"""The progress bar of `fit`."""

import contextlib
from collections.abc import Callable, Iterator


def check_progress(shown: bool) -> None:
    """Raises where the bar is asked for and can't be drawn."""
    try:
        if shown:
            import rich.progress  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "fit: progress=True needs rich: pip install 'lecture_opt[judge]'"
        ) from error


@contextlib.contextmanager
def progress_bar(steps: int | None) -> Iterator[Callable[[int, float, dict[str, float]], None]]:
    """A function that is told the steps done, the last loss and metrics, and draws them."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, "{task.fields[told]}", console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=steps, told="")

        def report(done: int, loss: float, metrics: dict[str, float]) -> None:
            told = ({"loss": loss} | metrics).items()
            text = "  ".join(f"{name} {float(value):.4g}" for name, value in told)
            bar.update(task, completed=done, told=text)

        yield report
