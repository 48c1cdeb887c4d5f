"""JAX's compiler for CUDA devices that are not there."""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
from jax.experimental import topologies

from lecture_opt.bench.price import devices

PLUGINS = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")


def find() -> ModuleType:
    """The plugin of JAX that compiles for CUDA, told not to look for a driver.

    Called before anything asks JAX for its devices, it spares the reader JAX's complaint that
    there is no GPU.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # JAX's default
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # XLA logs what exceeds the memory of a device
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    for name in PLUGINS:
        if importlib.util.find_spec("jax_plugins") and importlib.util.find_spec(name):
            return importlib.import_module(name)
    package = "jax-cuda13-plugin"
    raise ModuleNotFoundError(f"there is no {package}", name=package)


def topology(name: str, count: int = 1) -> Sequence[jax.Device]:
    """The devices of this name, `count` of them in one machine, to compile for.

    Raises:
        ValueError: The name is unknown.
        ModuleNotFoundError: JAX's plugin for CUDA is not installed.
    """
    target = devices.target(devices.named(name))
    plugin = find()

    def describe() -> Any:
        return topologies.get_topology_desc(
            platform="cuda", topology=f"1x1x{count}", target_config=target
        )

    try:
        return describe().devices
    except NotImplementedError:  # JAX has looked for a GPU before, and so left the plugin out
        plugin.initialize()
        return describe().devices
