"""The command: tables, verdicts and the results file; what makes no sense is refused first."""

import argparse
import json
import re
from dataclasses import fields, replace

import jax
import numpy as np
import pytest

from lecture_opt import cli, compare, specs
from lecture_opt.cli import compare as command
from lecture_opt.cli import compare_options
from lecture_opt.compare import expectations
from lecture_opt.compare import results as results_module
from lecture_opt.compare.results.types import Costs
from lecture_opt.compare.runs import study
from lecture_opt.compare.show import terminal

FAST = ["--quick", "--steps", "20", "--budget", "3", "--task", "cancer-logistic"]
PAIR = ["--optimizer", "lecture:adam", "--optimizer", "optax:adam"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One comparison, by the command: the folder, and what was printed."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("compare")
    (folder / "mine.py").write_text(MINE)
    shown = io.StringIO()
    arguments = [*FAST, *PAIR, "--optimizer", f"{folder}/mine.py:worse", "--output", str(folder)]
    with contextlib.redirect_stdout(shown):
        assert cli.main(["compare", *arguments, "--task", "noisy-quadratic"]) == 0
    return folder, shown.getvalue()


MINE = """
import optax
def worse(learning_rate): return optax.sgd(learning_rate * 1e-6)
ready = optax.adam(0.1)
def broken(learning_rate): raise RuntimeError("not today")
"""


@pytest.fixture(scope="module")
def results(ran):
    return json.loads((ran[0] / "results.json").read_text())


def test_tables_and_verdicts_are_printed(ran):
    shown = ran[1]
    for part in ("lecture:adam", "mine.py:worse", "cancer-logistic: test accuracy", "Target: "):
        assert part in shown
    assert re.search(r"noisy-quadratic: mine.py:worse is worse than optax:adam by [\d.]+", shown)
    assert "Against optax:adam, equivalent on 2 of 2 tasks: lecture:adam." in shown


def test_all_is_written_and_the_runs_are_kept(ran):
    names = {path.name for path in ran[0].iterdir()}
    assert set(command.WRITTEN) <= names
    assert list((ran[0] / "runs").glob("*.npz"))
    assert not any(name.startswith(".") for name in names)


def test_an_optimizer_against_itself_under_another_name_is_not_told_apart(results):
    for task in results["tasks"]:
        cell = next(c for c in task["cells"] if c["optimizer"] == "lecture:adam")
        assert cell["gain"]["verdict"] == "equivalent"
        assert cell["gain"]["p_holm"] > 0.05


def test_the_results_say_how_they_came(results):
    assert results["format"] == compare.results.FORMAT
    assert set(results["versions"]) >= {"lecture_opt", "jax", "jaxlib", "optax", "numpy", "python"}
    assert results["device"]["platform"] == "cpu"
    protocol = results["protocol"]
    assert protocol["baseline"] == "optax:adam"
    assert not set(protocol["tuning_seeds"]) & set(protocol["reporting_seeds"])
    assert results["optimizers"][0]["search_space"] == {
        "learning_rate": {"kind": "log", "low": 1e-4, "high": 10.0, "values": []}
    }


def test_the_lengths_and_the_order_in_the_results_hold_together(results):
    seeds, evaluations = len(results["protocol"]["reporting_seeds"]), 20
    for task in results["tasks"]:
        assert task["steps"] == list(range(1, 21))
        ranks = [cell["rank"] for cell in task["cells"]]
        assert ranks == sorted(ranks)
        for cell in task["cells"]:
            assert len(cell["test"]["values"]) == seeds
            assert np.shape(cell["loss"]["runs"]) == (seeds, evaluations)
            assert np.shape(cell["validation"]["median"]) == (evaluations,)
            assert np.shape(cell["tuning"]["validation"]["runs"]) == (5, 3)
            assert cell["tuning"]["draws"]["learning_rate"] == sorted(
                cell["tuning"]["draws"]["learning_rate"]
            )
            assert (
                cell["hyperparameters"]["learning_rate"]
                in (cell["tuning"]["draws"]["learning_rate"])
            )
            assert cell["test"]["low"] <= cell["test"]["mean"] <= cell["test"]["high"]
            assert set(cell["cost"]) == {field.name for field in fields(Costs)}
    adam = results["tasks"][0]["cells"][0]
    assert adam["cost"]["state_bytes"] >= 2 * adam["cost"]["parameter_bytes"] - 8


def test_the_gain_is_the_paired_difference_with_its_direction(results):
    for task in results["tasks"]:
        by_name = {cell["optimizer"]: cell for cell in task["cells"]}
        worse, adam = (
            np.array(by_name[n]["test"]["values"]) for n in ("mine.py:worse", "optax:adam")
        )
        sign = 1 if task["higher_is_better"] else -1
        # Each value was written in the shortest decimals that give its float32 back.
        largest = np.float32(max(np.abs(worse).max(), np.abs(adam).max()))
        np.testing.assert_allclose(
            by_name["mine.py:worse"]["gain"]["values"],
            sign * (worse - adam),
            rtol=0,
            atol=np.spacing(largest),
        )
        assert by_name["optax:adam"]["gain"] is None


def test_profiles_and_ranks_cover_all(results):
    profiles, ranks = results["overall"]["profiles"], results["overall"]["ranks"]
    assert set(profiles["shares"]) == set(ranks["mean"])
    assert profiles["ratio"][0] == 1
    assert all(len(share) == len(profiles["ratio"]) for share in profiles["shares"].values())
    assert sum(ranks["mean"].values()) == pytest.approx(1 + 2 + 3)


def test_a_diverged_run_counts_as_untrained_and_is_said(ran):
    protocol = compare.Protocol(
        steps=20, evaluations=2, draws=2, seeds=2, tuning_seed_count=1,
        baseline="optax:sgd", rates=specs.Range("log", 1e20, 1e30),
    )  # fmt: skip
    found = compare.run(
        compare.load_tasks(["noisy-quadratic"]), [specs.parse("optax:sgd")], protocol
    )
    task = found.tasks[0]
    cell = task.cells[0]
    assert cell.diverged == results_module.Diverged(tuning=1.0, reporting=2)
    assert cell.test.mean == pytest.approx(task.untrained["test"])
    assert cell.steps_to_target.reached in (0, 2)
    assert np.isnan(cell.loss.median[-1])
    assert np.isnan(cell.working_range.decades)
    assert any("2 of the reported runs diverged" in text for text in task.warnings)
    json.dumps(results_module.plain(found), allow_nan=False)
    assert terminal.sentences(task, found.protocol)


def test_too_few_seeds_to_show_anything_is_said():
    protocol = compare.Protocol(steps=20, evaluations=2, draws=3, seeds=3, tuning_seed_count=1)
    optimizers = [specs.parse("optax:adam"), specs.parse("optax:sgd")]
    found = compare.run(compare.load_tasks(["noisy-quadratic"]), optimizers, protocol)
    assert found.verdicts[0].startswith("3 seeds can show no difference")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "mnist"], "there are digits-mlp"),
        (["--task", "no/such/file.py:task"], "there is no file"),
        (["--steps", "0"], "--steps 0: wanted at least 1"),
        (["--seeds", "1"], "--seeds 1: wanted at least 2"),
        (["--budget", "0"], "--budget 0: wanted at least 1"),
        (["--rates", "1", "0.1"], "0 < LOW < HIGH"),
        (["--optimizer", "optax:adaam"], "did you mean"),
        (["--optimizer", "optax:adam", "--optimizer", "optax:adam"], "given twice"),
        (["--optimizer", "optax:lbfgs"], "can't train"),
        (["--optimizer", "optax:sgd(learning_rate=0.1)"], "leave it out"),
        (["--optimizer", "optax:adam(b1=log(0, 1))"], "0 < low < high"),
        (
            ["--tune", "weight_decay", "--optimizer", "optax:adam"],
            "none of the optimizers takes it",
        ),
        (["--schedule", "cosine"], "wanted one of warmup_cosine"),
        (["--evaluations", "0"], "--evaluations 0: wanted at least 1"),
        (["--optimizer", "MINE:ready"], "needs a constructor that takes"),
        (["--optimizer", "MINE:broken"], "not today"),
        (["--baseline", "optax:lion"], "takes no part"),
        (["--target", "1.5"], "between 0 and 1"),
        (["--target", "nan"], "finite"),
        (["--target", "0.5", "--task", "diabetes-mlp"], "give --task"),
        (["--output", "/proc/none"], "--output: /proc/none can't be written to"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, says, capsys, monkeypatch, ran):
    monkeypatch.chdir(ran[0])
    monkeypatch.setattr(study, "_measure", None)  # nothing may be trained
    arguments = [text.replace("MINE", "mine.py") for text in arguments]
    assert cli.main(["compare", "--task", "cancer-logistic", *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1


def test_a_task_whose_loss_is_no_scalar_is_refused():
    vector = compare.Task(
        "vector",
        lambda key: np.ones(3, np.float32),
        lambda params, part: params * part.mean(),
        lambda params, part: params.sum(),
        (np.ones(40, np.float32),) * 3,
    )
    with pytest.raises(ValueError, match="wanted a scalar"):
        compare.run([vector], [specs.parse("optax:adam")], compare.Protocol())
    with pytest.raises(ValueError, match=r"batch_size=64 exceeds the 40"):
        compare.run([vector], [specs.parse("optax:adam")], compare.Protocol(batch_size=64))


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 0},
        {"evaluations": 0},
        {"batch_size": 0},
        {"draws": 0},
        {"tuning_seed_count": 0},
        {"seeds": 1},
        {"level": 1.0},
        {"target": float("inf")},
    ],
)
def test_a_protocol_without_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="Protocol: "):
        compare.Protocol(**arguments)


