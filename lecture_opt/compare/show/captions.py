"""What stands under a figure or a page: how it was done, and how much is noise."""

from collections.abc import Sequence

from lecture_opt.compare.results import verdicts
from lecture_opt.compare.results.types import Study, Task
from lecture_opt.compare.show.charts import Chart
from lecture_opt.compare.show.rows import compared


def protocol(study: Study) -> str:
    """How every optimizer was tuned and reported, and what the intervals hold."""
    how = study.protocol
    optimizers, tasks = len(study.optimizers), len(study.tasks)
    text = (
        f"{_many(optimizers, 'optimizer')} on {_many(tasks, 'task')}. Each tried "
        f"{_many(how.draws, 'setting')} on {_many(len(how.tuning_seeds), 'tuning seed')}, then ran "
        f"the best on {_many(how.seeds, 'other seed')}."
    )
    if optimizers > 1:
        text += f" Baseline: {how.baseline}."
    if how.schedule:
        text += f" Learning rates follow {how.schedule}; a setting is the peak."
    split = "the split of the data, " if all(task.pooled for task in study.tasks) else ""
    return (
        f"{text} {verdicts.taken(how)} Intervals: {how.level:.0%}; they cover the initial params, "
        f"the minibatches, {split}and the choice of the setting."
    )


def noise(task: Task, study: Study) -> str:
    """How long the runs of a task are, and its noise floor where anything was compared."""
    text = f"{task.name}: {task.steps[-1]} steps of batches of {task.batch_size}."
    return f"{text} {verdicts.noise(task, study.protocol)}" if compared(task) else text


def figure(panels: Sequence[Chart], study: Study) -> str:
    """The caption of one figure: its panels, how to read them, the protocol, the noise floor."""
    shown = [task for task in study.tasks if task.name in {chart.task for chart in panels}]
    title = panels[0].title[0].upper() + panels[0].title[1:]
    if len({chart.title for chart in panels}) > 1:
        title = f"{panels[0].kind.capitalize()} of each task"
    read = list(dict.fromkeys(chart.caption for chart in panels))
    parts = [f"{title}.", *read, protocol(study), *(noise(task, study) for task in shown)]
    return " ".join(parts)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
