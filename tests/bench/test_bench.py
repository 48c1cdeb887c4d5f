"""The bench's structure and arithmetic; no test asserts how long anything takes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import lecture_opt as lo
from lecture_opt import bench, cli, numerics
from lecture_opt.bench import measure, plots, statistics, study, tables, torch_side, types
from lecture_opt.pages.paper import paper

TINY = [
    bench.Tree("pair", "two leaves", lambda: {"a": jnp.ones(8), "b": jnp.ones((2, 2))}),
    bench.Tree("half", "one leaf", lambda: {"a": jnp.ones(6, jnp.bfloat16)}),
]


@pytest.fixture(scope="module")
def results():
    done = []
    optimizers = bench.optimizers("lecture:adam", ["optax:sgd"])
    found = bench.run(optimizers, TINY, rounds=4, slow_rounds=2, torch=False, on_done=done.append)
    assert len(done) == study.parts(optimizers, TINY)
    return found


def test_every_tree_has_every_optimizer_with_every_measurement(results):
    assert [tree.tree for tree in results.trees] == ["pair", "half"]
    for tree in results.trees:
        assert [cell.optimizer for cell in tree.cells] == ["lecture:adam", "optax:sgd"]
        for cell in tree.cells:
            assert set(cell.samples) == set(cell.seconds) == set(cell.ratio) == set(types.KINDS)
            assert len(cell.samples["step"]) == 4
            for kind in types.AGAIN:
                assert len(cell.samples[kind]) == 2
            for kind in types.ONCE:
                assert cell.seconds[kind].value > 0


def test_the_bytes_are_those_of_the_arrays(results):
    pair, half = (tree.cells[0].bytes for tree in results.trees)
    assert pair.state == 4 + 2 * 12 * 4
    assert pair.moved == 3 * 12 * 4 + 2 * pair.state
    assert half.state == 4 + 2 * 6 * 4  # float32 for bfloat16 params
    assert half.moved == 3 * 6 * 2 + 2 * half.state
    assert pair.peak >= 2 * 12 * 4 + pair.state
    assert pair.accessed >= pair.moved


def test_the_summaries_follow_from_the_samples(results):
    tree = results.trees[0]
    first, second = tree.cells
    assert first.ratio["step"] == (1.0, 1.0, 1.0)
    ratios = np.divide(first.samples["step"], second.samples["step"])
    assert second.ratio["step"].value == np.median(ratios)
    assert second.seconds["step"].value == np.median(second.samples["step"])
    compiles = [cell.samples["compile"][0] for cell in (first, second)]
    assert second.ratio["compile"] == (compiles[0] / compiles[1],) * 3
    limit = first.bytes.moved / tree.bandwidth
    np.testing.assert_allclose(first.times_limit, first.seconds["step"].value / limit)


def test_the_results_are_strict_json_and_replace_the_old_whole(results, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text("old")
    bench.write(results, path)
    saved = json.loads(path.read_text())
    assert saved["format"] == study.FORMAT
    cell = saved["trees"][0]["cells"][1]
    assert cell["seconds"]["step"] == results.trees[0].cells[1].seconds["step"]._asdict()
    assert cell["bytes"]["state"] == results.trees[0].cells[1].bytes.state
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]


def test_the_figure_draws_the_table_s_numbers(results, tmp_path):
    cell = results.trees[1].cells[1]
    for kind in ("step", "compile"):
        assert plots.series(results, kind)["optax:sgd"][1] == cell.seconds[kind]
    assert plots.draw(results, tmp_path / "bench.png").stat().st_size > 0
    with paper("bench"):
        figure = plots._figure(results)
        FigureCanvasAgg(figure).draw()
        texts = [text.get_text() for text in figure.findobj(Text)]
    assert any(text.endswith("s") for text in texts)
    assert not [text for text in texts if "$" in text or "\\" in text]
    assert tables.costs(results.trees[0]).row_count == 2
    assert len(tables.texts(cell)) == len(tables.COLUMNS)


def test_what_does_not_apply_to_a_subject_is_a_dash(results):
    one = {"step": types.Estimate(1e-3, 1e-3, 1e-3)}
    cell = types.Cell("torch", types.Bytes(8, 24), {"step": [1e-3]}, one, one, 2.0)
    assert tables.texts(cell).count("-") == len(types.KINDS)
    tree = dataclasses.replace(results.trees[0], cells=(cell,))
    assert plots.series(dataclasses.replace(results, trees=(tree,)), "trace") == {"torch": [None]}


def test_a_sentence_says_which_step_is_faster_or_that_nothing_shows(results):
    def said(*ratio):
        first, second = results.trees[0].cells
        second = dataclasses.replace(second, ratio={"step": types.Estimate(*ratio)})
        (text,) = tables.sentences(dataclasses.replace(results.trees[0], cells=(first, second)))
        return text

    assert said(0.9, 0.8, 0.95) == (
        "pair: a step of lecture:adam takes 0.90 times as long as one of optax:sgd "
        "(95 % interval 0.80 to 0.95): faster."
    )
    assert said(0.9, 0.8, 1.1).endswith("cannot be told apart.")
    assert said(1.2, 1.1, 1.3).endswith("slower.")


def test_a_step_advances_the_state_and_donates_it():
    optimizer = optax.trace(0.5)
    subject = measure.prepare("trace", optimizer, {"w": jnp.ones(3)})
    for _ in range(3):
        subject.step()
    for again in subject.again.values():
        again()
    assert subject.bytes.state == 12


def test_a_step_needs_no_memory_but_that_of_its_arrays():
    params = {"a": jnp.ones(1000), "b": jnp.ones(1000)}
    found = measure.prepare("adam", lo.adam(0.1), params).bytes
    arrays = 2 * numerics.tree_bytes(params) + found.state  # params and gradients
    assert arrays <= found.peak < arrays + 1000  # a copied leaf is 4,000


def test_the_bandwidth_counts_reads_and_writes(monkeypatch):
    monkeypatch.setattr(measure, "seconds", lambda function, array: (array, 0.5))
    assert measure.bandwidth(4_000) == measure.CHANGES * 2 * 4_000 / 0.5


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
    assert [tree.name for tree in full.values()] == list(full)
    assert quick["leaves-400"].name == "leaves-40"
    shapes = {name: jax.eval_shape(tree.make) for name, tree in full.items()}
    assert shapes["large"]["w"].shape == (16_000_000,)
    assert len(jax.tree.leaves(shapes["leaves-2000"])) == 2_000
    assert len(jax.tree.leaves(shapes["transformer"])) == 1 + 12 * 16 + 2
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes["bfloat16"])} == {jnp.dtype("bfloat16")}
    for name in full:
        sizes = [numerics.tree_bytes(jax.eval_shape(t[name].make)) for t in (full, quick)]
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
    arguments = ["bench", "lecture:sgd", "--rounds", "2", "--tree", "half"]
    assert cli.main([*arguments, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "half: one leaf (6 parameters)" in printed
    assert "optax:sgd" in printed
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert [tree["tree"] for tree in saved["trees"]] == ["half"]
    assert "half: a step of lecture:sgd takes" in printed
    assert saved["rounds"] == 2
    assert (tmp_path / "bench.png").exists()


def test_torch_s_fused_step_is_the_same_step():
    torch = pytest.importorskip("torch", reason="PyTorch is optional")
    del torch
    params = {"w": jnp.full(4, 0.5), "h": jnp.full(2, 0.5, jnp.bfloat16)}
    subject = torch_side.prepare("Adam", params)
    subject.step()
    assert subject.bytes.state >= 2 * (4 * 4 + 2 * 2)
    assert subject.name == "torch:Adam(fused)"