def test_other_hyperparameters_are_tuned_with_the_same_budget():
    protocol = compare.Protocol(steps=20, evaluations=2, draws=4, seeds=2, tuning_seed_count=1)
    optimizers = [specs.parse("optax:adam"), specs.parse("optax:adam(b1=uniform(0.5, 0.9))")]
    found = compare.run(compare.load_tasks(["noisy-quadratic"]), optimizers, protocol)
    cells = {cell.optimizer: cell for cell in found.tasks[0].cells}
    searched = cells["optax:adam(b1=uniform(0.5, 0.9))"]
    assert list(searched.hyperparameters) == ["learning_rate", "b1"]
    assert 0.5 <= searched.hyperparameters["b1"] <= 0.9
    assert np.isnan(searched.working_range.decades)
    assert all(len(c.budget.draws) == 4 for c in cells.values())


def test_a_killed_comparison_goes_on_where_it_stopped(tmp_path):
    protocol = compare.Protocol(steps=20, evaluations=2, draws=3, seeds=2, tuning_seed_count=1)
    task = compare.load_tasks(["noisy-quadratic"])
    optimizers = [specs.parse("optax:adam"), specs.parse("optax:sgd")]

    def numbers(store, on_stage=lambda *_: None):
        study = compare.run(task, optimizers, protocol, store=store, on_stage=on_stage)
        found = results_module.plain(study)
        for cell in found["tasks"][0]["cells"]:
            del cell["cost"]
        return found

    def stop(stage, *_):
        if stage == "reported":
            raise KeyboardInterrupt

    store = compare.Store(tmp_path / "unfinished")
    with pytest.raises(KeyboardInterrupt):
        numbers(store, stop)
    kept = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert any("reported" in path.name for path in kept)
    assert numbers(store) == numbers(compare.Store(None))
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    store.remove()
    assert not store.folder.exists()


