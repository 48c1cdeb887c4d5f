"""Every problem by its name."""

from collections.abc import Callable, Sequence

from lecture_opt import specs
from lecture_opt.problems import fetched, synthetic, tables, text
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.parts import TaskError
from lecture_opt.problems.task import Task

TASKS: dict[str, Callable[[], Task]] = {
    "digits-mlp": tables.digits_mlp,
    "digits-convnet": tables.digits_convnet,
    "diabetes-mlp": tables.diabetes_mlp,
    "cancer-logistic": tables.cancer_logistic,
    "text-bag-of-words": text.bag_of_words,
    "text-characters": text.characters,
    "digits-softmax": tables.digits_softmax,
    "wine-softmax": tables.wine_softmax,
    "deep-good-init": synthetic.deep_good_init,
    "deep-poor-init": synthetic.deep_poor_init,
    "noisy-quadratic": synthetic.noisy_quadratic,
    "mnist-mlp": fetched.mnist_mlp,
    "fashion-mnist-mlp": fetched.fashion_mnist_mlp,
    "newsgroups": fetched.newsgroups,
}
DEFAULT = tuple(TASKS)[:6]
QUICK = ("digits-mlp", "diabetes-mlp", "text-bag-of-words")


def load(name: str) -> Loop | Task:
    """The task of this name, or the one that `path/to/file.py:name` or `module:name` holds.

    Raises:
        TaskError: No task has this name; or the file holds neither a `Loop`, nor a `Task`, nor a
            function that makes one.
    """
    if ":" not in name:
        if name not in TASKS:
            raise TaskError(
                f"--task {name}: no such task; there are {', '.join(TASKS)}, "
                "and your own as path/to/file.py:name"
            )
        return TASKS[name]()
    found = specs.find(name)
    if callable(found) and not isinstance(found, Loop | Task):
        try:
            found = found()
        except Exception as error:
            raise TaskError(f"--task {name}: raised {type(error).__name__}: {error}") from error
    if not isinstance(found, Loop | Task):
        raise TaskError(
            f"--task {name}: is a {type(found).__name__}; wanted a Loop or Task of "
            "lecture_opt.compare, or a function without arguments that returns one"
        )
    return found


def load_all(names: Sequence[str]) -> list[Loop | Task]:
    """The tasks of these names; the default six where `names` is empty."""
    tasks = [load(name) for name in names or DEFAULT]
    known = [task.name for task in tasks]
    twice = {name for name in known if known.count(name) > 1}
    if twice:
        raise TaskError(f"--task: {', '.join(sorted(twice))} is given twice")
    return tasks
