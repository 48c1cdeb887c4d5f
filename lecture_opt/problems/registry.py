"""Every problem by its name."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lecture_opt import specs
from lecture_opt.problems import fetched, modern, synthetic, tables, text, wordvectors
from lecture_opt.problems.loop import Loop
from lecture_opt.problems.parts import TaskError
from lecture_opt.problems.task import Task

TASKS: dict[str, Callable[..., Loop | Task]] = {
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
    "bytes-transformer": modern.bytes_transformer,
    "bytes-gru": modern.bytes_gru,
    "digits-batchnorm": modern.digits_batchnorm,
    "digits-vae": modern.digits_vae,
    "text-glove": wordvectors.text_glove,
}
MODERN = tuple(TASKS)[-5:]
DEFAULT = tuple(TASKS)[:6]
QUICK = ("digits-mlp", "text-bag-of-words")


def load(name: str, scale: int = 1) -> Loop | Task:
    """The task of this name, or the one that `path/to/file.py:name` or `module:name` holds.

    `scale` multiplies the parameters of a task that is a function of `scale`, roughly.

    Raises:
        TaskError: No task has this name; or the file holds neither a `Loop`, nor a `Task`, nor a
            function that makes one; or the task has one size alone.
    """
    found, given = _named(name), {} if scale == 1 else {"scale": scale}
    if given and not (callable(found) and "scale" in inspect.signature(found).parameters):
        raise TaskError(f"--scale {scale}: {name} has one size; wanted a function of `scale`")
    if callable(found):
        found = _call(name, found, given)
    if not isinstance(found, Loop | Task):
        raise TaskError(
            f"--task {name}: is a {type(found).__name__}; wanted a Loop or Task of "
            "lecture_opt.compare, or a function without arguments that returns one"
        )
    return replace(found, name=f"{found.name}-x{scale}") if given else found


def _named(name: str) -> Any:
    """What has this name, here or in a file of the user's."""
    if ":" in name:
        return specs.find(name)
    if name not in TASKS:
        raise TaskError(
            f"--task {name}: no such task; there are {', '.join(TASKS)}, "
            "and your own as path/to/file.py:name"
        )
    return TASKS[name]


def _call(name: str, function: Callable[..., Any], given: dict[str, int]) -> Any:
    if ":" not in name:
        return function(**given)
    try:
        return function(**given)
    except Exception as error:
        raise TaskError(f"--task {name}: raised {type(error).__name__}: {error}") from error


def load_all(names: Sequence[str], scales: Sequence[int] = (1,)) -> list[Loop | Task]:
    """The tasks of these names, each at these scales; the default six where `names` is empty."""
    tasks = [load(name, scale) for name in names or DEFAULT for scale in scales]
    known = [task.name for task in tasks]
    twice = {name for name in known if known.count(name) > 1}
    if twice:
        raise TaskError(f"--task: {', '.join(sorted(twice))} is given twice")
    return tasks