def test_the_progress_is_of_every_stage(ran):
    seen = []
    protocol = compare.Protocol(steps=20, evaluations=2, draws=2, seeds=2, tuning_seed_count=1)
    with jax.numpy_dtype_promotion("standard"):
        compare.run(
            compare.load_tasks(["noisy-quadratic"]),
            [specs.parse("optax:adam")],
            protocol,
            on_stage=lambda *stage: seen.append(stage),
        )
    assert seen == [
        ("checked", "", ""),
        ("tuned", "noisy-quadratic", "optax:adam"),
        ("reported", "noisy-quadratic", "optax:adam"),
    ]


def test_the_details_say_seconds_to_the_target_and_what_a_wrong_rate_costs(ran):
    study = compare.read(ran[0] / "results.json")
    for task in study.tasks:
        for cell in task.cells:
            time, steps = cell.cost.seconds_to_target, cell.steps_to_target
            np.testing.assert_allclose(
                [time.median, time.low, time.high],
                np.array([steps.median, steps.low, steps.high]) * cell.cost.step_seconds,
                rtol=1e-6,
            )
            runs, rates = cell.tuning.validation.runs, cell.tuning.draws["learning_rate"]
            # The three rates are 1e-4, 0.03 and 10, so a tenfold one lies between two of them.
            if cell.hyperparameters["learning_rate"] == rates[1] and not np.isnan(runs).any():
                sign = -1 if task.higher_is_better else 1
                share = 1 / np.log10(rates[2] / rates[1])
                there = (1 - share) * runs[:, 1].mean() + share * runs[:, 2].mean()
                want = sign * (there - cell.validation.runs[:, -1].mean())
                assert cell.wrong_rate.tenfold.mean == pytest.approx(want, rel=1e-5)


