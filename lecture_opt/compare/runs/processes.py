"""The processes under `jax.distributed`: each has some of the optimizers, and all get all."""

import pickle
from typing import TypeVar

import jax
import numpy as np

T = TypeVar("T")


def is_ours(index: int) -> bool:
    """Whether the optimizer of this number is this process's."""
    return index % jax.process_count() == jax.process_index()


def shared(one: T | None, index: int) -> T:
    """What the process that has it measured, given to all."""
    if jax.process_count() == 1:
        assert one is not None
        return one
    from jax.experimental import multihost_utils

    def given(value: np.ndarray) -> np.ndarray:
        return np.asarray(multihost_utils.broadcast_one_to_all(value, is_source=is_ours(index)))

    packed = np.frombuffer(pickle.dumps(one), np.uint8)
    size = int(given(np.array(len(packed))))
    whole = given(np.resize(packed, size))
    found: T = pickle.loads(whole.astype(np.uint8).tobytes())
    return found
