"""PyTorch's fused optimizers as subjects, where PyTorch is installed."""

import importlib.util
from typing import Any

import jax
import numpy as np

from lecture_opt.bench.measure import Subject, seconds
from lecture_opt.bench.types import Bytes
from lecture_opt.numerics import PyTree

FUSED = {"sgd": "SGD", "adam": "Adam", "adagrad": "Adagrad"}


def fused_name(name: str) -> str | None:
    """torch.optim's class for an optimizer's name, None where it has none that is fused.

    >>> fused_name("lecture:adam(b1=0.8)"), fused_name("optax:lion")
    ('Adam', None)
    """
    return FUSED.get(name.partition(":")[2].partition("(")[0])


def installed() -> bool:
    """Whether PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def prepare(name: str, params: PyTree) -> Subject:
    """torch.optim's fused optimizer of this class name on the same params, stepped once."""
    import torch

    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")

    def tensor(leaf: Any) -> Any:
        values = torch.from_numpy(np.array(leaf, np.float32))
        return values.to(device, getattr(torch, leaf.dtype.name)).requires_grad_()

    tensors = [tensor(leaf) for leaf in jax.tree.leaves(params)]
    for t in tensors:
        t.grad = t.detach().clone()
    optimizer = getattr(torch.optim, name)(tensors, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.step()
        if gpu:
            torch.cuda.synchronize()

    _, first = seconds(step)
    state = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    state_bytes = sum(t.numel() * t.element_size() for t in state)
    own = sum(t.numel() * t.element_size() for t in tensors)
    memory = Bytes(state=state_bytes, moved=own + 2 * (own + state_bytes))
    return Subject(f"torch:{name}(fused)", memory, {"first_step": first}, step, again={})
