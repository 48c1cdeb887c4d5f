r"""A task's rows as a LaTeX table for `booktabs`."""

import re
from collections.abc import Mapping, Sequence

from lecture_opt.compare.results.types import Study, Task
from lecture_opt.compare.show import captions
from lecture_opt.compare.show.rows import Row, columns, rows
from lecture_opt.pages.styles import is_users, labels

COLUMNS = ("optimizer", "verdict", "gain", "gain interval", "p", "test", "setting")

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "…": r"\ldots{}",
    "≈": r"$\approx$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(study: Study) -> str:
    """A table environment for each task, which fits a page of two columns.

    The best mean is bold, and so are the names of the user's own; long names are cut.
    """
    names = labels(optimizer.name for optimizer in study.optimizers)
    tables = (_table(task, study, names) for task in study.tasks)
    return "\n".join(["% Needs \\usepackage{booktabs}.", *tables])


def escape(text: str) -> str:
    r"""The text with everything that LaTeX gives a meaning to taken as it stands.

    Characters that can't be printed, at which LaTeX stops, are left out.

    >>> print(escape("optax:sgd(momentum=0.9) & my_opt"))
    optax:sgd(momentum=0.9) \& my\_opt
    """
    shown = (_ESCAPES.get(character, character) for character in text if character.isprintable())
    return "".join(shown)


def _table(task: Task, study: Study, names: Mapping[str, str]) -> str:
    metric, better = escape(task.metric), "higher" if task.higher_is_better else "lower"
    protocol, found = study.protocol, rows(task)
    heads = {
        "gain interval": f"{100 * protocol.level:g}\\,\\% interval",
        "p": "$p$",
        "test": f"test {metric}",
    }
    shown = list(columns(dict.fromkeys(COLUMNS, ""), len(found)))
    means = [row["test"].value for row in found if isinstance(row["test"].value, float)]
    best = (max if task.higher_is_better else min)(means, default=None)
    label = "".join(character if character.isalnum() else "-" for character in task.name)
    versus = (
        f" Verdict and gain: against {protocol.baseline}, by seed; p: of no gain, whenever one "
        "looks, with Holm's correction."
    )
    caption = f"Test {task.metric} ({better} is better).{versus if len(found) > 1 else ''}"
    how = escape(f"{captions.protocol(study)} {captions.noise(task, study)}")
    left = sum(name in ("optimizer", "verdict") for name in shown)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize",
            f"\\caption{{{escape(caption)} {how}}}",
            f"\\label{{tab:{label}}}",
            r"\begin{tabular}{" + "l" * left + "r" * (len(shown) - left) + "}",
            r"\toprule",
            _line([heads.get(name, name) for name in shown]),
            r"\midrule",
            *(_row(row, shown, best, names) for row in found),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _row(row: Row, shown: Sequence[str], best: float | None, names: Mapping[str, str]) -> str:
    texts = {name: escape(row[name].text) for name in shown}
    for name in ("gain", "gain interval"):
        if name in texts:  # a hyphen is no minus
            texts[name] = re.sub(r"(^| )-(?=\d)", r"\1$-$", texts[name])
    texts["optimizer"] = escape(names[row["optimizer"].text])
    bold = {"test": row["test"].value == best, "optimizer": is_users(row["optimizer"].text)}
    return _line(
        [f"\\textbf{{{text}}}" if bold.get(name) else text for name, text in texts.items()]
    )


def _line(texts: Sequence[str]) -> str:
    return " & ".join(texts) + r" \\"
