"""Prices for devices that are not there. What needs a compiler for one skips without its extra."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo
from lecture_opt import bench, cli, numerics, problems, specs
from lecture_opt.bench import price
from lecture_opt.bench.price import accuracy, devices, fits, plugin, study, tables
from lecture_opt.bench.price.types import ARRAY, LAUNCH, Collective, Kernel, Price, Priced

has_plugin = importlib.util.find_spec("jax_plugins") and any(
    importlib.util.find_spec(name) for name in plugin.CUDA
)
needs_plugin = pytest.mark.skipif(not has_plugin, reason="the extra gpu-price is not installed")
has_libtpu = importlib.util.find_spec(plugin.TPU)
needs_libtpu = pytest.mark.skipif(not has_libtpu, reason="the extra tpu-price is not installed")
ON_BOTH = [pytest.param("h100", marks=needs_plugin), pytest.param("v5e", marks=needs_libtpu)]
LEAVES = {
    "conv": jnp.ones((3, 3, 8, 16)),
    "dense": {"w": jnp.ones((256, 64)), "b": jnp.ones(64)},
    "norm": {"scale": jnp.ones(64), "bias": jnp.ones(64)},
    "half": jnp.ones((32, 64), jnp.bfloat16),
}
MOST = (
    ("lecture:sgd", 7, 225_032),
    ("optax:sgd", 6, 225_024),
    ("lecture:momentum", 7, 383_240),
    ("optax:sgd(momentum=0.9)", 6, 375_040),
    ("lecture:nesterov", 7, 383_240),
    ("optax:sgd(momentum=0.9, nesterov=True)", 6, 375_040),
    ("lecture:adagrad", 7, 383_240),
    ("optax:adagrad(initial_accumulator_value=0.0, eps=1e-6)", 6, 375_040),
    ("lecture:rmsprop", 7, 383_240),
    ("optax:rmsprop(decay=0.9, eps=1e-6)", 6, 375_040),
    ("lecture:adam", 7, 541_472),
    ("optax:adam", 7, 525_088),
)
"""Kernels, and bytes read and written, of a step on `LEAVES`; they may shrink and not grow."""


@needs_plugin
@pytest.mark.parametrize(("text", "launches", "moved"), MOST)
def test_kernels_and_bytes_do_not_grow(text, launches, moved):
    optimizer = specs.build(specs.parse(text), learning_rate=1e-3)
    with jax.numpy_dtype_promotion("standard"):
        found = price.step(text, optimizer, LEAVES, "h100")
    assert found.launches <= launches
    assert found.read + found.written <= moved
    assert found.temporaries < 2_000  # the smallest leaves take 256 bytes, the largest 65,536
    assert found.moved <= found.read + found.written <= found.moved + 64
    assert found.peak < 1.01 * (found.moved - found.state) + found.state


ON_TPU = (
    ("lecture:sgd", 336_384),
    ("optax:sgd", 336_384),
    ("lecture:momentum", 577_024),
    ("optax:sgd(momentum=0.9)", 560_640),
    ("lecture:nesterov", 577_024),
    ("optax:sgd(momentum=0.9, nesterov=True)", 560_640),
    ("lecture:adagrad", 577_024),
    ("optax:adagrad(initial_accumulator_value=0.0, eps=1e-6)", 560_640),
    ("lecture:rmsprop", 577_024),
    ("optax:rmsprop(decay=0.9, eps=1e-6)", 560_640),
    ("lecture:adam", 817_664),
    ("optax:adam", 784_896),
)
"""Bytes on a TPU, where arrays are filled up to whole tiles; a kernel for each leaf."""


@needs_libtpu
@pytest.mark.parametrize(("text", "moved"), ON_TPU)
def test_kernels_and_bytes_do_not_grow_on_a_tpu(text, moved):
    optimizer = specs.build(specs.parse(text), learning_rate=1e-3)
    with jax.numpy_dtype_promotion("standard"):
        found = price.step(text, optimizer, LEAVES, "v5e")
    assert found.launches <= len(jax.tree.leaves(LEAVES))
    assert found.moved < found.read + found.written <= moved
    assert found.temporaries == 0


@needs_libtpu
def test_whole_tiles_move_the_least_on_a_tpu():
    params = {"w": jnp.ones((4_096, 1_024)), "b": jnp.ones(1_024), "small": jnp.ones((8, 128))}
    found = price.step("adam", lo.adam(1e-3), params, "v5e")
    assert found.read + found.written == found.moved - 2 * 4  # the count lies beside
    assert (found.seconds.launches, found.seconds.host, found.seconds.total) == (None, None, None)
    assert found.seconds.device == found.seconds.bytes
    seconds = (found.moved - 8) / price.DEVICES["v5e"].bandwidth
    np.testing.assert_allclose(found.seconds.bytes, seconds, rtol=1e-12)


@needs_libtpu
def test_a_program_that_a_tpu_s_compiler_refuses_is_a_memory_error():
    params = {"w": jax.ShapeDtypeStruct((4 * 2**30,), jnp.float32)}
    with pytest.raises(MemoryError, match="RESOURCE_EXHAUSTED"):
        price.step("sgd", optax.sgd(1e-3), params, "v5e")


EACH = [
    pytest.param(name, marks=needs_libtpu if one.is_tpu else needs_plugin)
    for name, one in price.DEVICES.items()
]


@pytest.mark.parametrize("name", EACH)
def test_each_device_can_be_compiled_for(name):
    found = price.step("sgd", optax.sgd(1e-3), {"w": jnp.ones(4_096)}, name)
    assert (found.launches, found.read, found.written) == (1, 2 * 16_384, 16_384)
    seconds = 3 * 16_384 / price.DEVICES[name].bandwidth
    np.testing.assert_allclose(found.seconds.bytes, seconds, rtol=1e-12)


@pytest.mark.parametrize("name", ON_BOTH)
def test_state_cut_over_devices_is_exchanged_once(name):
    params = {"w": jnp.ones((1_024, 64)), "v": jnp.ones((64, 2_048))}
    whole = price.step("adam", lo.adam(1e-3), params, name)
    cut = price.step("adam", lo.adam(1e-3), params, name, count=8)
    assert cut.state - 4 == (whole.state - 4) / 8
    assert {one.kind for one in cut.collectives} == {"all-gather"}
    assert cut.sent == 7 * 4 * (1_024 * 64 + 64 * 2_048) / 8
    assert cut.peak < whole.peak


@needs_libtpu
@pytest.mark.parametrize("name", [name for name, one in price.DEVICES.items() if one.is_tpu])
def test_a_host_s_chips_are_what_its_compiler_sees(name):
    for count in (1, price.DEVICES[name].per_machine):
        found = price.topology(name, count)
        assert len(found) == count
        assert {one.process_index for one in found} == {0}


@pytest.mark.parametrize(("name", "count"), [("v5e", 3), ("v5e", 16), ("v5p", 8), ("v4", 2)])
def test_a_host_has_no_other_numbers_of_chips(name, count, capsys, tmp_path):
    arguments = ["--device", name, "--devices", str(count), "--output", str(tmp_path / "out")]
    assert cli.main(["bench", *arguments]) == 2
    assert f"{count} devices {name}: wanted 1 or 4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ON_BOTH)
def test_leaves_that_share_a_kernel_are_named(name):
    def update(grads, state, params=None):
        return {"a": -grads["a"] - grads["b"], "b": -grads["b"]}, state

    crossed = optax.GradientTransformation(lambda _: optax.EmptyState(), update)
    found = price.step("crossed", crossed, {"a": jnp.ones(8), "b": jnp.ones(8)}, name)
    assert ["['a']", "['b']"] in [sorted(leaves) for leaves in found.shared.values()]


@pytest.mark.parametrize("name", ON_BOTH)
def test_a_whole_training_step_is_priced(name):
    task = problems.load("digits-mlp")
    found = price.loop("adam", lo.adam(1e-3), task, name)
    params = jax.eval_shape(task.init, jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    assert found.state == 4 + 2 * 4 * sum(sizes)
    products = 2 * task.batch_size * sum(size for size in sizes if size > 64)
    assert 2 * products < sum(kernel.flops for kernel in found.kernels) < 3.2 * products
    assert found.launches > len(sizes)
    assert found.moved is None


@needs_plugin
def test_a_loop_may_give_its_optimizer_the_loss_and_mix_dtypes():
    """As a loop for `reduce_on_plateau` does, under promotions that a user has made strict."""
    x = np.ones((8, 3), np.float32)

    def start(optimizer, key):
        params = {"w": jnp.zeros(3, jnp.bfloat16)}
        return params, optimizer.init(params), optimizer

    def loss(params, batch):
        return ((batch @ params["w"] - 1) ** 2).mean()

    def step(state, batch):
        params, inner, optimizer = state
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, inner = optimizer.update(grads, inner, params, value=value)
        return (optax.apply_updates(params, updates), inner, optimizer), value

    def metric(state, part):
        return loss(state[0], part)

    loop = problems.Loop("mine", start, step, metric, (x, x, x), batch_size=4)
    bare = optax.GradientTransformation(*optax.sgd(0.1))
    assert price.loop("sgd", bare, loop, "h100").launches > 0


@needs_plugin
def test_the_command_prints_and_writes_the_same(tmp_path, capsys, monkeypatch):
    tree = bench.Tree("pair", "two leaves", lambda: {"a": jnp.ones(1_000), "b": jnp.ones(10)})
    monkeypatch.setattr(bench, "trees", lambda quick=False: {"pair": tree})
    arguments = ["bench", "--device", "h100", "--problem", "cancer-logistic", "--tree", "pair"]
    arguments += ["--against", "lecture:sgd", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    saved = json.loads((tmp_path / "price.json").read_text())
    assert [one["what"] for one in saved["priced"]] == ["pair", "cancer-logistic"]
    first = saved["priced"][0]["prices"][0]
    assert first["name"] == "lecture:adam"
    launches = sum(kernel["times"] for kernel in first["kernels"])
    assert f"pair: lecture:adam: {launches} launches for " in printed
    assert "predicted for NVIDIA H100" in printed


@needs_libtpu
def test_the_command_is_quiet_and_says_what_holds_on_a_tpu(tmp_path):
    command = [sys.executable, "-m", "lecture_opt", "bench", "--device", "v5e"]
    command += ["--tree", "leaves-400", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "40 kernels" in done.stdout
    assert "Nothing has been measured on a TPU." in " ".join(done.stdout.split())
    for wrong in ("GPU", "launch", "from Python", "host"):
        assert wrong not in done.stdout.replace("for the host", "")


@pytest.fixture(params=ON_BOTH)
def small(monkeypatch, request):
    """The name of a device with 400 MB."""
    facts = devices.DEVICES[request.param]._replace(memory=400e6)
    monkeypatch.setitem(devices.DEVICES, "small", facts)
    monkeypatch.setattr(fits, "VOCABULARY", 64)
    return "small"


def test_the_largest_model_fits_and_the_next_one_does_not(small):
    plain = fits.largest_model(fits.Entry("sgd", lo.sgd(1e-3)), small)
    adam = fits.largest_model(fits.Entry("adam", lo.adam(1e-3)), small)
    half = fits.largest_model(fits.Entry("half", lo.sgd(1e-3), jnp.bfloat16), small)
    cut = fits.largest_model(fits.Entry("cut", lo.adam(1e-3), devices=4), small)
    for fit, numbers in ((plain, 2), (adam, 4)):
        sizes = [
            sum(leaf.size for leaf in jax.tree.leaves(fits.model(fit.size + more)))
            for more in (0, 1)
        ]
        assert fit.parameters == sizes[0]
        assert numbers * 4 * sizes[0] <= fit.price.peak <= 400e6 < numbers * 4 * sizes[1]
    assert half.parameters >= plain.parameters > adam.parameters
    assert (cut.price.state - 4) * 4 == cut.parameters * 8


@pytest.mark.parametrize("small", ON_BOTH[:1], indirect=True)  # a TPU's takes 12 compilations
def test_the_largest_batch_fits_and_a_larger_one_does_not(small):
    task = problems.load("digits-mlp")
    fit = price.largest_batch("adam", lo.adam(1e-3), task, small)
    assert fit.size % 8 == 0
    assert 0.99 * 400e6 < fit.price.peak <= 400e6
    larger = dataclasses.replace(task, batch_size=int(1.25 * fit.size))
    assert price.loop("adam", lo.adam(1e-3), larger, small).peak > 400e6


def test_no_batch_fits_where_the_params_alone_do_not(small, monkeypatch):
    monkeypatch.setitem(devices.DEVICES, small, devices.DEVICES[small]._replace(memory=1e3))
    fit = price.largest_batch("adam", lo.adam(1e-3), problems.load("digits-mlp"), small)
    assert (fit.size, fit.price) == (0, None)


def test_the_command_prints_and_writes_what_fits(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fits, "entries", lambda named, _: [fits.Entry(*e) for e in named.items()])
    arguments = ["--against", "lecture:sgd", "--output", str(tmp_path)]
    monkeypatch.setitem(devices.DEVICES, "t4", devices.DEVICES[small])
    assert cli.main(["bench", "--fits", "t4", *arguments]) == 0
    printed = capsys.readouterr().out
    (found,) = json.loads((tmp_path / "fits.json").read_text())["fits"].values()
    assert [one["name"] for one in found] == ["lecture:adam", "lecture:sgd"]
    for one in found:
        assert f"{one['parameters']:,}" in printed


@pytest.mark.parametrize("needed", [30, 2_000, 10_000_000])
def test_a_batch_is_found_where_the_compiler_only_refuses(needed, monkeypatch):
    """Of a device of 15.75 GiB, each example takes so many bytes, and all a megabyte more."""
    memory = devices.DEVICES["v5e"].memory
    asked = []

    def loop(name, optimizer, sized, device):
        asked.append(sized.batch_size)
        if (peak := 1_000_000 + needed * sized.batch_size) > memory:
            raise MemoryError("RESOURCE_EXHAUSTED")
        return made(peak=peak)

    monkeypatch.setattr(study, "loop", loop)
    fit = price.largest_batch("sgd", optax.sgd(1.0), problems.load("digits-mlp"), "v5e")
    assert 0.98 * memory < fit.price.peak <= memory
    assert len(asked) <= 12


def test_no_batch_fits_where_the_compiler_refuses_each(monkeypatch):
    def loop(*_):
        raise MemoryError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(study, "loop", loop)
    fit = price.largest_batch("sgd", optax.sgd(1.0), problems.load("digits-mlp"), "v5e")
    assert (fit.size, fit.price) == (0, None)


def test_a_model_that_the_compiler_refuses_does_not_fit(monkeypatch):
    def step(name, optimizer, params, device, *, count=1):
        if params["up"].shape[0] > 5:
            raise MemoryError("RESOURCE_EXHAUSTED")
        return made()

    monkeypatch.setattr(study, "step", step)
    assert fits.largest_model(fits.Entry("sgd", optax.sgd(1.0)), "v5e").size == 5


def test_what_is_compared_takes_less_memory_than_adamw():
    params = fits.model(1)
    held = {
        entry.name: numerics.tree_bytes(jax.eval_shape(entry.optimizer.init, params))
        for entry in fits.entries({"mine": optax.sgd(1e-3)}, 4)
        if entry.dtype == jnp.float32
    }
    assert next(iter(held)) == "mine"
    assert "optax:adamw, ZeRO-1 over 4" in held
    assert held["optax:adafactor"] < held["optax:lion"] < held["optax:adamw, bfloat16 mean"]
    assert held["optax.contrib:muon"] < held["optax:adamw"]


def test_a_stream_s_batch_has_no_size_to_find():
    loop = problems.as_loop(problems.load("digits-mlp"))
    train, *others = loop.parts()
    batches = [jax.tree.map(lambda leaf: leaf[:4], train)]
    listed = dataclasses.replace(loop, data=(batches, *others))
    with pytest.raises(ValueError, match="its data are batches already"):
        price.largest_batch("sgd", optax.sgd(1.0), listed, "h100")


def made(**changed):
    kernels = (Kernel("a", 600, 400, 0, 3, (0,)), Kernel("b", 10, 0, 10**12, 1, (0, 1)))
    seconds = study.predicted(kernels, (), 4, devices.DEVICES["h100"])
    price = Price("adam", kernels, (), 4, 80, 3_000, 0, 5_000, {"b": ["x", "y"]}, seconds)
    return Price(**{**vars(price), **changed})


def test_the_prediction_adds_up():
    seconds = made().seconds
    device = devices.DEVICES["h100"]
    assert seconds.launches == 4 * LAUNCH
    assert seconds.host == 4 * ARRAY
    np.testing.assert_allclose(seconds.bytes, 3_000 / device.bandwidth + 1e12 / device.tensor)
    assert seconds.total == seconds.device + seconds.host
    on_tpu = study.predicted(made().kernels, (), 4, devices.DEVICES["v5e"])
    assert (on_tpu.launches, on_tpu.host, on_tpu.total) == (None, None, None)
    np.testing.assert_allclose(on_tpu.device, 3_000 / 0.819e12 + 1e12 / 197e12)
    exchange = study.predicted((), (Collective("all-reduce", 900, 2),), 0, device)
    np.testing.assert_allclose(exchange.links, 1_800 / device.link)


def test_the_tables_say_predicted_and_the_unit_of_everything():
    priced = Priced("GPU", 1, "tree", "two leaves", (made(),))
    table = tables.prices(priced)
    assert table.row_count == 1
    assert "sent" not in [column.header for column in table.columns]
    assert len(table.columns) == len(tables.COLUMNS)  # the name for what is not sent
    texts = tables.texts(made())
    assert texts[:4] == ["4", "1.8 KB", "1.2 KB", "1.00"]
    first, kernels, shared = tables.sentences(priced)
    assert first.startswith("tree: adam: 4 launches for 3.0 KB. Predicted: 6.00 us of launches for")
    assert kernels == "  kernels: 3 of 600 B + 400 B; 1 of 10 B + 0 B"
    assert shared == "  one kernel (b) serves 2 leaves: x, y"
    twice = made(moved=1_500, collectives=(Collective("all-gather", 5, 2),))
    assert "2.01 times what it must move; 2 all-gather of 10 B in all." in tables.slow(twice)


def test_the_stated_error_is_that_of_the_measurements():
    low, high = min(accuracy.ratios()), max(accuracy.ratios())
    assert f"{low:.2f} to {high:.2f}" in accuracy.sentence()
    assert 0.8 < low < 1 < high < 1.25


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--devices", "2"], "--devices: needs --device or --fits"),
        (["--device", "h100", "--fits", "h100"], "--fits: names its own device"),
        (["--fits", "h100", "--tree", "large"], "--tree: --fits takes a model of its own"),
        (["--device", "h100", "--devices", "0"], "--devices 0: wanted at least 1"),
        (["--device", "h100", "--rounds", "3"], "--rounds: nothing is timed"),
        (["--device", "h100", "--devices", "2", "--problem", "x"], "--devices: prices an optim"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(arguments, says, capsys, tmp_path):
    assert cli.main(["bench", *arguments, "--output", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("h100", "jax-cuda13-plugin", "gpu-price"), ("v5e", "libtpu", "tpu-price")],
)
def test_without_the_extra_one_line_says_so(name, package, extra, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(plugin, "CUDA", ())
    monkeypatch.setattr(plugin, "TPU", "no_such_package")
    monkeypatch.setenv("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
    assert cli.main(["bench", "--device", name, "--output", str(tmp_path / "out")]) == 2
    message = f"needs {package}: pip install 'lecture_opt[{extra}]'"
    assert capsys.readouterr().err == f"lecture-opt bench: error: {message}\n"


def test_an_unknown_device_is_named_before_any_work():
    with pytest.raises(ValueError, match="h300: unknown device; there are t4, a100"):
        price.step("sgd", optax.sgd(1.0), {"w": jnp.ones(2)}, "h300")
