"""The progress bar of `fit`."""

import contextlib
import math
from collections.abc import Callable, Iterator


def check_progress(shown: bool) -> None:
    """That the bar can be drawn, if it is asked for."""
    try:
        if shown:
            import rich.progress  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "fit: progress=True needs rich: pip install 'lecture_opt[judge]'"
        ) from error


@contextlib.contextmanager
def progress_bar(shown: bool, steps: int) -> Iterator[Callable[[int, float], None]]:
    """A function that is told the steps done and the last loss, and draws them if `shown`."""
    if not shown:
        yield _silent
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, "loss {task.fields[loss]:.4g}", console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=steps, loss=math.nan)
        yield lambda done, loss: bar.update(task, completed=done, loss=float(loss))


def _silent(done: int, loss: float) -> None:  # the bar's signature
    """Draws nothing."""