def asked(*options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return compare_options.chosen(parser.parse_args(options))


def test_a_suite_says_what_is_compared_and_with_which_budget():
    tasks, optimizers, protocol = asked("--suite", "modern")
    assert [task.name for task in tasks] == list(compare.SUITES["modern"].tasks)
    assert {spec.text for spec in optimizers} >= {"optax:adamw", "optax:contrib.muon"}
    assert (protocol.draws, protocol.seeds, protocol.tuning_seed_count) == (7, 10, 2)
    assert protocol.schedule == "warmup_cosine(0.05)"
    assert protocol.baseline == "optax:adamw"
    tasks, optimizers, protocol = asked()
    assert [spec.text for spec in optimizers] == list(compare.DEFAULT_OPTIMIZERS)
    assert (protocol.draws, protocol.seeds, protocol.tuning_seed_count) == (16, 10, 10)
    assert protocol.schedule is None


def test_what_is_given_goes_before_what_the_suite_says():
    given = ["--task", "text-glove", "--optimizer", "optax:lion", "--seeds", "3", "--budget", "2"]
    tasks, optimizers, protocol = asked("--suite", "modern", *given, "--rates", "1e-3", "1")
    assert [task.name for task in tasks] == ["text-glove"]
    assert [spec.text for spec in optimizers] == ["optax:lion"]
    assert (protocol.draws, protocol.seeds, protocol.rates.low) == (2, 3, 1e-3)


@pytest.mark.parametrize("given", [["--suite", "lecture"], ["--suite", "modern"], ["--quick"]])
def test_further_looks_are_those_that_resume_takes_with_more_seeds(given):
    given = [*given, "--task", "noisy-quadratic", "--optimizer", "optax:adamw"]
    first, later = (asked(*given, "--seeds", seeds)[2] for seeds in ("10", "20"))
    assert expectations.extended(first, 20) == replace(later, planned=10)


def test_scales_are_sizes_of_the_same_tasks():
    tasks, _, _ = asked("--task", "text-glove", "--scale", "1, 4")
    assert [task.name for task in tasks] == ["text-glove", "text-glove-x4"]
    assert tasks[1].batch_size == 2 * tasks[0].batch_size
    for wrong in ("0", "1.5", "big", "1,,4"):
        with pytest.raises(SystemExit):
            asked("--scale", wrong)


def test_the_target_that_a_task_says_is_what_steps_are_counted_to():
    task = replace(compare.load_tasks(["noisy-quadratic"])[0], target=3.25)
    protocol = compare.Protocol(
        steps=20, evaluations=2, draws=2, seeds=2, tuning_seed_count=1, baseline="optax:sgd"
    )
    found = compare.run([task], [specs.parse("optax:sgd")], protocol).tasks[0].target
    assert (found.value, found.source) == (3.25, "the task")
    with pytest.raises(ValueError, match="target=nan; wanted a finite metric"):
        replace(task, target=float("nan"))


def test_what_tune_names_is_searched_for_those_that_take_it(tmp_path):
    names = ["optax:adamw", "optax:adamw(b1=0.8)", "optax:sgd", "lecture:adam"]
    arguments = [text for name in names for text in ("--optimizer", name)]
    arguments += ["--tune", "weight_decay", "--tune", "b1", "--steps", "4", "--budget", "4"]
    arguments += ["--seeds", "2", "--task", "noisy-quadratic", "--output", str(tmp_path)]
    assert cli.main(["compare", *arguments]) == 0
    found = compare.read(tmp_path / "results.json")
    searched = {one.name: list(one.search_space) for one in found.optimizers}
    assert searched == {
        "optax:adamw": ["learning_rate", "weight_decay", "b1"],
        "optax:adamw(b1=0.8)": ["learning_rate", "weight_decay"],
        "optax:sgd": ["learning_rate"],
        "lecture:adam": ["learning_rate", "b1"],
    }
    for cell in found.tasks[0].cells:
        assert list(cell.hyperparameters) == searched[cell.optimizer]
        assert all(len(np.unique(values)) == 4 for values in cell.tuning.draws.values())
