"""Whole processes: killed and resumed, over eight devices, over two processes. Slow."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ARGUMENTS = [
    "compare", "--quick", "--steps", "40", "--budget", "3", "--task", "noisy-quadratic",
    "--task", "cancer-logistic", "--optimizer", "optax:adam", "--optimizer", "optax:sgd",
    "--optimizer", "lecture:adam",
]  # fmt: skip
COMMAND = [sys.executable, "-m", "lecture_opt", *ARGUMENTS]


def numbers(path):
    """The results without what clocks say and how many devices there were."""
    results = json.loads(path.read_text())
    for task in results["tasks"]:
        for cell in task["cells"]:
            del cell["cost"]
    del results["device"]
    return results


def assert_close(one, two, rtol):
    """Equal, numbers to a tolerance."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_close(one[key], two[key], rtol)
    elif isinstance(one, list):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_close(a, b, rtol)
    elif isinstance(one, float):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol)
    else:
        assert one == two


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([*COMMAND, "--output", str(folder)], check=True, capture_output=True)
    return numbers(folder / "results.json")


def test_a_killed_comparison_resumes_to_the_same_results(tmp_path, undisturbed):
    command = [*COMMAND, "--output", str(tmp_path), "--resume"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = tmp_path / "runs"
    while len(list(kept.glob("*.npz"))) < 4 and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "results.json").exists()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    assert before
    subprocess.run(command, check=True, capture_output=True)
    assert numbers(tmp_path / "results.json") == undisturbed
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_eight_devices_give_the_numbers_of_one(tmp_path, undisturbed):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    command = [*COMMAND, "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert json.loads((tmp_path / "results.json").read_text())["device"]["devices"] == 8
    # Programs of another size round otherwise: 40 steps of a few float32 roundings each.
    assert_close(numbers(tmp_path / "results.json"), undisturbed, rtol=1e-4)


MINE = """
import jax, optax
def fine(learning_rate): return optax.sgd(learning_rate)
def also(learning_rate): return optax.adam(learning_rate)
def broken(learning_rate):
    def fail(x): raise ValueError("no disk")
    def update(grads, state, params=None):
        return jax.pure_callback(fail, grads, grads, vmap_method="sequential"), state
    return optax.GradientTransformation(lambda params: (), update)
"""
TWO = """
import sys, jax
from pathlib import Path
port, process, folder = sys.argv[1:4]
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(process))
from lecture_opt import cli
sys.exit(cli.main([*sys.argv[4:], "--output", folder]))
"""
FAILS = """
from lecture_opt.compare.runs import data
real, here = data.prepare, sys.argv[2]
def prepare(loop):
    if here == "RANK":
        raise OSError("no disk")
    return real(loop)
data.prepare = prepare
sys.exit("""


def two(script, folders, arguments, seconds=300):
    """Exit status and errors of two processes that run the script."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(port), str(i), str(folder), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, folder in enumerate(folders)
    ]
    try:
        return [(one.communicate(timeout=seconds)[1], one.returncode) for one in running]
    finally:
        for one in running:
            one.kill()


def test_two_processes_share_the_work_and_agree(tmp_path, undisturbed):
    folders = [tmp_path / "0", tmp_path / "1"]
    for errors, status in two(TWO, folders, ARGUMENTS):
        assert status == 0, errors[-2000:]
    assert numbers(folders[0] / "results.json") == undisturbed
    assert not (folders[1] / "results.json").exists()  # one process writes for all


def test_an_optimizer_that_fails_in_one_process_is_a_row_of_both(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    arguments = ["compare", "--steps", "4", "--budget", "2", "--seeds", "2"]
    arguments += ["--task", "noisy-quadratic"]
    for name in ("fine", "broken", "also"):
        arguments += ["--optimizer", f"{tmp_path}/mine.py:{name}"]
    folders = [tmp_path / "0", tmp_path / "1"]
    (errors, status), (other, ended) = two(TWO, folders, arguments)
    assert (status, ended) == (1, 0), errors[-2000:] + other[-2000:]
    (task,) = json.loads((folders[0] / "results.json").read_text())["tasks"]
    assert [one["optimizer"] for one in task["failures"]] == ["mine.py:broken"]
    assert len(task["cells"]) == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_ends_the_other_with_its_reason(rank, tmp_path):
    script = TWO.replace("sys.exit(", FAILS.replace("RANK", str(rank)))
    found = two(script, [tmp_path / "0", tmp_path / "1"], ARGUMENTS, seconds=120)
    assert [status != 0 for _, status in found] == [True, True]
    assert f"process {rank} failed: OSError: no disk" in found[1 - rank][0]
    assert "no disk" in found[rank][0]


def test_without_a_launcher_it_is_said_what_to_type(tmp_path):
    command = [*COMMAND, "--output", str(tmp_path), "--distributed"]
    for address, says in (([], "--distributed HOST:PORT,N,0"), (["here"], "wanted HOST:PORT")):
        found = subprocess.run([*command, *address], capture_output=True, text=True)
        assert found.returncode == 2
        assert says in found.stderr
        assert found.stderr.count("\n") == 1


MEMORY = """
import resource, sys
import jax, jax.numpy as jnp, numpy as np
from lecture_opt import compare, specs
x = np.ones((64, 8), np.float32)
def study(width):
    def init(key):
        return [jax.random.normal(key, s) for s in ((8, width), (width, width), (width, 1))]
    def loss(p, part):
        return (jnp.tanh(part @ p[0] @ p[1]) @ p[2]).mean()
    task = compare.Task("t", init, loss, loss, (x, x, x), steps=2, evaluations=1, batch_size=8)
    compare.run([task], [specs.parse("optax:adam"), specs.parse("optax:lion")], compare.Protocol())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(1024 * (-study(8) + study(1000)) if sys.platform == "linux" else 0)
"""


def test_160_tuning_runs_of_a_million_params_keep_within_a_gigabyte():
    """Two optimizers side by side; all their parameters alone would be 1.3 GB."""
    command = [sys.executable, "-c", MEMORY]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(found.stdout) < 1e9
