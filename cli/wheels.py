"""Prints where the wheels of the lock are kept in a job, and the name of their cache, as outputs.

The name holds the hash of the lock and the platform, so a wheel of another release is not looked
for. The runner runs this with Python alone, before any package is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.txt"

if __name__ == "__main__":
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(os.environ["RUNNER_TEMP"], "leastpriv-wheels")
    sys.stdout.write(f"folder={folder}\n")
    sys.stdout.write(f"key=leastpriv-{sys.platform}-{platform.machine()}-{version}-{lock}\n")
