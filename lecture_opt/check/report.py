"""What the battery found: as data, in words, as a table, as JSON."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lecture_opt import files
from lecture_opt.check.outcome import Outcome, Status
from lecture_opt.environment import versions

NOT_FINITE = re.compile(r"\b(nan|inf|not finite)\b", re.IGNORECASE)


def name_of(prop: Callable[..., Any]) -> str:
    """A property's name: its family and its function, as in `trees.none_leaves`."""
    return f"{family_of(prop)}.{prop.__name__}"


def family_of(prop: Callable[..., Any]) -> str:
    """The family of a property: the file that it stands in."""
    return prop.__module__.rpartition(".")[2]


@dataclass(frozen=True)
class Result:
    """The outcome of one property, by name; `doc` says what it asserts, why, and usual causes."""

    name: str
    status: Status
    message: str
    evidence: Mapping[str, Any]
    doc: str

    @classmethod
    def of(cls, prop: Callable[..., Any], outcome: Outcome) -> "Result":
        """The result of a property."""
        return cls(name_of(prop), *outcome, inspect.cleandoc(prop.__doc__ or ""))

    def in_words(self) -> str:
        """The finding, then what is asserted and the usual cause, as one paragraph."""
        claim, _, rest = self.doc.partition("\n\n")
        rest = " ".join(rest.split())
        return f"{self.name}: {self.message}\n  Wanted: {' '.join(claim.split())} {rest}"


@dataclass(frozen=True)
class Report:
    """All results for one optimizer."""

    optimizer: str
    results: tuple[Result, ...]
    seconds: float

    @property
    def failures(self) -> tuple[Result, ...]:
        """The properties it breaks."""
        return tuple(result for result in self.results if result.status == "fail")

    @property
    def consequences(self) -> tuple[Result, ...]:
        """The failures that are one with an earlier one: ordinary updates that are not finite."""
        if all(result.name != "interface.updates_finite" for result in self.failures):
            return ()
        later = (result for result in self.failures if result.name != "interface.updates_finite")
        return tuple(result for result in later if NOT_FINITE.search(result.message))

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def __getitem__(self, name: str) -> Result:
        """The result of one property by its name, as in `report["trees.none_leaves"]`."""
        return next(result for result in self.results if result.name == name)

    def counts(self) -> dict[str, int]:
        """How many properties passed, failed, are traits, were skipped."""
        statuses = [result.status for result in self.results]
        return {status: statuses.count(status) for status in ("pass", "fail", "trait", "skip")}

    def failures_in_words(self) -> str:
        """One paragraph per failure, those with one cause in one."""
        found = f"{self.optimizer} fails {len(self.failures)} of {len(self.results)} properties"
        also = self.consequences
        words = [result.in_words() for result in self.failures if result not in also]
        if also:
            names = ", ".join(result.name for result in also)
            words.append(f"Since updates are not finite, {len(also)} more properties fail: {names}")
        return "\n\n".join([found, *words])

    def as_data(self) -> dict[str, Any]:
        """The report as plain data that strict JSON can hold."""
        return {
            "optimizer": self.optimizer,
            "ok": self.ok,
            "counts": self.counts(),
            "seconds": round(self.seconds, 3),
            "versions": versions("jax", "optax", "numpy"),
            "results": [
                {name: files.plain(value) for name, value in vars(result).items() if name != "doc"}
                for result in self.results
            ],
        }

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the report, whole or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(target, self.as_data(), indent=2)
