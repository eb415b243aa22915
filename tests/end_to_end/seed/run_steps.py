"""Runs the steps of a deploy, given as JSON in a file, one after the other; ends with the first that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

for step in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    print(f"### {step['label']}", flush=True)  # noqa: T201 - the job log
    done = subprocess.run(step["command"], env={**os.environ, **step["variables"]}, check=False)
    if done.returncode:
        sys.exit(done.returncode)
