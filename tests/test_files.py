"""Files that are written whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from lecture_opt import files


def test_a_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "results"
    with files.whole(path) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    with files.whole(path) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["results"]


def test_a_file_s_folder_is_made_and_a_folder_is_refused(tmp_path):
    files.make_room("--output", tmp_path / "new" / "file")
    assert os.listdir(tmp_path / "new") == []
    with pytest.raises(ValueError, match=r"--output: .* is a folder; wanted the name of a file"):
        files.make_room("--output", tmp_path)


def test_a_folder_is_made_or_refused_by_its_option(tmp_path):
    files.make_folder("--output", tmp_path / "new" / "folder")
    assert os.listdir(tmp_path / "new" / "folder") == []
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below", Path("/proc")):
        with pytest.raises(ValueError, match=f"--output: {folder} can't be written to: "):
            files.make_folder("--output", folder)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_crash_leaves_what_was_there_and_nothing_else(tmp_path, error):
    def write(path):
        with files.whole(path) as file:
            file.write(b"half of the ")
            raise error

    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        with pytest.raises(error):
            write(tmp_path / name)
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_permissions_follow_the_umask(tmp_path):
    path = tmp_path / "results"
    before = os.umask(0o027)
    try:
        with files.whole(path) as file:
            file.write(b"for the group")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_float32_is_written_in_its_shortest_decimals():
    assert files.plain(np.float32(0.1)) == 0.1
    assert files.plain([np.inf, np.nan, np.int32(3), np.bool_(True)]) == [
        None,
        None,
        3,
        True,
    ]
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    again = np.array(files.plain(values), np.float32)
    np.testing.assert_array_equal(values, again)
