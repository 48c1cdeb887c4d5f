"""An optimizer that raises is a row that says why; the others finish."""

import contextlib
import csv
import dataclasses
import json

import jax
import numpy as np
import optax
import pytest

from lecture_opt import cli, compare, specs
from lecture_opt.cli import compare as command
from lecture_opt.cli import kit
from lecture_opt.compare import expectations
from lecture_opt.compare import results as results_module
from lecture_opt.compare.runs import engine, errors
from lecture_opt.compare.show import long_table, report, terminal
from lecture_opt.compare.show.latex import latex
from lecture_opt.compare.show.rows import rows

PROTOCOL = compare.Protocol(
    steps=4, evaluations=2, draws=2, seeds=2, tuning_seed_count=2, baseline="mine:sgd"
)


def task(name="t"):
    x = np.linspace(-1, 1, 64, dtype=np.float32)

    def loss(w, part):
        return ((w - part) ** 2).mean()

    return compare.Task(name, lambda key: np.float32(2.0), loss, loss, (x, x, x))


def spec_of(name, constructor):
    return specs.OptimizerSpec(f"mine:{name}", f"mine:{name}", constructor=constructor)


def at_look(learning_rate):
    def update(grads, state, params=None):
        raise RuntimeError("not today\nnor tomorrow")

    return optax.GradientTransformation(lambda params: (), update)


def in_callback(learning_rate):
    def broken(x):
        raise ValueError("no disk")

    def update(grads, state, params=None):
        shape = jax.ShapeDtypeStruct((), np.float32)
        return jax.pure_callback(broken, shape, grads, vmap_method="sequential"), state

    return optax.GradientTransformation(lambda params: (), update)


SGD, ADAM = spec_of("sgd", optax.sgd), spec_of("adam", optax.adam)
LOOK, CALLBACK = spec_of("look", at_look), spec_of("callback", in_callback)


@pytest.fixture(scope="module")
def found():
    said = []
    study = compare.run(
        [task()], [SGD, LOOK, ADAM, CALLBACK], PROTOCOL, on_stage=lambda *stage: said.append(stage)
    )
    return study, said


def test_the_others_finish_and_the_reason_is_said_at_once(found):
    study, said = found
    (one,) = study.tasks
    assert {cell.optimizer for cell in one.cells} == {"mine:sgd", "mine:adam"}
    why = {failure.optimizer: failure.why for failure in one.failures}
    assert why["mine:look"].endswith("RuntimeError: not today")
    assert why["mine:callback"] == "ValueError: no disk"
    assert next(stage for stage in said if stage[0].startswith("failed")) == (
        f"failed: {why['mine:look']}", "t", "mine:look",
    )  # fmt: skip
    assert said.index(("checked", "", "")) > 0
    assert [cell.gain is None for cell in sorted(one.cells, key=lambda c: c.optimizer)] == [
        False,
        True,
    ]
    assert "Failed: mine:look on t." in study.verdicts


