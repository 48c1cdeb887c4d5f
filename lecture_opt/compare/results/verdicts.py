"""The results in words."""

from collections import Counter
from collections.abc import Sequence

from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.measured import Facts, Failure
from lecture_opt.compare.results.statistics import paired
from lecture_opt.compare.results.types import Cell, Estimate, Margin, Overall, Ranks, Task

NOTHING = "Every run of every optimizer diverged: there is nothing to compare."
WORDS = ("better", "equivalent", "worse", "undecided")


def sentence(
    name: str,
    gain: Estimate,
    p_holm: float,
    word: str,
    needed: paired.Needed | None,
    margin: Margin,
    facts: Facts,
    protocol: Protocol,
) -> str:
    """One optimizer against the baseline on one task."""
    head, level = f"{facts.name}: {name}", f"{protocol.level:.0%} interval"
    low, high = gain.low, gain.high
    if word in ("better", "worse"):
        low, high = (low, high) if word == "better" else (-high, -low)
        return (
            f"{head} is {word} than {protocol.baseline} by {abs(gain.mean):.3g} in {facts.metric} "
            f"({level} {low:.3g} to {high:.3g}; p = {p_holm:.2g} after Holm's correction)."
        )
    if word == "equivalent":
        return (
            f"{head} and {protocol.baseline} are equivalent: they differ by less than "
            f"{margin.value:.3g} in {facts.metric} ({level} {low:.3g} to {high:.3g})."
        )
    return (
        f"{head} against {protocol.baseline} is undecided: a gain of {gain.mean:.3g} in "
        f"{facts.metric} ({level} {low:.3g} to {high:.3g}). {_needed(needed, margin.value)}"
    )


def _needed(needed: paired.Needed | None, margin: float) -> str:
    if needed is None or needed.seeds is None:
        return f"No number of seeds would find a difference of {margin:.3g}."
    return f"To find a difference of {margin:.3g} takes {needed}."


def noise(task: Task, protocol: Protocol) -> str:
    """What the baseline differs from itself by, and what that makes of small differences."""
    floor = task.noise_floor
    text = (
        f"Noise floor: a run of {protocol.baseline} differs from the next by {floor.deviation:.3g} "
        f"in {task.metric} (standard deviation), its mean under other seeds and another unit of "
        f"learning rate by {floor.low:.3g} to {floor.high:.3g}."
    )
    if task.margin.source == "given":
        return f"{text} Differences below {task.margin.value:.3g} do not matter, as given."
    return f"{text} Differences below {task.margin.value:.3g} are taken not to matter."


def taken(protocol: Protocol) -> str:
    """When the metric of a run is taken."""
    if protocol.choose == "best":
        return (
            "Every metric is taken at the run's best validation evaluation, in tuning and in the "
            "report."
        )
    return "Every metric is taken at the run's last evaluation."


def warnings(
    cells: Sequence[Cell], failures: Sequence[Failure], facts: Facts, protocol: Protocol
) -> list[str]:
    """What to know before believing a task's table."""
    found = [f"{one.optimizer} failed: {one.why}." for one in failures]
    if any(one.optimizer == protocol.baseline for one in failures):
        found.append(f"Without its baseline, {protocol.baseline}, this task has no verdicts.")
    if not facts.pooled:
        found.append(
            "The parts of the data are given: no interval says what another split would give."
        )
    if protocol.tuning_seed_count < 2:
        found.append("One tuning seed: the intervals leave out the choice of the setting.")
    if _all_diverged(cells):
        found.append(NOTHING)
    for cell in cells:
        for name in cell.on_edge if cell.diverged.tuning < 1 else ():
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
    found: list[str] = []
    tasks = [task for task in tasks if not _all_diverged(task.cells)]
    if not tasks:
        return [NOTHING]
    found += [*_too_few(tasks, protocol), *_against_baseline(tasks, protocol)]
    for name in dict.fromkeys(one.optimizer for task in tasks for one in task.failures):
        on = [task.name for task in tasks if any(f.optimizer == name for f in task.failures)]
        found.append(f"Failed: {name} on {', '.join(on)}.")
    found += _later_sets(tasks, protocol)
    if overall.ranks is not None:
        found.append(_ranking(overall.ranks))
    return found


def _too_few(tasks: Sequence[Task], protocol: Protocol) -> list[str]:
    """Says which sets of candidates the seeds are too few for, whatever the differences."""
    gains = [cell.gain for task in tasks for cell in task.cells if cell.gain]
    found = []
    for number, size, rate in sorted({(g.set_number, g.set_size, g.error_rate) for g in gains}):
        if paired.least_p(protocol.seeds, size) > rate:
            enough = (n for n in range(protocol.seeds, 100) if paired.least_p(n, size) <= rate)
            of = f" of set {number}" if number > 1 else ""
            found.append(
                f"{protocol.seeds} seeds can show no difference, however large, in {size} "
                f"comparison{'' if size == 1 else 's'}{of}; {next(enough, 'no number')} could."
            )
    return found


def _later_sets(tasks: Sequence[Task], protocol: Protocol) -> list[str]:
    """What is left of the error rate for candidates that came after others."""
    gains = [(cell.optimizer, cell.gain) for task in tasks for cell in task.cells if cell.gain]
    later: dict[int, dict[str, None]] = {}
    for name, gain in gains:
        if gain.set_number > 1:
            later.setdefault(gain.set_number, {})[name] = None
    return [
        f"Set {number} of candidates in this folder ({', '.join(names)}): its verdicts may err in "
        f"{protocol.error_rate(number):.2%} of studies, so that all sets together keep "
        f"{1 - protocol.level:.0%}."
        for number, names in sorted(later.items())
    ]


def _all_diverged(cells: Sequence[Cell]) -> bool:
    return bool(cells) and all(cell.diverged.tuning == 1 for cell in cells)


def _against_baseline(tasks: Sequence[Task], protocol: Protocol) -> list[str]:
    counts: dict[str, Counter[str]] = {}
    for task in tasks:
        for cell in task.cells:
            if cell.gain is not None:
                counts.setdefault(cell.optimizer, Counter())[cell.gain.verdict] += 1
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, words in counts.items():
        alike.setdefault(tuple(words[word] for word in WORDS), []).append(name)
    found = []
    for counted in sorted(alike, key=lambda c: (c[2] - c[0], -c[1])):
        parts = [f"{word} on {n}" for word, n in zip(WORDS, counted, strict=True) if n]
        found.append(
            f"Against {protocol.baseline}, {', '.join(parts)} of {len(tasks)} tasks: "
            f"{', '.join(alike[counted])}."
        )
    return found


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
