"""Studies that fit are one; those that do not are refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest

from lecture_opt import cli, compare, specs

PROTOCOL = compare.Protocol(steps=20, evaluations=2, draws=6, seeds=4, tuning_seed_count=3)


def studied(*names, protocol=PROTOCOL, tasks=("noisy-quadratic",)):
    optimizers = [specs.parse(name) for name in ("optax:adam", *names)]
    return compare.run(compare.load_tasks(list(tasks)), optimizers, protocol)


@pytest.fixture(scope="module")
def parts():
    return studied("optax:sgd"), studied("optax:lion"), studied("optax:sgd", "optax:lion")


def test_other_optimizers_merge_to_what_one_study_gives(parts):
    first, second, whole = parts
    merged = compare.merge([first, second])
    assert merged.protocol == whole.protocol
    for mine, theirs in zip(merged.tasks[0].cells, whole.tasks[0].cells, strict=True):
        assert (mine.optimizer, mine.rank) == (theirs.optimizer, theirs.rank)
        assert mine.hyperparameters == theirs.hyperparameters
        if theirs.gain is not None:
            assert mine.gain.verdict == theirs.gain.verdict
            np.testing.assert_allclose(
                [mine.gain.mean, mine.gain.error, mine.gain.p_holm],
                [theirs.gain.mean, theirs.gain.error, theirs.gain.p_holm],
                rtol=1e-4,
            )
        np.testing.assert_array_equal(mine.budget.draws, theirs.budget.draws)


def test_what_does_not_fit_is_refused_with_the_reason(parts):
    first, second, _ = parts
    with pytest.raises(ValueError, match="draws is 6 in one and 7 in another"):
        compare.merge([first, replace(second, protocol=replace(PROTOCOL, draws=7))])
    with pytest.raises(ValueError, match="optax:lion, optax:sgd did not run with all seeds"):
        compare.merge([first, replace(second, protocol=replace(PROTOCOL, first_seed=5))])
    with pytest.raises(ValueError, match="seed 3 is in two of the studies"):
        compare.merge([first, replace(first, protocol=replace(PROTOCOL, first_seed=3))])
    cells = [replace(c, candidates=c.candidates[:1]) for c in first.tasks[0].cells]
    moved = [replace(c.candidates[0], hyperparameters={"learning_rate": 7.0}) for c in cells]
    cells = [replace(c, candidates=[m]) for c, m in zip(cells, moved, strict=True)]
    tuned = replace(first, tasks=[replace(first.tasks[0], cells=cells)])
    with pytest.raises(ValueError, match=r"is tuned to .*7\.0"):
        compare.merge([first, replace(tuned, protocol=replace(PROTOCOL, first_seed=5))])
    task = second.tasks[0]
    with pytest.raises(ValueError, match="has other data"):
        compare.merge([first, replace(second, tasks=[replace(task, fingerprint="other")])])
    with pytest.raises(ValueError, match="has other steps or batches"):
        compare.merge([first, replace(second, tasks=[replace(task, batch_size=7)])])
    other = [replace(c, test=replace(c.test, values=c.test.values + 1)) for c in task.cells]
    with pytest.raises(ValueError, match="gave other numbers on noisy-quadratic"):
        compare.merge([first, replace(second, tasks=[replace(task, cells=other)])])
    with pytest.raises(ValueError, match=r"optax:lion did not train noisy-quadratic"):
        compare.merge([first, replace(second, tasks=[replace(task, name="elsewhere")])])


def test_other_seeds_merge_to_what_one_study_of_all_gives(parts):
    later = replace(PROTOCOL, first_seed=4, seeds=3)
    merged = compare.merge([studied("optax:sgd", protocol=later), parts[0]])
    whole = studied("optax:sgd", protocol=replace(PROTOCOL, seeds=7, planned=4))
    assert merged.protocol.reporting_seeds == whole.protocol.reporting_seeds
    assert [c.gain.planned for c in merged.tasks[0].cells if c.gain] == [4]
    for mine, theirs in zip(merged.tasks[0].cells, whole.tasks[0].cells, strict=True):
        assert (mine.optimizer, mine.rank) == (theirs.optimizer, theirs.rank)
        np.testing.assert_allclose(mine.test.values, theirs.test.values, rtol=1e-5)
        np.testing.assert_allclose(mine.loss.runs, theirs.loss.runs, rtol=1e-4)
        if theirs.gain is not None:
            np.testing.assert_allclose(
                [mine.gain.mean, mine.gain.error, mine.gain.p],
                [theirs.gain.mean, theirs.gain.error, theirs.gain.p],
                rtol=1e-3,
            )
    again = compare.merge([merged, studied("optax:sgd", protocol=replace(later, first_seed=90))])
    assert again.protocol.ranges == ((0, 4), (4, 3), (90, 3))
    assert len(again.tasks[0].cells[0].test.values) == 10


def test_the_command_merges_folders(parts, tmp_path, capsys):
    for name, study in zip("ab", parts, strict=False):
        (tmp_path / name).mkdir()
        compare.write(study, tmp_path / name / "results.json")
    folders = [str(tmp_path / name) for name in "ab"]
    assert cli.main(["merge", *folders, "--output", str(tmp_path / "c")]) == 0
    assert "optax:lion" in capsys.readouterr().out
    assert len(compare.read(tmp_path / "c" / "results.json").optimizers) == 3
    (tmp_path / "b" / "results.json").write_text("{}")
    assert cli.main(["merge", *folders, "--output", str(tmp_path / "d")]) == 2
    assert "wanted 4" in capsys.readouterr().err
