"""JAX as most users run it: what other people's optimizers and losses count on."""

import contextlib
import functools
import importlib.metadata
import platform
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.experimental


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """JAX's default promotions of dtypes and ranks, whatever the caller's configuration."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def enable_x64(enabled: bool) -> contextlib.AbstractContextManager[Any]:
    """64-bit types on or off, under whichever name this version of JAX has for it."""
    home: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
    return cast(contextlib.AbstractContextManager[Any], home.enable_x64(enabled))


@contextlib.contextmanager
def environment(x64: bool = False) -> Iterator[None]:
    """Default promotions, a fixed width, no warnings: a verdict must not vary with the caller."""
    with warnings.catch_warnings(), lenient(), enable_x64(x64):
        warnings.simplefilter("ignore")
        yield


def versions(*packages: str) -> dict[str, str]:
    """The versions of installed packages and of Python: what numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in packages}
    return {**found, "python": platform.python_version()}


def check_device(caller: str) -> None:
    """Raise a ValueError that begins with `caller` where JAX finds no device to run on."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that one platform was found
        asked = jax.config.values["jax_platforms"]
        raise ValueError(f"{caller}: JAX finds no device (JAX_PLATFORMS is {asked})") from error


def fast_jit(function: Callable[..., Any], level: int = 0, **options: Any) -> Any:
    """`jax.jit`, with options under which XLA compiles small programs in half the time or less.

    `level` is how far XLA optimises: 0 for programs that run a few times, 1 for those that train.
    """
    return jax.jit(function, compiler_options=_fast_options(level), **options)


@functools.cache
def _fast_options(level: int) -> dict[str, Any]:
    """Those that this version of XLA knows: names come and go.

    XLA has no list to ask; it refuses an unknown name when it compiles. So all are tried at once
    (8 ms), and one by one only where a name is refused.
    """
    wanted = {
        "xla_backend_optimization_level": level,
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    if jax.default_backend() != "cpu":
        return {}
    if _are_options(wanted):
        return wanted
    return {name: value for name, value in wanted.items() if _are_options({name: value})}


def _are_options(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda x: x).lower(1.0).compile(options)
    except RuntimeError:
        return False
    return True
