"""The results in words."""

from collections import Counter
from collections.abc import Sequence

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.measured import Facts
from lecture_opt.compare.results.statistics import paired
from lecture_opt.compare.results.types import Cell, Estimate, Overall, Ranks, Task


def sentence(
    name: str,
    gain: Estimate,
    p_holm: float,
    verdict: paired.Verdict,
    facts: Facts,
    protocol: Protocol,
) -> str:
    """One optimizer against the baseline on one task."""
    seeds, needed = protocol.seeds, verdict.seeds_needed
    head = f"{facts.name}: {name}"
    if verdict.word != "cannot be told apart":
        low, high = sorted((abs(gain.low), abs(gain.high)))
        return (
            f"{head} is {verdict.word} than {protocol.baseline} by {abs(gain.mean):.3g} in "
            f"{facts.metric} ({protocol.level:.0%} interval {low:.3g} to {high:.3g}; "
            f"p = {p_holm:.2g} after Holm's correction)."
        )
    head += f" cannot be told apart from {protocol.baseline} with {seeds} seeds"
    if gain.low == gain.high == 0:
        return f"{head}: all runs end alike."
    if needed is None:
        return f"{head}; there is no difference to look for."
    if needed <= seeds:
        return f"{head}, though a difference of this size often shows with as many."
    return f"{head}; about {needed:,} would be needed to see a difference of this size."


def warnings(cells: Sequence[Cell]) -> list[str]:
    """What to know before believing a task's table."""
    found = []
    for cell in cells:
        for name in cell.on_edge:
            found.append(
                f"{cell.optimizer}: the best {name}, {cell.hyperparameters[name]:.3g}, lies "
                "on the edge of its range; a better one may lie beyond."
            )
        if cell.diverged.reporting:
            found.append(
                f"{cell.optimizer}: {cell.diverged.reporting} of the reported runs "
                "diverged and count as untrained."
            )
    return found


def summary(tasks: Sequence[Task], overall: Overall, protocol: Protocol) -> list[str]:
    """The study in a few sentences, the most important first."""
    found = []
    comparisons = max(len(task.cells) - 1 for task in tasks)
    fewest = paired.fewest_pairs(1 - protocol.level, max(comparisons, 1))
    if comparisons and protocol.seeds < fewest:
        found.append(
            f"{protocol.seeds} seeds can show no difference, however large, among "
            f"{comparisons} comparisons; {fewest} could."
        )
    if comparisons:
        found += _against_baseline(tasks, protocol)
    if overall.ranks is not None:
        found.append(_ranking(overall.ranks))
    return found


def _against_baseline(tasks: Sequence[Task], protocol: Protocol) -> list[str]:
    words: dict[str, Counter[str]] = {}
    for task in tasks:
        for cell in task.cells:
            if cell.gain is not None:
                words.setdefault(cell.optimizer, Counter())[cell.gain.verdict] += 1
    alike: dict[tuple[int, int], list[str]] = {}
    for name, count in words.items():
        alike.setdefault((count["better"], count["worse"]), []).append(name)
    return [
        _counted(better, worse, names, len(tasks), protocol)
        for (better, worse), names in sorted(
            alike.items(), key=lambda item: item[0][1] - item[0][0]
        )
    ]


def _counted(better: int, worse: int, names: Sequence[str], tasks: int, protocol: Protocol) -> str:
    """Names of one count of tasks on which they are better, and worse, than the baseline."""
    shown = ", ".join(names)
    if not better and not worse:
        return (
            f"Cannot be told apart from {protocol.baseline} on any task with {protocol.seeds} "
            f"seeds: {shown}."
        )
    parts = [f"{word} on {n}" for word, n in (("better", better), ("worse", worse)) if n]
    rest = tasks - better - worse
    parts += [f"not told apart on {rest}"] if rest else []
    return f"Against {protocol.baseline}, {', '.join(parts)} of {tasks} tasks: {shown}."


def _ranking(ranks: Ranks) -> str:
    mean, tasks = ranks.mean, ranks.tasks
    best = min(mean.values())
    leaders = [name for name, rank in mean.items() if rank == best]
    behind = [n for n, rank in mean.items() if rank - best > ranks.critical_difference]
    text = f"Over {tasks} tasks {' and '.join(leaders)} {'have' if leaders[1:] else 'has'}"
    text += f" the best mean rank, {best:.2g}"
    if not behind:
        return f"{text}, but {tasks} tasks are too few to set apart any other."
    return f"{text}, set apart (Nemenyi) from {', '.join(behind)}."
