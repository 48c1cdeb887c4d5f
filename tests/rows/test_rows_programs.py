"""What the compiled step does: nothing table-sized is copied, rows stay on their devices."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import row_walks as walks

import lecture_opt as lo
from lecture_opt import rows

SIZE = 50_000
HERE = Path(__file__).parent
OPTIMIZERS = {
    **{name: walks.optimizers(name)[0] for name in walks.ALL},
    "lazy adam": rows.lazy(lo.adam()),
}


def compiled(optimizer, dtype=jnp.float32):
    params = walks.start(dtype, size=SIZE)
    state = optimizer.init(params)
    step = jax.jit(walks.step_of(optimizer), donate_argnums=(0, 1))
    return step.lower(params, state, jnp.arange(8)).compile(), params, state


@pytest.mark.parametrize("name", ["sgd", "adagrad", "nesterov", "rmsprop", "adam", "lazy adam"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_donated_tables_are_updated_in_place(name, dtype):
    program, params, state = compiled(OPTIMIZERS[name], dtype)
    memory = program.memory_analysis()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((params, state)))
    # The smallest table-sized array is the float16 table, or the count a row.
    smallest = min(SIZE * walks.D * dtype.dtype.itemsize, SIZE * 4)
    assert memory.temp_size_in_bytes < smallest / 2
    assert memory.alias_size_in_bytes > held - 1000
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1000  # the loss, pointers
    copies = [line for line in program.as_text().splitlines() if re.search(r" copy\(", line)]
    assert not [line for line in copies if f"[{SIZE}" in line]


@pytest.mark.parametrize("name", ["adam", "lazy adam"])
@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_lowers_for_accelerators(name, platform):
    params = walks.start(jnp.bfloat16)
    state = OPTIMIZERS[name].init(params)
    step = jax.jit(walks.step_of(OPTIMIZERS[name]), donate_argnums=(0, 1))
    exported = jax.export.export(
        step,
        platforms=[platform],
        disabled_checks=[jax.export.DisabledSafetyCheck.custom_call("Sharding")],
    )(params, state, jnp.arange(8))
    assert exported.platforms == (platform,)


def test_a_loop_of_steps_compiles_once():
    traced = []
    optimizer = OPTIMIZERS["adam"]

    @jax.jit
    def step(params, state, batch):
        traced.append(1)
        return walks.step_of(optimizer)(params, state, batch)

    params = walks.start()
    state = optimizer.init(params)
    for batch in walks.batches(3):
        params, state, _ = step(params, state, batch)
    assert len(traced) == 1


def start(*arguments, devices=1):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, HERE / "row_devices.py", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("slow", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_row_sharded_over_8_devices(slow):
    output, _ = start(1, 0, 0, slow, devices=8).communicate(timeout=300)
    assert output.strip().endswith("same 8"), output


@pytest.mark.slow
def test_row_sharded_over_2_processes():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    both = [start(2, index, port, 0) for index in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    for output in outputs:
        assert "same 2" in output, output


def test_memory_of_finalize_is_bounded_by_its_blocks():
    optimizer = OPTIMIZERS["adam"]
    params = walks.start(size=500_000)
    state = jax.eval_shape(optimizer.init, params)
    program = jax.jit(rows.finalize, donate_argnums=(0, 1)).lower(params, state).compile()
    assert program.memory_analysis().temp_size_in_bytes < 65536 * 4 * 15 * 12
    np.testing.assert_equal(
        program.memory_analysis().alias_size_in_bytes > 500_000 * 3 * 4 * 3, True
    )
