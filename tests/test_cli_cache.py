"""Compiled programs on disk: a second command reads them and finds the same."""

import json
import os
import subprocess
import sys

import pytest

from lecture_opt.cli import cache

CHECK = [sys.executable, "-m", "lecture_opt", "check", "optax:sgd", "--only", "purity"]


def run(folder, *options, **variables):
    """The report of a check whose cache is in a folder, without its times."""
    report = folder / "report.json"
    kept = {name: text for name, text in os.environ.items() if name != cache.OFF}
    environment = {**kept, "XDG_CACHE_HOME": str(folder / "cache"), **variables}
    command = [*CHECK, "--output", str(report), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""  # no warning of an unreadable program
    found = json.loads(report.read_text())
    del found["seconds"]
    return found


def programs(folder):
    return {path.name for path in (folder / "cache").rglob("*-cache")}


def test_a_second_command_reads_what_the_first_compiled_and_finds_the_same(tmp_path):
    first = run(tmp_path)
    compiled = programs(tmp_path)
    assert compiled
    assert run(tmp_path) == first
    assert programs(tmp_path) == compiled


@pytest.mark.parametrize(("options", "variables"), [(["--no-cache"], {}), ([], {cache.OFF: "1"})])
def test_one_option_and_one_variable_turn_it_off(options, variables, tmp_path):
    run(tmp_path, *options, **variables)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_made_stops_no_command(tmp_path):
    (tmp_path / "cache").write_text("a file")
    run(tmp_path)


def test_the_oldest_programs_make_room(tmp_path):
    for age, name in enumerate("abc"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (age, age))
    cache.shorten(tmp_path, 200)
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c"}
