"""The lecture's optimizers beside optax's: which call stands for which, and which are equal.

>>> beside("lecture:momentum(momentum=0.5)")
'optax:sgd(momentum=0.9)'
>>> [pair.lecture for pair in PAIRS if not pair.equal]
['lecture:adagrad', 'lecture:rmsprop']
"""

from typing import NamedTuple


class Pair(NamedTuple):
    """One optimizer of the lecture and its counterparts, as `specs.parse` reads them.

    Attributes:
        lecture: The lecture's optimizer with its own defaults.
        optax: The optax optimizer of that name with its own defaults: what a user would take.
        exact: The optax call that makes the steps of `lecture`.
    """

    lecture: str
    optax: str
    exact: str

    @property
    def equal(self) -> bool:
        """Whether `lecture` and `optax` make the same steps at the same learning rate."""
        return self.optax == self.exact

    @property
    def name(self) -> str:
        """The name in `lecture_opt.optimizers`."""
        return self.lecture.partition(":")[2]


MOMENTUM = "optax:sgd(momentum=0.9)"
NESTEROV = "optax:sgd(momentum=0.9, nesterov=True)"
PAIRS = (
    Pair("lecture:sgd", "optax:sgd", "optax:sgd"),
    Pair("lecture:momentum", MOMENTUM, MOMENTUM),
    Pair("lecture:nesterov", NESTEROV, NESTEROV),
    Pair(
        "lecture:adagrad", "optax:adagrad", "optax:adagrad(initial_accumulator_value=0.0, eps=1e-6)"
    ),
    Pair("lecture:rmsprop", "optax:rmsprop", "optax:rmsprop(decay=0.9, eps=1e-6)"),
    # In float32, where the lecture's b1_decay of 1 - 1e-8 rounds to 1.
    Pair("lecture:adam", "optax:adam", "optax:adam"),
)


def beside(text: str) -> str:
    """The optax optimizer to put beside `text`: Adam where `text` is not one of the lecture's."""
    called = text.partition("(")[0].strip()
    return next((pair.optax for pair in PAIRS if pair.lecture == called), "optax:adam")
