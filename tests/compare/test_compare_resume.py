"""Interrupted at any place, a comparison goes on from there; nobody waits for what still runs."""

import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import optax
import pytest

from lecture_opt import cli, compare, specs
from lecture_opt.compare import results as results_module
from lecture_opt.compare.runs import cell, engine, hosted, store
from lecture_opt.compare.runs import study as study_module
from lecture_opt.compare.show import report

PROTOCOL = compare.Protocol(
    steps=4, evaluations=2, draws=8, seeds=3, tuning_seed_count=2, batch_size=8,
    baseline="mine:mine",
)  # fmt: skip
X = np.linspace(-1, 1, 64, dtype=np.float32)


def square(w, part):
    return ((w - part) ** 2).mean()


TASK = compare.Task("t", lambda key: np.float32(2.0), square, square, (X, X, X))


def from_host(problem):
    """The loop with a step that can't be traced."""
    loop = compare.as_loop(problem)

    def step(state, batch, key):
        state, loss = loop.step(state, batch, key)
        return state, float(loss)

    return dataclasses.replace(loop, step=step)


SPECS = [
    specs.OptimizerSpec(f"mine:{name}", f"mine:{name}", constructor=constructor)
    for name, constructor in {"mine": optax.sgd, "adam": optax.adam}.items()
]


def numbers(study):
    found = results_module.plain(study)
    for one in found["tasks"][0]["cells"]:
        del one["cost"]
    return found


@pytest.mark.parametrize("where", ["together", "host"])
def test_a_cell_goes_on_in_its_middle(where, tmp_path, monkeypatch):
    problem = from_host(TASK) if where == "host" else TASK
    spec, calls = [SPECS[1]], []
    protocol = dataclasses.replace(PROTOCOL, baseline="mine:adam")
    monkeypatch.setattr(store, "LONG", -1.0)
    module, name = (hosted, "_run") if where == "host" else (engine, "_call")
    real = getattr(module, name)

    def counted(*args):
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(module, name, counted)
    undisturbed = numbers(compare.run([problem], spec, protocol))
    total = len(calls)

    def stop(stage, task, name, share):
        if (stage, share) > ("tuned", 0.6) or stage == "reported":
            raise KeyboardInterrupt

    kept = compare.Store(tmp_path / "unfinished")
    with pytest.raises(KeyboardInterrupt):
        compare.run([problem], spec, protocol, store=kept, on_share=stop)
    parts = list(kept.folder.glob("*.tuned~*"))
    assert parts
    assert not list(kept.folder.glob("*.tuned.npz"))
    parts[0].write_bytes(parts[0].read_bytes()[:50])
    calls.clear()
    with pytest.warns(UserWarning, match="is damaged and computed again"):
        study = compare.run([problem], spec, protocol, store=kept)
    assert numbers(study) == undisturbed
    assert len(calls) == total - len(parts) + 1
    assert not list(kept.folder.glob("*~*"))


def absolute(w, part):
    return abs(w - part).mean()


def on_host(metric):
    """The metric, which NumPy takes."""
    return lambda w, part: float(metric(np.asarray(w), part))


def asking(w, part):
    assert np.isfinite(float(part[0]))
    return square(w, part)


EDITS = [
    (TASK, dataclasses.replace(TASK, metric=absolute)),
    (TASK, dataclasses.replace(TASK, higher_is_better=True)),
    *[
        tuple(dataclasses.replace(TASK, metric=on_host(metric)) for metric in (square, absolute)),
        tuple(dataclasses.replace(TASK, metric=metric) for metric in (asking, on_host(absolute))),
    ],
    (from_host(TASK), from_host(dataclasses.replace(TASK, metric=absolute))),
]


@pytest.mark.parametrize(("first", "edited"), EDITS)
def test_an_edited_metric_is_not_found_again(first, edited, tmp_path, monkeypatch):
    kept, asked = compare.Store(tmp_path / "runs"), []
    ledger = compare.Ledger(tmp_path / "judged.json")
    monkeypatch.setattr(ledger, "standings", lambda *given: asked.append(given[0]) or {})
    counts = []
    for problem in (first, first, edited):
        compare.run([problem], SPECS[:1], PROTOCOL, store=kept, ledger=ledger)
        counts.append(len(list(kept.folder.iterdir())))
    assert counts[0] == counts[1] == counts[2] / 2
    assert asked[0] == asked[1] != asked[2]


