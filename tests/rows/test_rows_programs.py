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


def step_of(optimizer):
    def step(params, state, batch):
        loss, grads = rows.value_and_row_grad(walks.loss_fn, walks.ids_fn)(
            params, batch, opt_state=state
        )
        updates, state = optimizer.update(grads, state, params)
        return rows.apply_updates(params, updates), state, loss

    return step


def compiled(optimizer, dtype=jnp.float32):
    params = walks.start(dtype, size=SIZE)
    state = optimizer.init(params)
    step = jax.jit(step_of(optimizer), donate_argnums=(0, 1))
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
    step = jax.jit(step_of(OPTIMIZERS[name]), donate_argnums=(0, 1))
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
        return step_of(optimizer)(params, state, batch)

    params = walks.start()
    state = optimizer.init(params)
    for batch in walks.batches(3):
        params, state, _ = step(params, state, batch)
    assert len(traced) == 1


def run_python(code, *arguments, devices=1):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


SHARDED = """
import re, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

processes, index, port = map(int, sys.argv[1:])
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", processes, index)
import row_walks as walks
from lecture_opt import rows
from test_rows_programs import step_of

SIZE, STEPS = 4000, 5
mesh = Mesh(np.array(jax.devices()), ("rows",))
by_rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())

def put(value, sharding):
    value = np.asarray(value)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

optimizer, _ = walks.optimizers("adam")
start = walks.start(size=SIZE)
params = {"table": put(start["table"], by_rows), "bias": put(start["bias"], everywhere)}
state = jax.jit(optimizer.init)(params)
state = jax.tree.map(
    lambda leaf: jax.device_put(leaf, by_rows if leaf.shape[:1] == (SIZE,) else everywhere), state
)
ids = np.random.default_rng(0).integers(0, SIZE, (STEPS, 64))
ids[:, 0] = 3
batches = [put(batch, everywhere) for batch in ids]
step = jax.jit(step_of(optimizer), donate_argnums=(0, 1)).lower(params, state, batches[0]).compile()
text = step.as_text()
moved = re.findall(r"= (.*?) (?:all-|collective-|reduce-scatter)", text)
assert moved, "the rows looked up are summed over devices"
lengths = [int(n) for shapes in moved for n in re.findall(r"\\[(\\d+)", shapes)]
assert max(lengths) <= 64, moved
for batch in batches:
    params, state, loss = step(params, state, batch)
    assert params["table"].sharding.is_equivalent_to(by_rows, 2)
    assert state.inner.mu["table"].sharding.is_equivalent_to(by_rows, 2)
    assert state.touched["table"].sharding.is_equivalent_to(by_rows, 1)
(wanted, wanted_state), _ = walks.walk(optimizer, start, jnp.asarray(ids))
for got, whole in (
    (params["table"], wanted["table"]),
    (state.inner.nu["table"], wanted_state.inner.nu["table"]),
    (state.touched["table"], wanted_state.touched["table"]),
):
    for shard in got.addressable_shards:
        np.testing.assert_allclose(shard.data, whole[shard.index], rtol=1e-5, atol=1e-7)
print("same", len(jax.devices()))
"""


def test_row_sharded_over_8_devices_moves_rows_alone_between_them():
    output, _ = run_python(SHARDED, 1, 0, 0, devices=8).communicate(timeout=300)
    assert output.strip().endswith("same 8"), output


@pytest.mark.slow
def test_row_sharded_over_2_processes():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    both = [run_python(SHARDED, 2, index, port) for index in range(2)]
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
