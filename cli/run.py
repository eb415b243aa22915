"""What the action without Docker runs: gives its inputs the form that a container gets, and starts.

A composite action has no `INPUT_*` variables. Its step passes all inputs as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `python -I` leaves it out

from entrypoint import start_without_secrets

if __name__ == "__main__":
    environment = dict(os.environ)
    for name, value in json.loads(environment.pop("INPUTS")).items():
        environment[f"INPUT_{name.upper()}"] = value
    start_without_secrets(environment)
