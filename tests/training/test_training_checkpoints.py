"""Runs that are saved, killed, resumed, and folders that are full, foreign or damaged."""

import contextlib
import gc
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import a_run
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo

ocp = pytest.importorskip("orbax.checkpoint")
ROOT = Path(__file__).parents[2]
# What orbax had begun is dropped where reading or writing fails, and collected at some later time.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def leave_nothing_to_collect():
    yield
    gc.collect()


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def steps_in(folder):
    return sorted(int(p.name) for p in Path(folder).iterdir() if p.name.isdigit())


def params_of(folder, step):
    """The saved parameters, read with orbax alone."""
    state = Path(folder, str(step), "state").absolute()
    with ocp.PyTreeCheckpointer() as reader:
        metadata = reader.metadata(state)
        names = getattr(metadata, "item_metadata", metadata).tree  # orbax 0.11.15 gives it bare
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
        return reader.restore(state, restore_args=as_numpy)["params['w']"]


@pytest.fixture(scope="module")
def whole():
    """The run that nobody disturbs."""
    return a_run.run(steps=300)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of steps 100, 150 and 200."""
    a_run.run(lo.Checkpoint(tmp_path, every=50), steps=200)
    return tmp_path


# ---- going on -----------------------------------------------------------------------------


def test_a_saved_run_is_the_run(tmp_path, whole):
    assert_same(a_run.run(tmp_path, steps=300), whole)
    assert_same(a_run.run(tmp_path, steps=300), whole)  # nothing is left to do


def test_a_resumed_run_is_the_whole_run_bit_for_bit(saved, whole):
    assert_same(a_run.run(lo.Checkpoint(saved, every=70), steps=300), whole)


def test_the_latest_and_the_best_are_kept(tmp_path):
    a_run.run(lo.Checkpoint(tmp_path, every=100, keep=2), steps=600)
    assert steps_in(tmp_path) == [500, 600]  # the loss falls: the last is the best
    better = lo.Checkpoint(tmp_path / "b", every=100, keep=2, best=lambda v: float(v["norm"]))
    a_run.run(better, steps=600)
    assert steps_in(tmp_path / "b") == [100, 500, 600]  # the norm grows: the first is


def test_not_a_number_is_never_best(tmp_path):
    a_run.run(lo.Checkpoint(tmp_path, every=100, keep=1, best=lambda v: float("nan")), steps=300)
    assert steps_in(tmp_path) == [300]


def test_until_holds_for_a_resumed_run(tmp_path):
    first = a_run.run(tmp_path, steps=300, until=lambda v: v["norm"] > 0)
    again = a_run.run(tmp_path, steps=300, until=lambda v: v["norm"] > 0)
    assert (first.step, first.reached) == (again.step, again.reached) == (100, True)
    assert_same(again, first)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_dtypes_and_odd_names_survive(tmp_path, x64, dtype):
    def run(steps, checkpoint=None):
        params = {"a/b.c": jnp.ones(3, dtype), "'": [jnp.asarray(2.0, dtype)], "n": None}
        return lo.fit(
            lambda p, _: jnp.abs(p["a/b.c"] ** 2).sum().real.astype("float32"),
            params, OPTIMIZER, None, steps=steps, checkpoint=checkpoint,
        )  # fmt: skip

    whole = run(4)
    run(2, tmp_path)
    resumed = run(4, tmp_path)
    assert_same(resumed, whole)
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        assert getattr(ours, "dtype", int) == getattr(theirs, "dtype", int)


OPTIMIZER = lo.momentum(0.01)


def test_steps_beyond_any_integer_of_the_device(tmp_path):
    far = {"start_step": 2**70, "opt_state": a_run.OPTIMIZER.init(a_run.params())}
    whole = a_run.run(steps=20, **far)
    a_run.run(tmp_path, steps=10, **far)
    assert_same(a_run.run(tmp_path, steps=20, **far).losses, whole.losses)


def test_nothing_is_pickled(saved):
    for file in (f for f in saved.rglob("*") if f.is_file()):
        content = file.read_bytes()
        assert b"\x80\x04\x95" not in content
        assert file.suffix not in {".pkl", ".pickle", ".npy"}


# ---- killed -------------------------------------------------------------------------------


def start(folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, a_run.__file__, str(folder)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def writing(folder):
    with contextlib.suppress(FileNotFoundError):
        return any("orbax-checkpoint-tmp" in name for name in os.listdir(folder))
    return False


def kill_at(process, folder, rng):
    """Kill the run at some moment after it began to save; half the time within a write."""
    known = steps_in(folder) if folder.exists() else []
    while process.poll() is None and (not folder.exists() or steps_in(folder) == known):
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.5))
    if rng.random() < 0.5:
        while process.poll() is None and not writing(folder):
            pass
        time.sleep(rng.uniform(0, 0.03))
    within = writing(folder)
    process.kill()
    process.communicate()  # waits, and closes its output
    return within


def survive(tmp_path, kills):
    rng, folder, within, path = random.Random(0), tmp_path / "run", 0, {0: None}
    whole = a_run.run(
        chunk=a_run.EVERY, callback=lambda step, params, _: path.update({step: params["w"]})
    )
    done = 0
    for _ in range(kills):
        process = start(folder)
        within += kill_at(process, folder, rng)
        found = steps_in(folder)
        assert found, "every checkpoint is lost"
        assert found[-1] >= done, "a checkpoint that was there is lost"
        done = found[-1]
        for step in found:
            np.testing.assert_array_equal(params_of(folder, step), path[step])
    assert within, "no kill was within a write"
    output, _ = (process := start(folder)).communicate()
    assert (output, process.returncode) == ("done\n", 0)
    assert_same(a_run.run(folder), whole)


def test_killed_three_times(tmp_path):
    survive(tmp_path, 3)


@pytest.mark.slow
def test_killed_fifty_times(tmp_path):
    survive(tmp_path, 50)


# ---- folders that are wrong ---------------------------------------------------------------


def assert_full(caught, folder):
    """That the error says which checkpoints are whole, and they are."""
    whole = steps_in(folder)
    assert whole
    assert f"The checkpoints of steps {whole} are whole" in str(caught.value)
    for step in whole:
        params_of(folder, step)


def test_a_full_disk(tmp_path):
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", tmp_path], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("needs to be root, to mount a small disk")
    try:
        with pytest.raises(
            OSError, match=r"fit: checkpoint of .*(space|ENOSPC|RESOURCE)"
        ) as caught:
            a_run.run(lo.Checkpoint(tmp_path, every=20, keep=50))
        assert_full(caught, tmp_path)
    finally:
        subprocess.check_call(["umount", tmp_path])


def test_a_file_that_the_system_cuts_short(tmp_path):
    """As on a full disk, by a limit that any user may set: no file beyond 8 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lower(step, params, losses):
        if step == 60:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))

    try:
        with pytest.raises(OSError, match=r"fit: checkpoint of .*(too large|EFBIG)") as caught:
            a_run.run(lo.Checkpoint(tmp_path, every=20), steps=200, chunk=20, callback=lower)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_full(caught, tmp_path)


