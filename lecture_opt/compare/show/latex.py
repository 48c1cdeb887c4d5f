r"""A task's rows as a LaTeX table for `booktabs`."""

from collections.abc import Sequence

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.types import Study, Task
from lecture_opt.compare.show.rows import Row, rows

COLUMNS = ("optimizer", "setting", "test", "interval", "gain", "p", "steps to target")

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(study: Study) -> str:
    """A table environment for each task; the best mean is bold."""
    tables = (_table(task, study.protocol) for task in study.tasks)
    return "\n".join(["% Needs \\usepackage{booktabs}.", *tables])


def escape(text: str) -> str:
    r"""The text with everything that LaTeX gives a meaning to taken as it stands.

    Characters that can't be printed, at which LaTeX stops, are left out.

    >>> print(escape("optax:sgd(momentum=0.9) & my_opt"))
    optax:sgd(momentum=0.9) \& my\_opt
    """
    shown = (_ESCAPES.get(character, character) for character in text if character.isprintable())
    return "".join(shown)


def _table(task: Task, protocol: Protocol) -> str:
    metric, better = escape(task.metric), "higher" if task.higher_is_better else "lower"
    heads = {
        "test": f"test {metric}",
        "interval": f"{100 * protocol.level:g}\\,\\% interval",
        "p": "$p$",
    }
    found = rows(task)
    means = [row["test"].value for row in found if isinstance(row["test"].value, float)]
    best = (max if task.higher_is_better else min)(means, default=None)
    label = "".join(character if character.isalnum() else "-" for character in task.name)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{escape(task.name)}: test {metric} ({better} is better), "
            f"mean over {protocol.seeds} seeds. Gain: over {escape(protocol.baseline)}, seed by "
            "seed; $p$: of no gain, whenever one looks, with Holm's correction.}",
            f"\\label{{tab:{label}}}",
            r"\begin{tabular}{ll" + "r" * (len(COLUMNS) - 2) + "}",
            r"\toprule",
            _line([heads.get(name, name) for name in COLUMNS]),
            r"\midrule",
            *(_row(row, best) for row in found),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(row: Row, best: float | None) -> str:
    texts = {name: escape(row[name].text) for name in COLUMNS}
    if row["test"].value == best:
        texts["test"] = f"\\textbf{{{texts['test']}}}"
    return _line(list(texts.values()))


def _line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"
