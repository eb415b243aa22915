"""A long run shows where the processor time of its tests went."""

from __future__ import annotations

import time

from tests import processor_time


def test_the_dearest_folders_and_files_are_named_first() -> None:
    seconds = {"tests/a/test_x.py": 30.0, "tests/a/test_y.py": 40.0, "tests/test_z.py": 50.0}
    assert list(processor_time.summary(seconds)) == [
        "Processor time of tests: 120 s",
        "Folders: tests/a 70, tests 50",
        "Files: tests/test_z.py 50, tests/a/test_y.py 40, tests/a/test_x.py 30",
    ]


def test_work_counts_and_waiting_does_not() -> None:
    before = processor_time.SECONDS["waiting"], processor_time.SECONDS["working"]
    with processor_time.counted("waiting"):
        time.sleep(0.05)
    with processor_time.counted("working"):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    waited, worked = processor_time.SECONDS["waiting"], processor_time.SECONDS["working"]
    del processor_time.SECONDS["waiting"], processor_time.SECONDS["working"]
    assert before == (0, 0)
    assert waited < 0.03 < worked