def test_a_folder_that_can_not_be_written_to(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OSError, match=r"fit: checkpoint: .*file can't be written to"):
        a_run.run(file)
    assert file.read_text() == "mine"


def test_a_read_only_folder(saved):
    if os.geteuid() == 0:
        mount = ["mount", "--bind", "-o", "ro", saved, saved]
        if subprocess.call(mount, stderr=subprocess.DEVNULL):
            pytest.skip("can't mount a read-only folder")
    else:
        saved.chmod(0o500)
    try:
        with pytest.raises(OSError, match="can't be written to: "):
            a_run.run(saved, steps=300)
    finally:
        if os.geteuid() == 0:
            subprocess.check_call(["umount", saved])
        else:
            saved.chmod(0o700)


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files than checkpoints: thesis.tex; wanted"):
        a_run.run(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_foreign_checkpoint(tmp_path):
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(7, args=ocp.args.StandardSave({"w": jnp.ones(2)}))
    with pytest.raises(ValueError, match=r"/7 is damaged, or not a checkpoint of fit; remove it"):
        a_run.run(tmp_path)
    (tmp_path / "9").mkdir()
    with pytest.raises(ValueError, match=r"fit: checkpoint: .* is damaged, or not a checkpoint"):
        a_run.run(tmp_path)


@pytest.mark.parametrize(
    "cut",
    [0.5, pytest.param(0.0, marks=pytest.mark.slow), pytest.param(0.99, marks=pytest.mark.slow)],
)
def test_a_truncated_checkpoint(saved, cut):
    """Whatever file of the latest is cut short: an error, never wrong numbers."""
    last, right = saved / "200", params_of(saved, 200)
    files = sorted(f for f in last.rglob("*") if f.is_file() and f.stat().st_size > 1)
    refused = []
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: int(cut * len(content))])
        try:
            result = a_run.run(saved, steps=200)
        except ValueError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(result.params["w"], right)
        file.write_bytes(content)
    assert len(refused) >= 3
    for text in refused:
        assert "200 is damaged" in text
        assert "remove it to go on from step 150" in text


def test_a_folder_that_can_not_be_opened(saved):
    (saved / "150" / "_CHECKPOINT_METADATA").write_text("[]")
    with pytest.raises(ValueError, match=r"fit: checkpoint: .* can't be opened: \w+Error: "):
        a_run.run(saved, steps=200)