def test_every_view_shows_the_failure(found, tmp_path):
    study, _ = found
    table = {row["optimizer"].text: row for row in rows(study.tasks[0])}
    assert table["mine:callback"]["verdict"].text == "failed"
    assert table["mine:callback"]["setting"].text == "failed: ValueError: no disk"
    assert "mine:callback failed: ValueError: no disk." in terminal.sentences(
        study.tasks[0], study.protocol
    )
    assert "failed: ValueError: no disk" in latex(study)
    report.write(study, tmp_path)
    assert "failed: ValueError: no disk" in (tmp_path / "report.html").read_text()
    with (tmp_path / "runs.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[-1]["error"] == "ValueError: no disk"
    assert {len(line) for line in lines} == {len(long_table.RUNS)}
    again = results_module.study(json.loads(json.dumps(results_module.plain(study))))
    assert again.tasks[0].failures == tuple(study.tasks[0].failures)


def test_without_its_baseline_a_task_has_no_verdicts_and_says_so():
    baseline = dataclasses.replace(PROTOCOL, baseline="mine:callback")
    study = compare.run([task("a"), task("b")], [SGD, CALLBACK], baseline)
    for one in study.tasks:
        assert [cell.gain for cell in one.cells] == [None]
        assert "Without its baseline, mine:callback, this task has no verdicts." in one.warnings
        assert [row["verdict"].text for row in rows(one)] == ["–", "failed"]
    json.dumps(results_module.plain(study), allow_nan=False)
    assert terminal.sentences(study.tasks[0], study.protocol)


def test_only_who_was_measured_beside_the_baseline_spends_a_set(tmp_path):
    ledger = compare.Ledger(tmp_path / "judged.json")
    lost = dataclasses.replace(PROTOCOL, baseline="mine:callback")
    compare.run([task()], [CALLBACK, ADAM], lost, ledger=ledger)
    compare.run([task()], [SGD, CALLBACK], PROTOCOL, ledger=ledger)
    study = compare.run([task()], [SGD, CALLBACK, ADAM], PROTOCOL, ledger=ledger)
    (gain,) = [cell.gain for cell in study.tasks[0].cells if cell.gain]
    assert (gain.set_number, gain.set_size) == (1, 1)


def test_what_failed_or_has_no_baseline_is_not_as_expected(found, tmp_path):
    study, _ = found
    for word in ("better", "not worse"):
        wanted = expectations.Expectation("mine:callback", word, "mine:sgd")
        said = "t: mine:callback failed: ValueError: no disk."
        assert expectations.unmet(study, [wanted]) == ([said], [])
    (tmp_path / "mine.py").write_text(MINE)
    pair = [f"{tmp_path}/mine.py:{name}" for name in ("broken", "fine")]
    for names, said in (
        (pair, r"^t: mine\.py:broken failed: .*not today"),
        (pair[::-1], r"^t: mine\.py:fine has no verdict, as its baseline, .*not today"),
    ):
        with pytest.raises(AssertionError, match=said):
            compare.assert_not_worse(*names, task(), margin="5%", protocol=PROTOCOL)


def test_a_task_on_which_all_fail_has_no_cells(tmp_path):
    with pytest.raises(ValueError, match="mine:look can't train t: RuntimeError: not today"):
        compare.run([task()], [LOOK], dataclasses.replace(PROTOCOL, baseline="mine:look"))
    alone = dataclasses.replace(PROTOCOL, baseline="mine:callback")
    study = compare.run([task()], [CALLBACK], alone)
    assert not study.tasks[0].cells
    report.write(study, tmp_path)
    assert terminal.target(study.tasks[0]) == "No target: no optimizer ran."
    json.dumps(results_module.plain(study), allow_nan=False)


@pytest.mark.parametrize("stage", ["tuned", "reported"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 3 GB")])
def test_out_of_memory_is_a_failure_at_any_stage(stage, error, monkeypatch):
    real = engine.train

    def train(program, entrant, *args, test_at=None, **options):
        if len(entrant.layout) > 3 and bool(test_at) == (stage == "reported"):
            raise error
        return real(program, entrant, *args, test_at=test_at, **options)

    monkeypatch.setattr(engine, "train", train)
    (one,) = compare.run([task()], [ADAM, SGD], PROTOCOL).tasks
    assert one.failures == [results_module.Failure("mine:adam", errors.reason(error))]
    assert [cell.optimizer for cell in one.cells] == ["mine:sgd"]


@pytest.fixture(scope="module")
def pair():
    return compare.run([task()], [SGD, ADAM], PROTOCOL), compare.run(
        [task()], [SGD, CALLBACK], PROTOCOL
    )


def test_merged_studies_keep_their_failures_and_notes(pair, tmp_path):
    studies = []
    for i, study in enumerate(pair):
        notes = ["of both", f"of study {i}"]
        (one,) = study.tasks
        studies.append(dataclasses.replace(study, tasks=[dataclasses.replace(one, notes=notes)]))
        (tmp_path / str(i)).mkdir()
        compare.write(studies[-1], tmp_path / str(i) / "results.json")
    (one,) = compare.merge(studies).tasks
    assert [f.optimizer for f in one.failures] == ["mine:callback"]
    assert len(one.cells) == 2
    assert one.notes == ["of both", "of study 0", "of study 1"]
    folders = [str(tmp_path / str(i)) for i in range(2)]
    assert cli.main(["merge", *folders, "--output", str(tmp_path / "o")]) == 1


@pytest.mark.parametrize("left", [["mine:adam"], []])
def test_a_study_whose_baseline_failed_takes_the_floor_of_the_other(pair, left):
    study = pair[0]
    (one,) = study.tasks
    lost = dataclasses.replace(
        one,
        cells=[dataclasses.replace(c, gain=None) for c in one.cells if c.optimizer in left],
        fingerprint=one.fingerprint if left else "",
        noise_floor=results_module.types.NoiseFloor(*[np.nan] * 4),
        margin=results_module.types.Margin(np.nan, "none"),
        failures=[
            results_module.Failure(cell.optimizer, "no memory")
            for cell in one.cells
            if cell.optimizer not in left
        ],
    )
    for studies in ([dataclasses.replace(study, tasks=[lost]), study], [study] * 2):
        (merged,) = compare.merge(studies).tasks
        assert merged.noise_floor == one.noise_floor
        assert merged.margin == one.margin
        assert merged.untrained == one.untrained
        assert [cell.gain is None for cell in merged.cells] == [c.gain is None for c in one.cells]


MINE = """
import optax
def fine(learning_rate): return optax.sgd(learning_rate)
def broken(learning_rate): raise RuntimeError("not today")
"""


def test_the_exit_status_says_it(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    names = [f"{tmp_path}/mine.py:{name}" for name in ("fine", "broken")]
    arguments = ["--steps", "4", "--budget", "2", "--seeds", "2", "--task", "cancer-logistic"]
    arguments += ["--expect", " not worse than ".join(names)]
    assert cli.main(["compare", *arguments, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "mine.py:broken on cancer-logistic failed: " in said.err
    assert "failed: " in said.out
    assert "not today" in said.out
    assert "Not as expected: cancer-logistic: mine.py:fine has no verdict, as its" in said.out


def test_the_bar_reaches_its_end_past_failures(monkeypatch):
    shown = []
    monkeypatch.setattr(
        kit, "progress", lambda: contextlib.nullcontext(lambda *given: shown.append(given[1:]))
    )
    with command._progress(4) as (on_stage, on_share):
        on_stage("failed: at once", "t", "a")
        on_stage("checked", "", "")
        on_share("tuned", "t", "b", 0.5)
        on_stage("failed: in its middle", "t", "b")
        on_stage("tuned", "t", "c")
        on_stage("reported", "t", "c")
        on_stage("failed: the twin", "t", "c")
        on_stage("tuned", "t", "d")
        on_stage("reported", "t", "d")
    assert shown == [(2, 8), (2.5, 8), (5, 8), (6, 8), (7, 8), (8, 8)]


def test_an_optimizer_that_asks_for_values_runs_from_the_host_and_is_said():
    def asking(learning_rate):
        def update(grads, state, params=None):
            assert np.isfinite(float(grads))
            return -learning_rate * grads, state

        return optax.GradientTransformation(lambda params: (), update)

    study = compare.run([task()], [SGD, spec_of("asking", asking)], PROTOCOL)
    (one,) = study.tasks
    assert not one.failures
    cells = {cell.optimizer: cell for cell in one.cells}
    np.testing.assert_allclose(
        cells["mine:asking"].test.values, cells["mine:sgd"].test.values, rtol=1e-5
    )
    assert one.notes[0].startswith("mine:asking: its runs go step by step from the host, as it")
    assert len(one.notes[0].splitlines()) == 1
    assert cells["mine:asking"].cost.state_bytes == 0
