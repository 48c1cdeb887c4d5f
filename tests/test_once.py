"""Values computed once for each object, side by side where the objects differ."""

import threading
from concurrent.futures import ThreadPoolExecutor

from lecture_opt.once import once


class Worker:
    def __init__(self, meeting: threading.Barrier) -> None:
        self.meeting, self.calls = meeting, 0

    @once
    def value(self) -> int:
        """Waits until as many threads as the meeting asks for are here."""
        self.calls += 1
        return self.meeting.wait(timeout=10)


def test_two_objects_compute_at_once():
    meeting = threading.Barrier(2)
    workers = [Worker(meeting), Worker(meeting)]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda worker: worker.value, workers)) == [0, 1]


def test_a_value_is_computed_once_for_each_object():
    worker = Worker(threading.Barrier(1))
    assert [worker.value, worker.value] == [0, 0]
    assert worker.calls == 1


def test_its_docstring_stays():
    assert "Waits until" in vars(Worker)["value"].__doc__
