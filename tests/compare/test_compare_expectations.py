"""What may be expected of a study, what a folder remembers, and how often an assertion errs."""

from dataclasses import replace

import numpy as np
import pytest

from lecture_opt import cli, compare
from lecture_opt.compare import expectations
from lecture_opt.compare.results import Facts, gains
from lecture_opt.compare.results.types import Margin

FACTS = Facts("t", "", "loss", False, {}, 1, {}, "", True, 32, np.array([1]), None, ())
MINE = """
import optax
def worse(learning_rate): return optax.sgd(learning_rate * 1e-6)
def same(learning_rate): return optax.adam(learning_rate)
"""
SMALL = compare.Protocol(steps=20, evaluations=2, draws=3, seeds=10, tuning_seed_count=3)


def simulated(rng, regression, seeds=10, noise=0.02):
    """The gain of an optimizer whose loss is that much larger, paired with the baseline by seed."""
    base = 1 + noise * rng.normal(size=seeds)
    mine = base + noise * rng.normal(size=seeds) + regression
    sides = [gains.Side(x, np.array([x.mean()]), np.zeros(400, int)) for x in (mine, base)]
    protocol = compare.Protocol(baseline="b", seeds=seeds)
    return gains.gains(["a", "b"], sides, Margin(0.05, "given"), FACTS, protocol)[0]


def failures(regression, studies):
    """The share of studies in which an optimizer with this regression is called worse."""
    rng = np.random.default_rng(0)
    gains_ = [simulated(rng, regression) for _ in range(studies)]
    found = [expectations.holds(gain, "not worse", 0.05) for gain in gains_]
    return np.mean([held is False for held in found])


def test_an_unchanged_optimizer_fails_at_most_at_the_stated_rate():
    assert failures(0.0, 1000) <= 0.05


def test_a_regression_of_the_size_of_the_margin_is_found():
    assert failures(0.05, 200) >= 0.8


def test_what_is_neither_shown_nor_refuted_is_undecided():
    gain = simulated(np.random.default_rng(2), 0.0, noise=0.5)
    assert gain.verdict == "undecided"
    assert expectations.holds(gain, "not worse", 0.05) is None
    assert expectations.holds(gain, "better", 0.05) is None
    sure = replace(gain, verdict="equivalent")
    assert expectations.holds(sure, "not worse", 0.05) is True
    assert expectations.holds(sure, "better", 0.05) is False


@pytest.mark.parametrize("text", ["a", "a as good as b", "better than b"])
def test_an_expectation_that_says_nothing_is_refused(text):
    with pytest.raises(ValueError, match="wanted 'A better than B'"):
        expectations.expectation(text)


@pytest.mark.parametrize("text", ["0", "-1%", "much", "inf"])
def test_a_margin_without_sense_is_refused(text):
    with pytest.raises(ValueError, match="wanted a positive number"):
        expectations.parse_margin(text)


def test_the_command_fails_where_it_is_not_as_expected(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    common = ["compare", "--task", "noisy-quadratic", "--steps", "20", "--budget", "3"]
    for text, status in (
        (f"{path}:worse not worse than optax:adam", 1),
        (f"optax:adam better than {path}:worse", 0),
        (f"{path}:same not worse than optax:adam", 0),
    ):
        assert cli.main([*common, "--expect", text, "--output", str(tmp_path / "o")]) == status
    capsys.readouterr()
    assert cli.main([*common, "--expect", "optax:lion better", "--output", str(tmp_path)]) == 2
    assert "wanted 'A better than B'" in capsys.readouterr().err


def test_the_assertion_names_what_got_worse(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    pair = ("optax:adam", "noisy-quadratic")
    assert compare.assert_not_worse(f"{path}:same", *pair, margin="5%", protocol=SMALL).tasks
    with pytest.raises(AssertionError, match=r"mine\.py:worse is worse than optax:adam by"):
        compare.assert_not_worse(f"{path}:worse", *pair, margin="5%", protocol=SMALL)


@pytest.mark.parametrize(("tuning", "then"), [(2, 2), (10, 20), (30, 30)])
def test_more_seeds_tune_only_where_as_many_did(tuning, then):
    protocol = compare.Protocol(seeds=10, tuning_seed_count=tuning)
    look = expectations.extended(protocol, 20)
    assert (look.seeds, look.planned, look.tuning_seed_count) == (20, 10, then)


def test_seeds_are_added_until_it_is_clear(tmp_path):
    arguments = ["--task", "noisy-quadratic", "--steps", "20", "--budget", "3", "--seeds", "3"]
    pair = ["--optimizer", "optax:adam", "--optimizer", "optax:lion"]
    more = ["--until", "clear", "--max-seeds", "6", "--output", str(tmp_path)]
    assert cli.main(["compare", *arguments, *pair, *more]) == 0
    study = compare.read(tmp_path / "results.json")
    undecided = not expectations.is_clear(study)
    assert study.protocol.planned in (None, 3)
    assert study.protocol.seeds == 6 if undecided else study.protocol.seeds <= 6
