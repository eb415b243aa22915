"""Our evaluator compared with another one, installed for the test; see bench/differential."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).resolve().parents[2] / "bench" / "differential" / "run.py"
NOT_HERE = 77


@pytest.mark.slow
def test_every_difference_to_other_evaluators_is_explained() -> None:
    command = [sys.executable, str(COMPARE), "10000", "20261124"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode == NOT_HERE:
        pytest.skip(completed.stdout)
    assert completed.returncode == 0, completed.stdout + completed.stderr
