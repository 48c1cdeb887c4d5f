"""Compiled programs kept on disk from one command to the next, by JAX's own cache.

JAX finds a program by its text, the versions of JAX and XLA, the flags and the kind of device.
A folder for each set of processor instructions keeps apart machines that share a home.
"""

import argparse
import contextlib
import hashlib
import os
import platform
from pathlib import Path

import jax

OFF = "LECTURE_OPT_NO_CACHE"
MOST_BYTES = 500_000_000


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--no-cache` to a command."""
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        default=not os.environ.get(OFF),
        help=f"compile anew what an earlier command compiled (or set {OFF}=1); "
        "compile times that are shown are otherwise those of a second run",
    )


def start() -> None:
    """Makes JAX keep what it compiles, unless its user has chosen a folder or none can be made."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            root = folder()
            root.mkdir(parents=True, exist_ok=True)
            shorten(root, MOST_BYTES)
            jax.config.update("jax_compilation_cache_dir", str(root))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def folder() -> Path:
    """Where this machine's programs are, in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    about = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return Path(home) / "lecture_opt" / hashlib.sha256(about.encode()).hexdigest()[:16]


def shorten(root: Path, most: int) -> None:
    """Removes the oldest files until the rest take at most `most` bytes."""
    files = [(path, path.stat()) for path in root.iterdir() if path.is_file()]
    total = sum(about.st_size for _, about in files)
    for path, about in sorted(files, key=lambda file: file[1].st_mtime):
        if total <= most:
            return
        path.unlink(missing_ok=True)
        total -= about.st_size
