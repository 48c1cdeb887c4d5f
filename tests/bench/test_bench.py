"""The bench's structure and arithmetic; no test asserts how long anything takes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo
from lecture_opt import bench, cli
from lecture_opt.bench import measure, plots, statistics, study, tables, torch_side

TINY = [
    bench.Tree("pair", "two leaves", lambda: {"a": jnp.ones(8), "b": jnp.ones((2, 2))}),
    bench.Tree("half", "one leaf", lambda: {"a": jnp.ones(6, jnp.bfloat16)}),
]


@pytest.fixture(scope="module")
def results():
    done = []
    optimizers = bench.optimizers("lecture:adam", ["optax:sgd"])
    found = bench.run(
        optimizers,
        TINY,
        rounds=4,
        slow_rounds=2,
        bandwidth_bytes=4_000,
        torch=False,
        on_done=done.append,
    )
    assert len(done) == study.parts(optimizers, TINY)
    return found


def test_every_tree_has_every_optimizer_with_every_measurement(results):
    assert [tree["tree"] for tree in results["trees"]] == ["pair", "half"]
    for tree in results["trees"]:
        assert [c["optimizer"] for c in tree["optimizers"]] == ["lecture:adam", "optax:sgd"]
        for cell in tree["optimizers"]:
            assert len(cell["step_seconds"]) == 4
            for kind in ("init", "eager", "trace"):
                assert len(cell[f"{kind}_seconds"]) == 2
            for name in ("init_first", "trace_first", "lower", "compile", "step_first"):
                assert cell[f"{name}_seconds"] > 0


def test_the_bytes_are_those_of_the_arrays(results):
    pair, half = (tree["optimizers"][0] for tree in results["trees"])
    assert pair["state_bytes"] == 4 + 2 * 12 * 4
    assert pair["moved_bytes"] == 3 * 12 * 4 + 2 * pair["state_bytes"]
    assert half["state_bytes"] == 4 + 2 * 6 * 4  # float32 for bfloat16 params
    assert half["moved_bytes"] == 3 * 6 * 2 + 2 * half["state_bytes"]
    assert pair["peak_bytes"] >= 2 * 12 * 4 + pair["state_bytes"]
    assert pair["accessed_bytes"] >= pair["moved_bytes"]


def test_the_summaries_follow_from_the_samples(results):
    first, second = results["trees"][0]["optimizers"]
    assert first["step_ratio"] == (1.0, 1.0, 1.0)
    ratios = np.divide(first["step_seconds"], second["step_seconds"])
    assert second["step_ratio"][0] == np.median(ratios)
    assert second["step_median"][0] == np.median(second["step_seconds"])
    assert second["compile_ratio"] == first["compile_seconds"] / second["compile_seconds"]
    limit = first["moved_bytes"] / results["bandwidth_bytes_per_second"]
    np.testing.assert_allclose(first["times_limit"], first["step_median"][0] / limit)


def test_the_results_are_strict_json_and_replace_the_old_whole(results, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text("old")
    bench.write(results, path)
    assert json.loads(path.read_text())["trees"][0]["tree"] == "pair"
    assert json.loads(path.read_text())["device"] == results["device"]
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]


def test_the_figure_draws_the_table_s_numbers(results, tmp_path):
    rows = plots.series(results, "step")
    cell = results["trees"][1]["optimizers"][1]
    assert rows["optax:sgd"][1] == cell["step_median"]
    compiled = plots.series(results, "compile")["optax:sgd"][1]
    assert compiled == (cell["compile_seconds"],) * 3
    assert plots.draw(results, tmp_path / "bench.png").stat().st_size > 0
    table = tables.costs(results["trees"][0], results["bandwidth_bytes_per_second"])
    assert table.row_count == 2
    assert len(tables.cells(cell)) == len(tables.COLUMNS)


def test_a_subject_without_a_trace_has_dashes():
    cell = {"step_ratio": (1.0, 0.9, 1.1), "step_median": (1e-3, 1e-3, 1e-3), "times_limit": 2.0}
    assert tables.cells(cell).count("-") == 8
    results = {"trees": [{"tree": "t", "optimizers": [{"optimizer": "torch", **cell}]}]}
    assert plots.series(results, "trace") == {"torch": [None]}


def test_a_step_advances_the_state_and_donates_it():
    optimizer = optax.trace(0.5)
    subject = measure.prepare("trace", optimizer, {"w": jnp.ones(3)})
    for _ in range(3):
        subject.step()
    subject.init(), subject.eager(), subject.trace()
    assert subject.costs["state_bytes"] == 12


def test_a_step_needs_no_memory_but_that_of_its_arrays():
    params = {"a": jnp.ones(1000), "b": jnp.ones(1000)}
    costs = measure.prepare("adam", lo.adam(0.1), params).costs
    arrays = 2 * measure.tree_bytes(params) + costs["state_bytes"]  # params and gradients
    assert arrays <= costs["peak_bytes"] < arrays + 1000  # a copied leaf is 4,000


def test_the_interval_of_a_median_covers_it():
    samples = np.random.default_rng(1).exponential(size=101)
    middle, low, high = statistics.median_interval(samples)
    assert low < middle < high
    assert middle == np.median(samples)
    wide = statistics.median_interval(samples[:11])
    assert wide[2] - wide[1] > high - low


def test_the_trees_are_what_they_say():
    full, quick = bench.trees(), bench.trees(quick=True)
    assert list(full) == list(quick)
    shapes = {name: jax.eval_shape(tree.make) for name, tree in full.items()}
    assert shapes["large"]["w"].shape == (16_000_000,)
    assert len(jax.tree.leaves(shapes["leaves-2000"])) == 2_000
    assert len(jax.tree.leaves(shapes["transformer"])) == 1 + 12 * 16 + 2
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes["bfloat16"])} == {jnp.dtype("bfloat16")}
    for name in full:
        sizes = [measure.tree_bytes(jax.eval_shape(t[name].make)) for t in (full, quick)]
        assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("name", [lo.sgd, lo.momentum, lo.nesterov, lo.adagrad, lo.rmsprop])
def test_each_of_the_lecture_s_has_its_equal_beside_it(name):
    assert len(bench.optimizers(f"lecture:{name.__name__}", [])) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["adma"], "adma: says no source"),
        (["lecture:adam", "--against", "optax:adma"], "optax has no 'adma'; did you mean"),
        (["--tree", "huge"], "--tree huge: unknown; the trees are large, leaves-400"),
        (["--rounds", "0"], "--rounds 0: wanted at least 1"),
        (["optax:scale_by_schedule"], "needs step_size_fn"),
        (["optax:lbfgs"], "optax:lbfgs: can't step"),
    ],
)
def test_a_wrong_request_is_named_before_any_work(arguments, says, capsys, tmp_path):
    assert cli.main(["bench", "--output", str(tmp_path / "out"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rounds_of_run_are_checked():
    with pytest.raises(ValueError, match="rounds=0"):
        bench.run({"sgd": lo.sgd()}, TINY, rounds=0)


def test_the_command_writes_what_it_prints(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "trees", lambda quick=False: {tree.name: tree for tree in TINY})
    monkeypatch.setattr(measure, "copy_bandwidth", lambda size: 1e9)
    arguments = ["bench", "lecture:sgd", "--rounds", "2", "--tree", "half"]
    assert cli.main([*arguments, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "half: one leaf (6 parameters)" in printed
    assert "optax:sgd" in printed
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert [tree["tree"] for tree in saved["trees"]] == ["half"]
    assert saved["rounds"] == 2
    assert (tmp_path / "bench.png").exists()


def test_torch_s_fused_step_is_the_same_step():
    torch = pytest.importorskip("torch", reason="PyTorch is optional")
    del torch
    params = {"w": jnp.full(4, 0.5), "h": jnp.full(2, 0.5, jnp.bfloat16)}
    subject = torch_side.prepare("Adam", params)
    subject.step()
    assert subject.costs["state_bytes"] >= 2 * (4 * 4 + 2 * 2)
    assert subject.name == "torch:Adam(fused)"
