"""`lecture-opt inspect`: exit statuses, the table, JSON, a comparison, what make() may give."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest
from models import shape

from lecture_opt import inspect
from lecture_opt.cli import dispatch
from lecture_opt.inspect.made import optimizer_and_params
from lecture_opt.problems.loop import Loop

TRAIN = """
import jax, jax.numpy as jnp, optax

params = {"dense": {"kernel": jnp.zeros((4, 8)), "bias": jnp.zeros(8)}}

def make():
    return optax.adamw(1e-3, weight_decay=0.1), params

def without():
    return optax.adam(1e-3), params

def early():
    return optax.sgd(optax.linear_schedule(0.1, 0.0, 5)), params

def nothing():
    return 3

def breaks():
    raise RuntimeError("no data")
"""


@pytest.fixture
def train(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(TRAIN)
    return file


@pytest.mark.parametrize(
    ("name", "status"), [("make", 0), ("early", 1), ("nothing", 2), ("breaks", 2), ("absent", 2)]
)
def test_exit_status(train, name, status, capsys):
    assert dispatch.main(["inspect", f"{train}:{name}", "--steps", "20"]) == status
    captured = capsys.readouterr()
    assert captured.err if status == 2 else captured.out


def test_the_table_and_the_finding_are_printed(train, capsys):
    dispatch.main(["inspect", f"{train}:early", "--steps", "20"])
    out = capsys.readouterr().out
    assert "dense/kernel" in out
    assert "the schedule ends at step 5 of 20" in out


def test_json_is_strict_and_whole(train, tmp_path):
    file = tmp_path / "inspection.json"
    dispatch.main(["inspect", f"{train}:make", "--steps", "5", "--output", str(file)])
    data = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert data["ok"] is True
    bias = next(leaf for leaf in data["leaves"] if leaf["path"] == "dense/bias")
    assert bias["decay"] == {"kind": "decoupled", "amount": 0.1, "scheduled": True}
    assert bias["rates"] == pytest.approx([1e-3] * 5)


def test_two_are_compared(train, capsys):
    command = ["inspect", f"{train}:make", "--steps", "5", "--against", f"{train}:without"]
    assert dispatch.main(command) == 0
    assert "dense/bias: weight decay 0.1 (decoupled) becomes 0 (no)" in capsys.readouterr().out


def test_a_train_state_is_understood():
    train_state = pytest.importorskip("flax.training.train_state")
    params = {"w": jnp.zeros(3)}
    state = train_state.TrainState.create(apply_fn=None, params=params, tx=optax.sgd(0.1))
    optimizer, found, *_ = optimizer_and_params(state)
    assert found is params
    assert inspect.run(optimizer, found, steps=5)["w"].rule == "sgd()"


def test_an_nnx_optimizer_is_understood():
    nnx = pytest.importorskip("flax.nnx")
    with jax.numpy_dtype_promotion("standard"):
        model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        made = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)
    optimizer, params, *_ = optimizer_and_params((model, made))
    assert {leaf.path for leaf in inspect.run(optimizer, params, steps=5).leaves} == {
        "bias",
        "kernel",
    }


def test_a_model_of_seven_billion_needs_no_memory():
    params = {f"layer_{i}": {"kernel": shape(4096, 4096 * 13)} for i in range(32)}
    leaf = inspect.run(optax.adam(1e-4), params, steps=5)["layer_7/kernel"]
    assert leaf.state_bytes == 2 * 4 * 4096 * 4096 * 13


def test_what_else_make_may_give():
    nnx = pytest.importorskip("flax.nnx")
    with jax.numpy_dtype_promotion("standard"):
        model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        made = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)
    shapes = {"bias": (3,), "kernel": (2, 3)}
    for form in (made, (made, model), (model, made), (optax.sgd(0.1), model)):
        params = optimizer_and_params(form).params
        assert jax.tree.map(jnp.shape, params) == shapes
    with pytest.raises(TypeError, match="return \\(optimizer, model\\)"):
        optimizer_and_params(nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param))


def loop(own=None):
    def start(optimizer, key):
        params = {"w": jnp.zeros((3, 2))}
        return {"params": params, "state": optimizer.init(params), "optimizer": optimizer}

    data = (jnp.zeros((4, 3)),) * 3
    return Loop("mine", start, lambda s, b: s, lambda s, p: 0.0, data, own=own and own(start))


def test_a_loop_gives_its_own_optimizer_or_takes_one():
    made = optimizer_and_params((optax.adam(1e-3), loop()))
    assert made.params["w"].shape == (3, 2)
    assert made.steps == 400
    own = optimizer_and_params(loop(lambda start: lambda key: start(optax.adam(1e-3), key)))
    assert inspect.run(own.optimizer, own.params, steps=5)["w"].rule.startswith("adam")
    assert own.state is not None
    with pytest.raises(TypeError, match="Loop mine has no own optimizer"):
        optimizer_and_params(loop())


def test_the_params_of_a_loop_may_hold_numbers_and_its_start_mix_dtypes():
    def start(optimizer, key):
        w = jnp.zeros((3, 2)) + jnp.ones(2, jnp.bfloat16)  # an error under the tests' promotions
        params = {"w": w, "scale": 1.0}
        return params, optimizer.init(params), optimizer

    mixed = loop(lambda _: lambda key: start(optax.adam(1e-3), key))
    assert optimizer_and_params(mixed).state is not None
    made = optimizer_and_params((optax.adam(1e-3), dataclasses.replace(mixed, start=start)))
    assert jax.tree.map(jnp.shape, made.params) == {"w": (3, 2), "scale": ()}


SHARDED = """
import jax, jax.numpy as jnp, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from lecture_opt import inspect

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
cut, whole = (NamedSharding(mesh, spec) for spec in (P("data", None), P()))
params = {"w": jax.device_put(jnp.ones((64, 32)), cut), "b": jax.device_put(jnp.ones(32), whole)}
adam = optax.adam(1e-3)
for full in (False, True):
    right = inspect.run(adam, params, steps=5, full=full)
    assert right.ok, right.findings
    assert [piece.sharding for piece in right["w"].state] == ["P('data', None)"] * 2
    assert right["w"].rule.startswith("adam")
state = jax.jit(adam.init, out_shardings=whole)(params)
text = inspect.run(adam, params, steps=5, state=state).findings[0].text
assert text == "state 0/mu of w is whole on 4 devices, its params are P('data', None)", text
"""


def test_a_sharded_tree_stays_sharded():
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    subprocess.run([sys.executable, "-c", SHARDED], check=True, env=env | {"JAX_PLATFORMS": "cpu"})
