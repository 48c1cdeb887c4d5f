"""What a folder remembers of whom it judged, so that all verdicts together keep the error rate.

A question is a task, a protocol and a baseline. The candidates that are new to it make a set, which
gets its share of the error rate once and for all. Whoever is judged again, under any name, with
more seeds or beside others, stays in that set. A candidate whose program changed is a new one.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lecture_opt import files
from lecture_opt.compare.protocol import Protocol
from lecture_opt.compare.results.gains import Standing

TERMS = ("draws", "level", "choose", "schedule")
"""What of the protocol makes another question; the task says steps and batches."""


class Ledger:
    """The sets of candidates of each question, in a JSON file."""

    def __init__(self, path: Path) -> None:
        """ValueError where the file is there and can't be read: it is not to be forgotten."""
        self.path = path
        try:
            self._questions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise ValueError(f"{path}: not a ledger of candidates: {error}") from None

    def standings(
        self, question: object, candidates: Mapping[str, object], protocol: Protocol
    ) -> dict[str, Standing]:
        """Where each candidate stands; those that are new are entered.

        Args:
            question: All that tells the question from others, as plain data.
            candidates: Name to all that tells the candidate from others.
            protocol: Its seeds are the planned ones of a new set.
        """
        terms = [getattr(protocol, name) for name in TERMS]
        sets = self._questions.setdefault(_digest([question, terms]), [])
        ids = {name: _digest([one, protocol.first_seed]) for name, one in candidates.items()}
        known = {one for earlier in sets for one in earlier["candidates"]}
        if new := [one for one in ids.values() if one not in known]:
            planned = protocol.planned or protocol.seeds
            sets.append({"candidates": new, "planned": planned})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(self.path, self._questions)
        found = {}
        for name, one in ids.items():
            number = next(i for i, earlier in enumerate(sets) if one in earlier["candidates"])
            size = len(sets[number]["candidates"])
            found[name] = Standing(number + 1, size, sets[number]["planned"])
        return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
