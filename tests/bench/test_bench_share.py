"""The params of a problem as a tree of the bench, and the optimizer's share of its step."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lecture_opt import cli, compare
from lecture_opt.bench import measure, share
from lecture_opt.bench.types import Estimate


def task(dtype=jnp.float32):
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]

    def init(key):
        return {"w": jax.random.normal(key, (1, 3), dtype), "b": [jnp.zeros(3, dtype), None]}

    def loss(params, part):
        return jnp.mean((part @ params["w"].astype(jnp.float32) + params["b"][0][None]) ** 2)

    return compare.Task("mine", init, loss, loss, (x, x, x), batch_size=8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_tree_of_a_problem_is_what_it_trains(dtype):
    params = share.tree(task(dtype)).make()
    want = task(dtype).init(jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, params, want)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_a_loop_that_never_inits_its_optimizer_has_no_tree():
    loop = compare.as_loop(task())
    bad = compare.Loop("bad", lambda optimizer, key: (), loop.step, loop.metric, loop.data)
    with pytest.raises(ValueError, match="never calls init"):
        share.tree(bad).make()


def test_the_command_says_the_optimizers_share(tmp_path, capsys):
    file = tmp_path / "my_train.py"
    file.write_text(
        "import jax, numpy as np\nfrom lecture_opt.compare import Task\n"
        "x = np.ones((64, 3), np.float32)\n"
        "loss = lambda w, part: ((part @ w) ** 2).mean()\n"
        "def loop():\n"
        "    init = lambda key: jax.random.normal(key, (3,))\n"
        "    return Task('mine', init, loss, loss, (x, x, x), batch_size=8)\n"
    )
    command = [
        "bench",
        "--quick",
        "--rounds",
        "1",
        "--against",
        "lecture:sgd",
        "--problem",
        f"{file}:loop",
    ]
    assert cli.main([*command, "--output", str(tmp_path)]) == 0
    assert "the optimizer's share" in capsys.readouterr().out
    (tree,) = json.loads((tmp_path / "bench.json").read_text())["trees"]
    assert (tree["tree"], tree["leaves"], tree["parameters"]) == ("mine", 1, 3)
    found = json.loads((tmp_path / "bench.json").read_text())["problems"]
    assert {one["optimizer"] for one in found} == {"lecture:adam", "lecture:sgd"}
    for one in found:
        assert 0 <= one["share"]["value"] <= 1
        assert one["step"]["value"] > 0
        assert one["matrix_rate"] > 0
        assert one["operations"] >= 2 * 2 * 8 * 3  # forward and back through the product


def test_a_share_is_what_the_optimizer_adds():
    ratio = Estimate(0.6, 0.5, 1.2)
    assert share.as_share(ratio) == pytest.approx((0.4, 0.0, 0.5))


def test_operations_are_those_of_the_program_and_unknown_where_it_loops():
    a, b = jnp.ones((8, 16)), jnp.ones((16, 4))
    product = jax.jit(jnp.matmul).lower(a, b).compile()
    assert measure.operations(product) == 2 * 8 * 16 * 4

    def looped(x):
        return jax.lax.fori_loop(0, x.shape[0], lambda _, y: y @ y, x[:8, :8])

    assert measure.operations(jax.jit(looped).lower(a).compile()) is None
