"""The workloads that are written with Flax or Equinox, each imported when it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

from lecture_opt.problems.loop import Loop
from lecture_opt.problems.task import Task


def bytes_transformer(scale: int = 1) -> Loop:
    """A decoder-only transformer, in Flax linen."""
    with _extra():
        from lecture_opt.problems import transformer
    return transformer.bytes_transformer(scale)


def bytes_gru(scale: int = 1) -> Loop:
    """A recurrent network, in Equinox."""
    with _extra():
        from lecture_opt.problems import recurrent
    return recurrent.bytes_gru(scale)


def digits_batchnorm(scale: int = 1) -> Loop:
    """A convolutional network with batch normalisation and dropout, in Flax linen."""
    with _extra():
        from lecture_opt.problems import convnet
    return convnet.digits_batchnorm(scale)


def digits_vae(scale: int = 1) -> Task:
    """A variational autoencoder, in Flax nnx."""
    with _extra():
        from lecture_opt.problems import autoencoder
    return autoencoder.digits_vae(scale)


@contextmanager
def _extra() -> Iterator[None]:
    """Says what to install where a library of the extra `workloads` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in ("equinox", "flax"):
            raise
        raise ImportError(
            f"the task needs {package}: pip install 'lecture_opt[workloads]'"
        ) from error