def test_another_number_of_processes_or_devices_finds_what_was_kept(tmp_path, monkeypatch):
    kept = compare.Store(tmp_path)
    compare.run([TASK], SPECS[:1], PROTOCOL, store=kept)
    known = sorted(tmp_path.iterdir())
    one = study_module.about()
    device = dataclasses.replace(one.device, devices=8, processes=2)
    monkeypatch.setattr(study_module, "about", lambda: dataclasses.replace(one, device=device))
    found = compare.run([TASK], SPECS[:1], PROTOCOL, store=kept)
    assert found.device.devices == 8
    assert sorted(tmp_path.iterdir()) == known


def test_programs_and_data_of_a_study_go_with_it():
    def alive():
        gc.collect()
        return sum(type(one) is cell.Run for one in gc.get_objects())

    before = alive()
    compare.run([TASK], SPECS, PROTOCOL)
    assert alive() <= before


def test_the_share_that_is_done_grows_within_each_stage():
    seen = {}
    compare.run(
        [TASK], SPECS, PROTOCOL,
        on_share=lambda stage, task, name, share: seen.setdefault((stage, name), []).append(share),
    )  # fmt: skip
    assert {("tuned", "mine:adam"), ("reported", "mine:mine")} <= set(seen)
    for shares in seen.values():
        assert shares == sorted(shares)
        assert 0 <= shares[0] < shares[-1] <= 1


def test_an_interrupt_does_not_wait_for_what_runs():
    """The main thread is free while a step, here one of the user's, is at work."""
    go_on, begun = threading.Event(), threading.Event()
    loop = from_host(TASK)

    def step(state, batch, key):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            if not go_on.wait(60):
                raise TimeoutError
        return loop.step(state, batch, key)

    def interrupt():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell starts what runs in the background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            compare.run([dataclasses.replace(loop, step=step)], SPECS, PROTOCOL)
        assert not go_on.is_set()
    finally:
        go_on.set()
        signal.signal(signal.SIGINT, before)


MINE = """
import time, threading
import numpy as np, optax
from lecture_opt import compare
X = np.ones((64, 2), np.float32)
def loss(w, part): return ((w - part) ** 2).mean()
task = compare.Task("t", lambda key: np.zeros(2, np.float32), loss, loss, (X, X, X))
loop = compare.as_loop(task)
def step(state, batch, key):
    state, value = loop.step(state, batch, key)
    if threading.current_thread() is not threading.main_thread():
        print("at work", flush=True)
        time.sleep(600)
    return state, float(value)
import dataclasses
import json
slow = dataclasses.replace(loop, step=step)
"""


@pytest.mark.slow
def test_an_interrupted_command_ends_while_a_step_is_at_work(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    command = [sys.executable, "-m", "lecture_opt", "compare", "--task", f"{tmp_path}/mine.py:slow"]
    command += ["--optimizer", "optax:sgd", "--output", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "at work\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command with --resume goes on from here" in errors


def test_a_command_killed_while_it_draws_only_draws(tmp_path, monkeypatch, capsys):
    arguments = ["compare", "--steps", "4", "--budget", "3", "--seeds", "3", "--task",
                 "noisy-quadratic", "--optimizer", "optax:adam", "--optimizer", "optax:sgd",
                 "--output", str(tmp_path), "--resume"]  # fmt: skip

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(report, "write", stop)
        assert cli.main(arguments) == 130
    first = (tmp_path / "results.json").read_bytes()
    with monkeypatch.context() as context:
        context.setattr(engine, "train", stop)
        assert cli.main(arguments) == 0
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "unfinished").exists()
    before, after = (
        results_module.study(json.loads(text))
        for text in (first, (tmp_path / "results.json").read_bytes())
    )
    assert numbers(before) | {"protocol": None} == numbers(after) | {"protocol": None}
    assert "Written: " in capsys.readouterr().out
