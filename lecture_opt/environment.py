"""JAX as most users run it: what other people's optimizers and losses count on."""

import contextlib
import warnings
from collections.abc import Iterator
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