def test_an_earlier_checkpoint_serves_when_the_last_is_removed(saved, whole):
    shutil.rmtree(saved / "200")
    assert_same(a_run.run(saved, steps=300), whole)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 2}, "is of a run with key [0, 1], and this has [0, 2]"),
        (
            {"start_step": 3, "opt_state": a_run.OPTIMIZER.init(a_run.params())},
            "is of a run with start_step 0, and this has 3",
        ),
        ({"steps": 100}, "200 is beyond the last step, 100; ask for more steps"),
    ],
)
def test_a_run_is_not_resumed_as_another(saved, changes, text):
    with pytest.raises(ValueError, match="fit: checkpoint: ") as caught:
        a_run.run(saved, **{"steps": 300} | changes)
    assert text in str(caught.value)


SUMS = jnp.arange(8.0).reshape(4, 2)


def short(folder, optimizer=None, data=SUMS, scale=1.0, steps=4, **changes):
    """A run that takes no time."""
    return lo.fit(
        lambda w, batch: scale * jnp.sum(w**2) + jnp.sum(w * jnp.mean(batch, 0)), jnp.ones(2),
        optimizer or lo.momentum(0.1), data, steps=steps,
        checkpoint=lo.Checkpoint(folder, **changes),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lo.adagrad(0.1), lo.rmsprop(0.1)),
        (lo.momentum(0.1), lo.nesterov(0.1)),
        (lo.adam(0.1), lo.momentum(0.1)),
        (optax.sgd(0.1), optax.chain(optax.clip(1.0), optax.sgd(0.1))),
    ],
)
def test_a_state_of_other_classes_is_another_optimizers(tmp_path, one, other):
    short(tmp_path, one)
    with pytest.raises(ValueError, match=r"/4 is of another optimizer: its state is of \["):
        short(tmp_path, other, steps=8, accept=["step"])


def test_other_params_are_told(tmp_path):
    short(tmp_path)
    with pytest.raises(ValueError, match=r"is of other params or another optimizer: params is"):
        lo.fit(lambda w, b: jnp.sum(w) * jnp.sum(b), jnp.ones(3), lo.momentum(0.1), SUMS, steps=8,
               checkpoint=lo.Checkpoint(tmp_path, accept=["step"]))  # fmt: skip


def injected(learning_rate):
    return optax.inject_hyperparams(optax.sgd)(learning_rate)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ({}, {"optimizer": lo.momentum(0.25)}, "other hyperparameters ("),
        ({"optimizer": lo.adam(b2=0.9)}, {"optimizer": lo.adam(b2=0.8)}, "other hyperparameters ("),
        ({"optimizer": injected(0.5)}, {"optimizer": injected(0.25)}, "(0.5 there, 0.25 here)"),
        ({}, {"scale": 2.0}, "another step: another loss"),
        ({"scale": SUMS[0, 1:]}, {"scale": SUMS[1, 1:]}, "another step: another loss"),
    ],
)
def test_another_step_is_told_and_can_be_accepted(tmp_path, one, other, text):
    one, other = ({"scale": 1.0, "optimizer": lo.momentum(0.1)} | run for run in (one, other))
    for run in (one, other):
        scale = run["scale"]
        run["scale"] = scale if isinstance(scale, float) else scale.reshape(())
    short(tmp_path, **one)
    short(tmp_path, **one, steps=5)
    with pytest.raises(ValueError, match=r"give the arguments .* accept=\['step'\]\)") as caught:
        short(tmp_path, **other, steps=8)
    assert text in str(caught.value)
    assert "other values in data" not in str(caught.value)
    assert short(tmp_path, **other, steps=8, accept=["step"]).step == 8
    assert short(tmp_path, **other, steps=9).step == 9  # what was accepted is saved


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "bfloat16", "float16", "float32", "float64", "complex64"]
)
def test_other_data_is_told_and_can_be_accepted(tmp_path, x64, dtype):
    def run(data, steps, *accept):
        place = lo.Checkpoint(tmp_path, accept=accept)
        w = jnp.ones(2, jnp.float32)
        lo.fit(lambda w, b: jnp.sum(w**2), w, OPTIMIZER, data, steps=steps, checkpoint=place)

    data = (np.arange(8) % 3 == 0).reshape(4, 2).astype(jnp.dtype(dtype))
    run(data, 2)
    run(data.copy(), 3)
    for other in (data[::-1], data[:, ::-1], np.where(np.arange(8).reshape(4, 2) == 7, 1, data)):
        with pytest.raises(ValueError, match=r"is of a run with other values in data; give the"):
            run(other.astype(data.dtype), 4, "step")
    run(data[::-1], 4, "data")


def test_a_best_that_is_no_number_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"fit: checkpoint\.best gives None; wanted a number"):
        lo.fit(lambda p, _: p, 1.0, OPTIMIZER, None, steps=2, eval_fn=float,
               checkpoint=lo.Checkpoint(tmp_path, best=lambda value: None))  # fmt: skip


