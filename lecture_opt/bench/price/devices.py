"""The published facts of the devices that a program can be priced for."""

from typing import NamedTuple


class Device(NamedTuple):
    """One GPU, as its maker's data sheet and programming guide describe it.

    Attributes:
        text: Its full name.
        capability: Its CUDA compute capability.
        memory: Bytes that programs can have.
        bandwidth: Of the memory, in bytes per second.
        link: To each of the other devices of its machine, all links together, in bytes per second
            and direction.
        cores: Streaming multiprocessors.
        lanes: Operations in float32 per clock and core.
        clock: GHz at its boost.
        cache: Bytes of the second level.
        block_memory: Bytes of shared memory that a block may ask for.
        core_memory: Bytes of shared memory of a core.
        core_threads: Threads that a core holds.
        tensor: Dense matrix operations per second on float32 inputs, rounded to tf32 where it can.
    """

    text: str
    capability: tuple[int, int]
    memory: float
    bandwidth: float
    link: float
    cores: int
    lanes: int
    clock: float
    cache: int
    block_memory: int
    core_memory: int
    core_threads: int
    tensor: float


_K, _M, _G = 2**10, 2**20, 2**30
DEVICES = {
    "t4": Device(
        "NVIDIA T4", (7, 5), 15 * _G, 0.32e12, 16e9,
        40, 64, 1.59, 4 * _M, 64 * _K, 64 * _K, 1024, 8.1e12,
    ),
    "a100": Device(
        "NVIDIA A100 SXM 80 GB", (8, 0), 80 * _G, 2.039e12, 300e9,
        108, 64, 1.41, 40 * _M, 163 * _K, 164 * _K, 2048, 156e12,
    ),
    "l4": Device(
        "NVIDIA L4", (8, 9), 22.5 * _G, 0.3e12, 32e9,
        58, 128, 2.04, 48 * _M, 99 * _K, 100 * _K, 1536, 60e12,
    ),
    "rtx4090": Device(
        "NVIDIA GeForce RTX 4090", (8, 9), 24 * _G, 1.008e12, 32e9,
        128, 128, 2.52, 72 * _M, 99 * _K, 100 * _K, 1536, 82.6e12,
    ),
    "h100": Device(
        "NVIDIA H100 SXM 80 GB", (9, 0), 80 * _G, 3.35e12, 450e9,
        132, 128, 1.98, 50 * _M, 227 * _K, 228 * _K, 2048, 494.7e12,
    ),
    "h200": Device(
        "NVIDIA H200 SXM 141 GB", (9, 0), 141 * _G, 4.8e12, 450e9,
        132, 128, 1.98, 50 * _M, 227 * _K, 228 * _K, 2048, 494.7e12,
    ),
    "b200": Device(
        "NVIDIA B200 180 GB", (10, 0), 178 * _G, 7.7e12, 900e9,
        148, 128, 1.96, 126 * _M, 227 * _K, 228 * _K, 2048, 1100e12,
    ),
}  # fmt: skip


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


def target(device: Device) -> str:
    """The device as XLA reads it, in the text format of its `GpuTargetConfigProto`."""
    major, minor = device.capability
    facts = {
        "core_count": device.cores,
        "fpus_per_core": device.lanes,
        "clock_rate_ghz": device.clock,
        "memory_bandwidth": int(device.bandwidth),
        "device_memory_size": int(device.memory),
        "l2_cache_size": device.cache,
        "shared_memory_per_block": 48 * _K,
        "shared_memory_per_block_optin": device.block_memory,
        "shared_memory_per_core": device.core_memory,
        "threads_per_core_limit": device.core_threads,
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
