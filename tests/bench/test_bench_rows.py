"""`lecture-opt bench rows`: it measures what it says, and prints and writes it."""

import json

import jax
import pytest

from lecture_opt import cli
from lecture_opt.bench import rows as bench


@pytest.fixture(autouse=True)
def promotion():
    """optax.adam promotes its count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def run(*argv):
    return cli.main(["bench", "rows", *argv])


def test_prints_a_line_a_cell_and_writes_the_same_figures(tmp_path, capsys):
    path = tmp_path / "rows.json"
    arguments = ["--rows", "50", "--rows", "100", "--touched", "4", "--width", "2", "--steps", "2"]
    assert run(*arguments, "--optimizer", "adam", "--optimizer", "sgd", "--output", str(path)) == 0
    cells = json.loads(path.read_text())["cells"]
    assert [(c["table_rows"], c["optimizer"]) for c in cells] == [
        (50, "adam"),
        (50, "sgd"),
        (100, "adam"),
        (100, "sgd"),
    ]
    out = capsys.readouterr().out
    for cell in cells:
        assert f"{cell['rows_ms']:.3f}" in out
        assert f"{cell['optax_ms']:.3f}" in out


@pytest.mark.parametrize("name", [name for name in bench.SLOTS if name not in ("adam", "sgd")])
def test_every_optimizer_has_a_step_on_rows_and_a_dense_one(name):
    (cell,) = bench.measure([name], [20], [4], width=2, steps=1)
    assert cell.rows_ms > 0
    assert cell.optax_ms > 0


def test_what_passes_the_memory_limit_is_left_out():
    # Adam on rows takes 3 arrays of 20 x 2 float32, dense 5.
    (cell,) = bench.measure(["adam"], [20], [4], width=2, steps=1, memory_limit=3 * 160)
    assert cell.optax_ms is None
    assert list(bench.measure(["adam"], [20], [4], width=2, memory_limit=2 * 160)) == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--rows", "0", "--rows 0: wanted at least 1"),
        ("--touched", "0", "--touched 0: wanted at least 1"),
        ("--width", "0", "--width 0: wanted at least 1"),
        ("--steps", "-1", "--steps -1: wanted at least 1"),
        ("--memory", "0", "--memory 0: wanted more than 0"),
        ("--output", "/proc/none/rows.json", "--output: /proc/none can't be written to"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(option, value, says, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure", None)
    assert run(option, value) == 2
    assert says in capsys.readouterr().err
