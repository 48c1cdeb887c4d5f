"""The command as a whole: help, usage, exit statuses, extras, readers that leave, completion."""

import argparse
import os
import subprocess
import sys

import pytest

from lecture_opt import cli
from lecture_opt.cli import dispatch, kit

COMMAND = [sys.executable, "-m", "lecture_opt"]
PYTHONPATH = {key: value for key, value in os.environ.items() if key == "PYTHONPATH"}


def actions(name):
    """The options of a subcommand."""
    return dispatch.parsers([name])[1][name]._actions


@pytest.mark.parametrize("name", dispatch.COMMANDS)
def test_every_option_has_its_help(name):
    assert len(actions(name)) > 1
    for action in actions(name):
        assert action.help, f"{name} {action.option_strings or action.dest}"


@pytest.mark.parametrize("name", dispatch.COMMANDS)
def test_a_value_is_repeated_and_an_output_is_named_in_one_way(name):
    for action in (action for action in actions(name) if action.option_strings):
        assert action.nargs not in ("+", "*"), f"{name} {action.option_strings}"
        if isinstance(action, argparse._AppendAction):
            assert action.help.endswith("; may be repeated")
        if any(word in action.dest for word in ("json", "file", "folder", "out")):
            assert action.option_strings == ["--output"]


def test_a_home_that_cannot_be_written_is_no_reason_to_warn(tmp_path):
    """Matplotlib keeps a cache there, and says at its import when it can't."""
    (tmp_path / "home").write_text("a file")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **PYTHONPATH}
    command = [*COMMAND, "race", "--surface", "none"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == kit.REFUSED
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("name", dispatch.COMMANDS)
def test_an_unknown_option_shows_the_usage_of_the_subcommand(name, capsys):
    required = {"completion": ["bash"], "merge": ["folder"]}.get(name, [])
    with pytest.raises(SystemExit) as stop:
        cli.main([*name.split(), *required, "--bogus"])
    assert stop.value.code == kit.REFUSED
    error = capsys.readouterr().err
    assert error.startswith(f"usage: lecture-opt {name} [-h]")
    assert error.endswith(f"lecture-opt {name}: error: unrecognized arguments: --bogus\n")


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["--bogus"]])
def test_without_a_subcommand_all_are_named(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == kit.REFUSED
    assert "usage: lecture-opt [-h] [--version] COMMAND ..." in capsys.readouterr().err


def test_a_missing_extra_is_one_line():
    names = ["bench", "bench rows", "check", "compare", "race"]
    program = (
        "import sys; sys.modules['rich'] = None; from lecture_opt import cli; "
        f"print([cli.main(name.split()) for name in {names}])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    hint = "needs rich: pip install 'lecture_opt[judge]'"
    assert done.stderr.splitlines() == [f"lecture-opt {name}: error: {hint}" for name in names]
    assert done.stdout == f"{[kit.REFUSED] * len(names)}\n"


@pytest.mark.parametrize(
    ("raised", "status", "says"),
    [
        (ValueError("race: --steps 0"), kit.REFUSED, "lecture-opt race: error: --steps 0\n"),
        (OSError("disk full"), kit.REFUSED, "lecture-opt race: error: disk full\n"),
        (ImportError("needs x"), kit.REFUSED, "lecture-opt race: error: needs x\n"),
        (KeyboardInterrupt(), kit.INTERRUPTED, "interrupted\n"),
        (KeyboardInterrupt("go on"), kit.INTERRUPTED, "interrupted; go on\n"),
    ],
)
def test_what_a_subcommand_raises_is_one_line_and_a_status(
    raised, status, says, monkeypatch, capsys
):
    def run(args):
        raise raised

    monkeypatch.setattr("lecture_opt.cli.race.run", run)
    assert cli.main(["race"]) == status
    assert capsys.readouterr().err == says


def test_a_reader_that_leaves_ends_the_command_quietly():
    process = subprocess.Popen(
        [*COMMAND, "check", "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == kit.UNREAD


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_knows_every_option(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == kit.OK
    script = capsys.readouterr().out
    for name in dispatch.COMMANDS:
        if " " not in name:
            for action in actions(name):
                assert all(option in script for option in action.option_strings)


def test_bash_completes_a_subcommand_and_its_options(tmp_path, capsys):
    pytest.importorskip("shtab")
    cli.main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    program = """source "$1"
    COMP_WORDS=(lecture-opt compare --qui); COMP_CWORD=2
    $(complete -p lecture-opt | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo "${COMPREPLY[@]}" """
    command = ["bash", "-c", program, "bash", str(tmp_path / "script")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.stdout == "--quick\n"


def test_a_table_is_never_narrower_than_its_numbers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert kit.console(100).width == 100
    monkeypatch.setenv("COLUMNS", "200")
    assert kit.console(100).width == 200


@pytest.mark.parametrize(
    "command",
    [
        "check lecture:sgd", "compare", "race", "bench lecture:sgd", "bench rows --rows 9",
        "inspect optax:adam",
    ],
)  # fmt: skip
def test_a_machine_without_the_device_asked_for_is_told(tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-m", "lecture_opt", *command.split()],
        env={**os.environ, "JAX_PLATFORMS": "tpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "JAX finds no device (JAX_PLATFORMS is tpu)" in done.stderr
    assert "Traceback" not in done.stderr
