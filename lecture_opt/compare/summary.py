"""A task's results as a table of plain cells: what the page, the CSV's reader and LaTeX show."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

COLUMNS = (
    ("rank", "1 is best; equals share the better rank"),
    ("optimizer", ""),
    ("setting", "chosen on the tuning seeds; ! on the edge of what was searched"),
    ("test", "mean over the reporting seeds"),
    ("interval", "of that mean"),
    ("gain", "better than the baseline by, seed by seed"),
    ("gain interval", "of that difference"),
    ("p", "exact paired permutation test, with Holm's correction"),
    ("verdict", "against the baseline"),
    ("steps to target", "median; a run that never got there counts as beyond the last step"),
    ("reached", "runs that got to the target"),
    ("loss area", "training loss averaged over all steps"),
    ("working rates", "decades of learning rates within 5 % of the best"),
    ("diverged", "share of the tuning runs"),
    ("step", "microseconds for one step of one run, in the batch of all"),
    ("compile", "seconds"),
    ("state", "bytes of the optimizer's state, for one run"),
)
"""Every column: its name, and what it says."""


class Cell(NamedTuple):
    """What is shown, and what is sorted by; None sorts last."""

    text: str
    value: float | str | None


def rows(task: Mapping[str, Any], seeds: int) -> list[dict[str, Cell]]:
    """A row for each optimizer, best first: column to cell. `seeds`: how many reporting ones."""
    return [_row(cell, seeds) for cell in task["cells"]]


def number(value: float | None, digits: int = 4) -> str:
    """A number in a few digits, an en dash for none.

    >>> number(0.97251), number(12345678.0), number(None)
    ('0.9725', '1.235e+07', '–')
    """
    return "–" if value is None else f"{value:.{digits}g}"


def setting(hyperparameters: Mapping[str, Any]) -> str:
    """The chosen hyperparameters: the rate alone, or every one by name.

    >>> setting({"learning_rate": 0.01}), setting({"learning_rate": 0.01, "b1": 0.9})
    ('0.01', 'learning_rate=0.01, b1=0.9')
    """
    shown = {
        name: number(value, 3) if isinstance(value, float) else str(value)
        for name, value in hyperparameters.items()
    }
    if list(shown) == ["learning_rate"]:
        return shown["learning_rate"]
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def interval(estimate: Mapping[str, float | None], digits: int = 4) -> str:
    """The two ends."""
    if estimate["low"] is None and estimate["high"] is None:
        return "–"
    return f"{number(estimate['low'], digits)} to {number(estimate['high'], digits)}"


def _row(cell: Mapping[str, Any], seeds: int) -> dict[str, Cell]:
    test, gain, target = cell["test"], cell["gain"] or _NO_GAIN, cell["steps_to_target"]
    cost, edge = cell["cost"], " !" if cell["on_edge"] else ""
    micro = None if cost["step_seconds"] is None else 1e6 * cost["step_seconds"]
    return {
        "rank": Cell(str(cell["rank"]), cell["rank"]),
        "optimizer": Cell(cell["optimizer"], cell["optimizer"]),
        "setting": Cell(
            setting(cell["hyperparameters"]) + edge, cell["hyperparameters"].get("learning_rate")
        ),
        "test": _plain(test["mean"]),
        "interval": Cell(interval(test), test["low"]),
        "gain": Cell(_signed(gain["mean"]), gain["mean"]),
        "gain interval": Cell(interval(gain, 2), gain["low"]),
        "p": _plain(gain["p_holm"], 2),
        "verdict": Cell(gain["verdict"], gain["verdict"]),
        "steps to target": _plain(target["median"])
        if target["median"] is not None
        else Cell("never", None),
        "reached": Cell(f"{target['reached']} of {seeds}", target["reached"]),
        "loss area": _plain(cell["loss_area"]["mean"]),
        "working rates": _plain(cell["working_range"]["decades"], 2),
        "diverged": Cell(f"{cell['diverged']['tuning']:.0%}", cell["diverged"]["tuning"]),
        "step": _plain(micro, 3),
        "compile": _plain(cost["compile_seconds"], 2),
        "state": _plain_integer(cost["state_bytes"]),
    }


_NO_GAIN: dict[str, Any] = {
    "mean": None,
    "low": None,
    "high": None,
    "p_holm": None,
    "verdict": "baseline",
}


def _plain(value: float | None, digits: int = 4) -> Cell:
    return Cell(number(value, digits), value)


def _plain_integer(value: int | None) -> Cell:
    return Cell("–" if value is None else str(value), value)


def _signed(value: float | None) -> str:
    """With its sign; what float32 makes of equal numbers is 0."""
    if value is None:
        return "–"
    return "0" if abs(value) < 1e-7 else f"{value:+.2g}"


# ---- LaTeX ------------------------------------------------------------------------------------

_LATEX = ("optimizer", "setting", "test", "interval", "gain", "p", "steps to target")
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(results: Mapping[str, Any]) -> str:
    """A table environment for each task, for `booktabs`; the best mean is bold."""
    return "\n".join(
        [
            "% Needs \\usepackage{booktabs}.",
            *(_latex_table(task, results) for task in results["tasks"]),
        ]
    )


def escape_latex(text: str) -> str:
    r"""The text with everything that LaTeX gives a meaning to taken as it stands.

    >>> print(escape_latex("optax:sgd(momentum=0.9) & my_opt"))
    optax:sgd(momentum=0.9) \& my\_opt
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def _latex_table(task: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    seeds = len(protocol["reporting_seeds"])
    metric, baseline = escape_latex(task["metric"]), escape_latex(protocol["baseline"])
    better = "higher" if task["higher_is_better"] else "lower"
    heads = [
        "optimizer",
        "setting",
        f"test {metric}",
        f"{100 * protocol['level']:g}\\,\\% interval",
    ]
    heads += ["gain", "$p$", "steps to target"]
    found = rows(task, seeds)
    means = [row["test"].value for row in found if isinstance(row["test"].value, float)]
    best = (max(means) if task["higher_is_better"] else min(means)) if means else None
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{escape_latex(task['name'])}: test {metric} ({better} is better), "
            f"mean over {seeds} seeds. Gain: over {baseline}, seed by seed; $p$: exact paired "
            "permutation test with Holm's correction.}",
            f"\\label{{tab:{_label(task['name'])}}}",
            r"\begin{tabular}{ll" + "r" * 5 + "}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *(_latex_row(row, best) for row in found),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_row(row: Mapping[str, Cell], best: Any) -> str:
    texts: Sequence[str] = [escape_latex(row[name].text) for name in _LATEX]
    shown = [
        f"\\textbf{{{text}}}" if name == "test" and row[name].value == best else text
        for name, text in zip(_LATEX, texts, strict=True)
    ]
    return " & ".join(shown) + r" \\"


def _label(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)
