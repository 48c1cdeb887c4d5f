"""The published facts of the devices that a program can be priced for."""

from typing import NamedTuple


class Cuda(NamedTuple):
    """A GPU, as its maker's data sheet and programming guide describe it.

    Attributes:
        capability: Its CUDA compute capability.
        cores: Streaming multiprocessors.
        lanes: Operations in float32 per clock and core.
        clock: GHz at its boost.
        cache: Bytes of the second level.
        block_memory: Bytes of shared memory that a block may ask for.
        core_memory: Bytes of shared memory of a core.
        core_threads: Threads that a core holds.
    """

    capability: tuple[int, int]
    cores: int
    lanes: int
    clock: float
    cache: int
    block_memory: int
    core_memory: int
    core_threads: int


class Tpu(NamedTuple):
    """A chip that its compiler, libtpu, knows by name.

    Attributes:
        name: The compiler's.
        chips: How many a host has.
        cores: "megacore" where a program runs on both cores of a chip as one, else "default".
    """

    name: str
    chips: int
    cores: str = "default"


class Device(NamedTuple):
    """One device, and the published facts from which times are predicted.

    Attributes:
        text: Its full name.
        chip: What its compiler is told.
        memory: Bytes that programs can have.
        bandwidth: Of the memory, in bytes per second.
        link: To each of the other devices of its machine, all links together, in bytes per second
            and direction. A TPU has two links to its neighbours in a ring.
        tensor: Dense matrix operations per second on float32 inputs as JAX multiplies them by
            default: rounded to tf32 where a GPU can, to bfloat16 on a TPU.
    """

    text: str
    chip: Cuda | Tpu
    memory: float
    bandwidth: float
    link: float
    tensor: float

    @property
    def per_machine(self) -> int:
        """How many of them one machine has."""
        return self.chip.chips if isinstance(self.chip, Tpu) else 8

    @property
    def is_tpu(self) -> bool:
        """Whether it is a TPU, on which no step was ever measured."""
        return isinstance(self.chip, Tpu)


_K, _M, _G = 2**10, 2**20, 2**30
DEVICES = {
    "t4": Device(
        "NVIDIA T4",
        Cuda((7, 5), 40, 64, 1.59, 4 * _M, 64 * _K, 64 * _K, 1024),
        15 * _G, 0.32e12, 16e9, 8.1e12,
    ),
    "a100": Device(
        "NVIDIA A100 SXM 80 GB",
        Cuda((8, 0), 108, 64, 1.41, 40 * _M, 163 * _K, 164 * _K, 2048),
        80 * _G, 2.039e12, 300e9, 156e12,
    ),
    "l4": Device(
        "NVIDIA L4",
        Cuda((8, 9), 58, 128, 2.04, 48 * _M, 99 * _K, 100 * _K, 1536),
        22.5 * _G, 0.3e12, 32e9, 60e12,
    ),
    "rtx4090": Device(
        "NVIDIA GeForce RTX 4090",
        Cuda((8, 9), 128, 128, 2.52, 72 * _M, 99 * _K, 100 * _K, 1536),
        24 * _G, 1.008e12, 32e9, 82.6e12,
    ),
    "h100": Device(
        "NVIDIA H100 SXM 80 GB",
        Cuda((9, 0), 132, 128, 1.98, 50 * _M, 227 * _K, 228 * _K, 2048),
        80 * _G, 3.35e12, 450e9, 494.7e12,
    ),
    "h200": Device(
        "NVIDIA H200 SXM 141 GB",
        Cuda((9, 0), 132, 128, 1.98, 50 * _M, 227 * _K, 228 * _K, 2048),
        141 * _G, 4.8e12, 450e9, 494.7e12,
    ),
    "b200": Device(
        "NVIDIA B200 180 GB",
        Cuda((10, 0), 148, 128, 1.96, 126 * _M, 227 * _K, 228 * _K, 2048),
        178 * _G, 7.7e12, 900e9, 1100e12,
    ),
    "v4": Device("Google TPU v4", Tpu("v4", 4, "megacore"), 30.75 * _G, 1.2e12, 100e9, 275e12),
    "v5e": Device("Google TPU v5e", Tpu("v5e", 8), 15.75 * _G, 0.819e12, 100e9, 197e12),
    "v5p": Device("Google TPU v5p", Tpu("v5p", 4, "megacore"), 95.73 * _G, 2.765e12, 200e9, 459e12),
    "v6e": Device("Google TPU v6e", Tpu("v6e", 8), 31.24 * _G, 1.6e12, 200e9, 918e12),
}  # fmt: skip
"""A TPU's facts are those of Google's "Cloud TPU" documentation of each version, its memory is what
libtpu lets a program have, and v4's links are those of Jouppi et al., "TPU v4" (ISCA 2023)."""


def named(name: str) -> Device:
    """The device of this name.

    Raises:
        ValueError: There is none; the message lists them.

    >>> named("h100").bandwidth / 1e12
    3.35
    """
    if name not in DEVICES:
        raise ValueError(f"{name}: unknown device; there are {', '.join(DEVICES)}")
    return DEVICES[name]


def target(device: Device, chip: Cuda) -> str:
    """The GPU as XLA reads it, in the text format of its `GpuTargetConfigProto`."""
    major, minor = chip.capability
    facts = {
        "core_count": chip.cores,
        "fpus_per_core": chip.lanes,
        "clock_rate_ghz": chip.clock,
        "memory_bandwidth": int(device.bandwidth),
        "device_memory_size": int(device.memory),
        "l2_cache_size": chip.cache,
        "shared_memory_per_block": 48 * _K,
        "shared_memory_per_block_optin": chip.block_memory,
        "shared_memory_per_core": chip.core_memory,
        "threads_per_core_limit": chip.core_threads,
        # Alike on all of them.
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
    }
    listed = " ".join(f"{name}: {value}" for name, value in facts.items())
    return (
        f"gpu_device_info {{ {listed} cuda_compute_capability {{ major: {major} minor: {minor} }} "
        f'}} platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} '
        f'device_description_str: "{device.text}"'
    )
