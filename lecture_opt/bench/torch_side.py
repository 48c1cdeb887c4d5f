"""PyTorch's fused optimizers as subjects, where PyTorch is installed and has the like."""

import importlib.util
import time
from typing import Any

import jax
import numpy as np

from lecture_opt.bench.measure import PyTree, Subject

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
    began = time.perf_counter()
    optimizer = getattr(torch.optim, name)(tensors, lr=1e-3, fused=True)
    init = time.perf_counter() - began

    def step() -> None:
        optimizer.step()
        if gpu:
            torch.cuda.synchronize()

    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    state = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    state_bytes = sum(t.numel() * t.element_size() for t in state)
    own = sum(t.numel() * t.element_size() for t in tensors)
    costs: dict[str, float | None] = {
        "init_first_seconds": init,
        "step_first_seconds": first,
        "state_bytes": state_bytes,
        "moved_bytes": own + 2 * (own + state_bytes),
    }
    return Subject(f"torch:{name}(fused)", step, None, None, None, costs)
