"""Many devices give what one gives: 8 in one process, and 2 and 4 processes joined on loopback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import many_processes
import numpy as np
import optax
import pytest

import lecture_opt as lo

HERE = Path(__file__).parent
ROUNDING = 20 * many_processes.STEPS * np.finfo(np.float32).eps


def start(script, *arguments, devices=1):
    environment = os.environ | {
        "PYTHONPATH": str(HERE.parents[1]),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    return subprocess.Popen(
        [sys.executable, HERE / script, *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_eight_devices(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    process = start("many_devices.py", tmp_path / "run", devices=8)
    output, _ = process.communicate()
    assert output.endswith("ok\n"), output


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mesh: lo.shard_data(np.ones(8), None), "shard_data: mesh is None; wanted a jax"),
        (lambda mesh: lo.shard_params(np.ones(8), 8), "shard_params: mesh is 8; wanted a jax"),
        (lambda mesh: lo.zero1(optax.sgd(0.1), 8), "zero1: mesh is 8; wanted a jax"),
        (lambda mesh: lo.zero1("adam", mesh), "zero1: optimizer is 'adam'; wanted an optax"),
    ],
)
def test_what_is_no_mesh_or_optimizer_is_named(call, message):
    with pytest.raises(TypeError, match=message):
        call(jax.make_mesh((1,), ("devices",)))


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes(tmp_path, count):
    pytest.importorskip("orbax.checkpoint")
    alone = many_processes.train("data_parallel", None).losses
    port = free_port()
    processes = [start("many_processes.py", port, count, i, tmp_path) for i in range(count)]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, outputs
    with np.load(tmp_path / "losses.npz") as results:
        assert results["devices"] == count
        for name in (*many_processes.LAYOUTS, "undisturbed"):
            np.testing.assert_allclose(results[name], alone, rtol=ROUNDING)
        np.testing.assert_array_equal(results["resumed"], results["undisturbed"])
