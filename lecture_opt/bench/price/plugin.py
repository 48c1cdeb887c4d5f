"""JAX's compilers for CUDA devices and TPUs that are not there."""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
from jax.experimental import topologies

from lecture_opt.bench.price import devices

CUDA = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")
TPU = "libtpu"
BOUNDS = {1: (1, 1, 1), 4: (2, 2, 1), 8: (2, 4, 1)}
"""How the chips of a TPU host lie, by their number."""


def find(name: str) -> ModuleType:
    """The package that compiles for the device of this name, told not to look for a driver.

    Called before anything asks JAX for its devices, it spares the reader the complaints of JAX and
    of these packages that there is no GPU and no TPU.

    Raises:
        ValueError: The name is unknown.
        ModuleNotFoundError: The package is not installed.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # JAX's default
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # XLA logs what exceeds the memory of a device
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    if os.environ.get("TPU_SKIP_MDS_QUERY") == "1":  # JAX has found no TPU
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
        os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # else one process at a time
    is_tpu = devices.named(name).is_tpu
    for module in (TPU,) if is_tpu else CUDA:
        if importlib.util.find_spec(module.split(".")[0]) and importlib.util.find_spec(module):
            return importlib.import_module(module)
    package = "libtpu" if is_tpu else "jax-cuda13-plugin"
    raise ModuleNotFoundError(f"there is no {package}", name=package)


def topology(name: str, count: int = 1) -> Sequence[jax.Device]:
    """The devices of this name, `count` of them in one machine, to compile for.

    Raises:
        ValueError: The name is unknown, or a machine doesn't hold so many.
        ModuleNotFoundError: JAX's compiler for it is not installed.
    """
    device = devices.named(name)
    if isinstance(device.chip, devices.Tpu):
        return _host(name, device.chip, count)
    plugin = find(name)
    target = devices.target(device, device.chip)

    def describe() -> Any:
        return topologies.get_topology_desc(
            platform="cuda", topology=f"1x1x{count}", target_config=target
        )

    try:
        return describe().devices
    except NotImplementedError:  # JAX has looked for a GPU before, and so left the plugin out
        plugin.initialize()
        return describe().devices


def _host(name: str, chip: devices.Tpu, count: int) -> Sequence[jax.Device]:
    """So many chips of one host."""
    sizes = [size for size in BOUNDS if size <= chip.chips]
    if count not in sizes:
        listed = " or ".join(map(str, sizes))
        raise ValueError(f"{count} devices {name}: wanted {listed}, as a host has them")
    find(name)
    return topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"{chip.name}:{'x'.join(map(str, BOUNDS[count]))}",
        chips_per_host_bounds=BOUNDS[count],
        chip_config_name=chip.cores,
    ).devices
