"""Runs commands side by side, as many at once as there are processors.

It reads them from its input, each ended by a NUL. The output of a command is shown when it has
ended, and at the end those that failed are named.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def failed(command: str) -> bool:
    """Runs one, and whether it failed."""
    start = time.perf_counter()
    bash = ["bash", "-xeuo", "pipefail", "-c", command]
    done = subprocess.run(
        bash, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    took = f"# status {done.returncode} after {time.perf_counter() - start:.0f} s\n"
    sys.stdout.buffer.write(done.stdout + took.encode())
    sys.stdout.flush()
    return done.returncode != 0


if __name__ == "__main__":
    commands = sys.stdin.read().rstrip("\0").split("\0")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        lost = [one for one, bad in zip(commands, pool.map(failed, commands), strict=True) if bad]
    if lost:
        sys.exit("failed:\n" + "\n".join(one.strip() for one in lost))
