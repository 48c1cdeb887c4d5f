"""The table of the results' format names what the file holds, no more and no less."""

import re
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path

import sample_results

from lecture_opt import compare
from lecture_opt.compare.results import Study, plain

README = Path(compare.__file__).with_name("README.md")


def sections():
    """Heading to the keys in the first column of its table."""
    found = {}
    for part in README.read_text(encoding="utf-8").split("\n## ")[1:]:
        lines = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
        found[part.partition("\n")[0]] = {
            key for line in lines for key in re.findall(r"`(\w+)`", line)
        }
    return found


def records(kind):
    """Every type of record that a type hint holds, by name."""
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        found = {kind.__name__: set(hints)}
        return found | {n: f for hint in hints.values() for n, f in records(hint).items()}
    return {n: f for inside in typing.get_args(kind) for n, f in records(inside).items()}


def test_the_table_lists_every_key():
    wanted = records(Study)
    wanted["Study"].add("format")
    wanted["Protocol"] |= {"tuning_seeds", "reporting_seeds"}
    assert sections() == wanted


def test_the_file_has_these_keys():
    data = plain(sample_results.make())
    assert set(data) == sections()["Study"]
    assert set(data["protocol"]) == sections()["Protocol"]
    cell = data["tasks"][0]["cells"][1]
    assert set(cell) == sections()["Cell"]
    assert set(cell["gain"]) == sections()["Gain"]
    assert isinstance(data["optimizers"][0]["search_space"], Mapping)