@pytest.mark.parametrize("accept", ["data", ["optimizer"], 3, {"data": 1, "x": 2}])
def test_what_can_be_accepted_is_told(tmp_path, accept):
    with pytest.raises(ValueError, match=r"checkpoint\.accept is .*; wanted some of \['data', 'st"):
        short(tmp_path, accept=accept)


@pytest.mark.parametrize(
    ("checkpoint", "error", "text"),
    [
        (3, TypeError, "fit: checkpoint is 3; wanted a folder or a Checkpoint"),
        (lo.Checkpoint(None), TypeError, "fit: checkpoint.directory is None; wanted a path"),
        ("", TypeError, "fit: checkpoint.directory is ''; wanted a path"),
        ("gs://bucket/run", ValueError, "fit: checkpoint.directory is 'gs://bucket/run'; wanted a"),
        ("a\0b", ValueError, "fit: checkpoint.directory is 'a\\x00b'; wanted a path"),
        (lo.Checkpoint("x", best="min"), TypeError, "fit: checkpoint.best is 'min'; wanted a func"),
        (
            lo.Checkpoint("x", accept=None),
            ValueError,
            "fit: checkpoint.accept is None; wanted some",
        ),
        (lo.Checkpoint("x", every=0), ValueError, "fit: checkpoint.every is 0; wanted at least 1"),
        (lo.Checkpoint("x", keep=0), ValueError, "fit: checkpoint.keep is 0; wanted at least 1"),
    ],
)
def test_wrong_checkpoint_arguments(checkpoint, error, text):
    with pytest.raises(error) as caught:
        a_run.run(checkpoint)
    assert text in str(caught.value)


def test_best_needs_an_evaluation(tmp_path):
    with pytest.raises(ValueError, match=r"fit: checkpoint\.best is given and eval_fn is not"):
        lo.fit(lambda p, _: p, 1.0, OPTIMIZER, None, steps=1,
               checkpoint=lo.Checkpoint(tmp_path, best=float))  # fmt: skip


def test_evaluations_of_other_shapes_or_kinds_are_refused(tmp_path):
    shapes = iter(range(1, 10))
    for eval_fn in (lambda p: np.zeros(next(shapes)), lambda p: "good"):
        with pytest.raises(TypeError, match="eval_fn must give numbers of the same shapes"):
            lo.fit(lambda p, _: p, 1.0, OPTIMIZER, None, steps=4, eval_fn=eval_fn, eval_every=1,
                   checkpoint=tmp_path)  # fmt: skip


def test_without_orbax(monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"pip install 'lecture_opt\[checkpoint\]'"):
        a_run.run("anywhere")


# ---- folders that are not only checkpoints ------------------------------------------------


@pytest.mark.parametrize("name", [".DS_Store", "lost+found", "Thumbs.db", "@eaDir", "$RECYCLE.BIN"])
def test_what_a_system_puts_into_a_folder_is_no_obstacle(tmp_path, name):
    short(tmp_path)
    (tmp_path / name).mkdir() if name == "lost+found" else (tmp_path / name).touch()
    assert short(tmp_path, steps=8).step == 8


def test_the_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    short("~/run")
    assert (tmp_path / "run" / "4").is_dir()


SPOILED = """
import os, shutil, sys, time
import a_run, lecture_opt as lo

def spoil(step, params, losses):
    if step == 60:
        while not os.path.isdir(folder + "/40"):  # until the last one is written
            time.sleep(0.01)
        shutil.rmtree(folder)
        open(folder, "w").close()

folder = sys.argv[1]
try:
    a_run.run(lo.Checkpoint(folder, every=20), steps=200, chunk=20, callback=spoil)
except OSError as error:
    print(error)
"""


def test_a_folder_that_became_a_file_is_told_and_the_process_ends(tmp_path):
    """The threads that orbax writes on would wait for each other, and the process for them."""
    run = subprocess.run(
        [sys.executable, "-c", SPOILED, tmp_path / "run"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "fit: checkpoint of step " in run.stdout
    assert "could not be written to" in run.stdout
    assert "The checkpoints of steps [] are whole" in run.stdout


@pytest.mark.parametrize("saved", [False, True])
def test_an_interruption_says_what_is_kept(tmp_path, saved):
    def interrupt(step, params, losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        lo.fit(lambda w, b: jnp.sum(w**2) + jnp.sum(b), jnp.ones(2), lo.sgd(), SUMS, steps=4,
               callback=interrupt, checkpoint=tmp_path if saved else None)  # fmt: skip
    told = (
        "goes on from the last checkpoint" if saved else "nothing is kept; with checkpoint=FOLDER"
    )
    assert told in caught.value.__notes__[-1]
