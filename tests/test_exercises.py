"""The exercises: every solution is right, every known slip is not, both guides have the texts."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from lecture_opt import exercises
from lecture_opt.exercises import __main__ as command
from lecture_opt.exercises import checkers

FOLDER = Path(__file__).parent.parent / "examples"
each = pytest.mark.parametrize("exercise", exercises.EXERCISES.values(), ids=lambda e: e.number)


@pytest.fixture(autouse=True)
def standard():
    """A student's JAX, without the strictness of these tests."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@each
def test_the_solution_is_right_and_junk_is_not(exercise):
    namespace = {}
    exec(exercise.solution, namespace)
    assert exercises.said(exercise.number, namespace["answer"]) == (
        True,
        f"{exercise.number}: right.",
    )
    for junk in (None, "junk", 1234.5, [1.0, 2.0, 3.0], lambda *_: 1234.5):
        right, sentence = exercises.said(exercise.number, junk)
        assert not right
        assert sentence.startswith(f"{exercise.number}: not yet. ")


SLIPS = {
    "1.1": 56,
    "2.1": 0.1055,
    "4.1": 0.3567,
    "4.4": lambda z, ids: jax.nn.softmax(z) - np.eye(3)[ids],
    "5.2": 0.004,
    "6.1": 23.2,
    "8.1": 3.25,
    "9.1": lambda x, delta: (x.T @ delta, delta),
    "10.2": lambda kernel, bias, x: np.any(x @ kernel + bias <= 0, axis=0),
    "13.1": -0.08,
    "15.2": lambda g, rate, eps: -rate * np.array(g) / (np.sqrt(np.cumsum(np.square(g))) + eps),
    "17.1": -0.001,
    "18.1": "equivalent",
}


@pytest.mark.parametrize("number", SLIPS)
def test_a_slip_has_its_own_sentence(number):
    right, sentence = exercises.said(number, SLIPS[number])
    general = (" is not the number.", "for the test's arguments", "wanted one of")
    assert not right
    assert not any(part in sentence for part in general), sentence


def test_the_function_of_4_3_must_not_overflow():
    def naive(logits, ids):
        q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -np.log(q[np.arange(len(ids)), ids]).mean()

    with np.errstate(all="ignore"):
        assert "overflows" in exercises.said("4.3", naive)[1]


def test_no_slip_passes_for_the_right_number():
    check = checkers.number(100.0, {101.0: "slip"})
    assert check(100.4) is None
    assert check(101.0) == "slip"


@pytest.mark.parametrize("guide", ["GUIA.md", "GUIDE.md"])
def test_the_guide_has_every_exercise_in_the_section_of_its_number(guide):
    sections = re.split(r"^## ", (FOLDER / guide).read_text(encoding="utf-8"), flags=re.M)[1:]
    found = [
        (place, number)
        for place, section in enumerate(sections, start=1)
        for number in re.findall(r"^- \*\*(\d+\.\d+)\*\* ", section, flags=re.M)
    ]
    assert [number for _, number in found] == list(exercises.EXERCISES)
    assert all(number.startswith(f"{place}.") for place, number in found)
    assert {place for place, _ in found} >= set(range(1, 19))


def test_the_command(tmp_path, capsys):
    answer = tmp_path / "answer.py"
    answer.write_text("answer = 0.5")
    assert command.main(["5.1", str(answer)]) == 1
    assert "minus its logarithm" in capsys.readouterr().out
    answer.write_text("import math\nanswer = math.log(2)")
    assert command.main(["5.1", str(answer)]) == 0
    assert command.main(["5.1", "--solution"]) == 0
    assert "math.log(2)" in capsys.readouterr().out
    assert command.main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(exercises.EXERCISES)


def test_the_command_says_what_it_did_not_understand(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "wrong.py").write_text("1 / 0")
    assert command.main(["5.1", str(tmp_path / "empty.py")]) == 2
    assert command.main(["5.1", str(tmp_path / "wrong.py")]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["99.9"])
