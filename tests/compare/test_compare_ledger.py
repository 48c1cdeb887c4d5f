"""A folder remembers whom it judged; all verdicts together keep the error rate."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import sample_results
from scipy import stats

from lecture_opt import compare, specs
from lecture_opt.compare.results import Facts, Standing, gains, verdicts
from lecture_opt.compare.results.types import Margin, Overall
from lecture_opt.compare.runs import processes

PROTOCOL = compare.Protocol(seeds=10)
FACTS = Facts("t", "", "loss", False, {}, 1, {}, "", True, 32, np.array([1]), None, ())


@pytest.fixture
def stand(tmp_path):
    """Where candidates stand, asked of the file anew each time."""

    def ask(candidates, protocol=PROTOCOL, question="q"):
        named = candidates if isinstance(candidates, dict) else {c: c for c in candidates}
        ledger = compare.Ledger(tmp_path / "judged.json")
        return ledger.standings(question, named, protocol)

    return ask


def test_who_comes_again_stays_in_the_first_set(stand):
    first = {"a": Standing(1, 2, 10), "b": Standing(1, 2, 10)}
    assert stand("ab") == first
    assert stand("ab") == first
    assert stand("b") == {"b": Standing(1, 2, 10)}
    assert stand("ab", replace(PROTOCOL, seeds=30)) == first
    assert stand({"renamed": "a"}) == {"renamed": Standing(1, 2, 10)}


def test_who_is_new_is_in_a_set_of_its_own(stand):
    stand("ab")
    assert stand("abc", replace(PROTOCOL, seeds=20)) == {
        "a": Standing(1, 2, 10), "b": Standing(1, 2, 10), "c": Standing(2, 1, 20)
    }  # fmt: skip
    assert stand({"a": "a, edited"}) == {"a": Standing(3, 1, 10)}
    assert stand("a", replace(PROTOCOL, first_seed=50)) == {"a": Standing(4, 1, 10)}


def test_another_question_has_its_own_sets(stand):
    stand("ab")
    assert stand("c", question="other task") == {"c": Standing(1, 1, 10)}
    assert stand("c", replace(PROTOCOL, draws=8)) == {"c": Standing(1, 1, 10)}


def test_a_ledger_that_cannot_be_read_is_not_forgotten(tmp_path):
    (tmp_path / "judged.json").write_text("[")
    with pytest.raises(ValueError, match="not a ledger"):
        compare.Ledger(tmp_path / "judged.json")


def test_all_sets_of_candidates_together_keep_the_rate():
    rates = [PROTOCOL.error_rate(j) for j in range(1, 1000)]
    assert sum(rates) <= 0.05
    assert rates == sorted(rates, reverse=True)


def judged(values, standings):
    """The verdicts on candidates whose differences from the baseline these are, one a row."""
    names = ["b", *map(str, range(len(values)))]
    sides = [
        gains.Side(x, np.array([x.mean()]), np.zeros(400, int)) for x in [0 * values[0], *values]
    ]
    protocol = compare.Protocol(baseline="b", seeds=values.shape[1])
    found = gains.gains(names, sides, Margin(1e-9, "given"), FACTS, protocol, standings)
    return [gain.verdict for gain in found[1:]]


def test_the_best_of_a_set_looked_at_alone_keeps_the_correction_for_all():
    noise = np.random.default_rng(0).normal(size=(1, 12))
    values = (noise - noise.mean()) / noise.std(ddof=1) - 0.8  # a loss that is lower
    p = 2 * stats.ttest_1samp(values[0], 0).pvalue
    assert 0.045 / 11 < p < 0.045
    assert judged(values, {"0": Standing(1, 1, 12)}) == ["better"]
    assert judged(values, {"0": Standing(1, 11, 12)}) == ["undecided"]
    assert judged(values, {"0": Standing(2, 1, 12)}) == ["undecided"]


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (Standing(1, 11, 10), []),
        (
            Standing(1, 12, 10),
            ["10 seeds can show no difference, however large, in 12 comparisons"],
        ),
        (
            Standing(2, 1, 10),
            ["10 seeds can show no difference, however large, in 1 comparison of"],
        ),
        (Standing(40, 1, 10), ["in 1 comparison of set 40; no number could."]),
    ],
)
def test_seeds_too_few_for_a_set_are_said(standing, said):
    """Exactly where ten differences of one sign and size are not enough."""
    study = sample_results.make(("a", "b"))
    protocol = compare.Protocol(baseline="a", seeds=10)
    sides = [gains.Side(np.full(10, x), np.array([x]), np.zeros(400, int)) for x in (1.0, 0.5)]
    margin, stands = Margin(1e-9, "given"), {"b": standing}
    gain = gains.gains(["a", "b"], sides, margin, FACTS, protocol, stands)[1]
    assert gain.verdict == ("undecided" if said else "better")
    cells = [
        replace(one, gain=gain if one.optimizer == "b" else None) for one in study.tasks[0].cells
    ]
    task = replace(study.tasks[0], cells=cells)
    found = verdicts.summary([task], Overall(None, None), protocol)
    warned = [text for text in found if "seeds can show no difference" in text]
    assert len(warned) == len(said)
    assert all(text in one for text, one in zip(said, warned, strict=True))


def test_without_a_measured_baseline_no_seeds_are_asked_for():
    study = sample_results.make(("a", "b"))
    task = replace(study.tasks[0], cells=[replace(c, gain=None) for c in study.tasks[0].cells])
    for one in (task, replace(task, cells=[])):
        found = verdicts.summary([one], Overall(None, None), replace(PROTOCOL, seeds=2))
        assert not [text for text in found if "seeds can show" in text]


def test_candidates_that_come_one_after_another_keep_the_rate(tmp_path):
    """Forty alike, one a week, each looked at when it comes: any told in a twentieth of folders."""
    rng = np.random.default_rng(0)
    told = 0
    for folder in range(200):
        values = rng.normal(size=(40, 10))
        one = compare.Ledger(tmp_path / str(folder) / "judged.json")
        stands = [one.standings("q", {"0": week}, PROTOCOL)["0"] for week in range(40)]
        t = np.abs(values.mean(axis=1)) / (values.std(axis=1, ddof=1) / np.sqrt(10))
        close = 2 * stats.t.sf(t, 9) <= 0.05  # no others can be told apart
        words = [judged(values[[k]], {"0": stands[k]})[0] for k in np.flatnonzero(close)]
        told += any(word in ("better", "worse") for word in words)
    assert told <= 0.05 * 200


@pytest.mark.parametrize("process", [0, 1])
def test_every_process_judges_by_the_ledger_of_the_first(process, tmp_path, monkeypatch):
    """What processes tell each other is played here: process 0 says that a candidate is new."""
    said = [{"optax:sgd": Standing(2, 1, 10)}]
    first = compare.Ledger(tmp_path / "judged.json") if process == 0 else None
    monkeypatch.setattr(compare.Ledger, "standings", lambda *_: said[0])
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(processes, "is_ours", lambda index: True)
    monkeypatch.setattr(processes, "shared", lambda one, index: said if one is None else one)
    study = compare.run(
        compare.load_tasks(["noisy-quadratic"]),
        [specs.parse("optax:adam"), specs.parse("optax:sgd")],
        compare.Protocol(steps=2, evaluations=1, draws=2, seeds=2, tuning_seed_count=2),
        ledger=first,
    )
    assert [c.gain.set_number for c in study.tasks[0].cells if c.gain] == [2]


def test_the_study_asks_the_ledger_by_what_is_computed(tmp_path):
    protocol = compare.Protocol(steps=4, evaluations=1, draws=3, seeds=2, tuning_seed_count=2)
    ledger = compare.Ledger(tmp_path / "judged.json")

    def sets(*texts):
        study = compare.run(
            compare.load_tasks(["noisy-quadratic"]),
            [specs.parse(text) for text in ("optax:adam", *texts)],
            protocol,
            ledger=ledger,
        )
        found = [(c.optimizer, c.gain) for c in study.tasks[0].cells if c.gain]
        return {name: (gain.set_number, gain.set_size) for name, gain in found}, study.verdicts

    path = tmp_path / "mine.py"
    path.write_text("import optax\ndef opt(learning_rate): return optax.sgd(learning_rate)\n")
    assert sets(f"{path}:opt")[0] == {"mine.py:opt": (1, 1)}
    assert sets("optax:sgd")[0] == {"optax:sgd": (1, 1)}  # the same program
    path = tmp_path / "again.py"
    path.write_text("import optax\ndef opt(learning_rate): return optax.sgd(2 * learning_rate)\n")
    found, verdicts = sets(f"{path}:opt", "optax:sgd")
    assert found == {"again.py:opt": (2, 1), "optax:sgd": (1, 1)}
    assert any("Set 2 of candidates in this folder (again.py:opt)" in text for text in verdicts)
