"""Runs the steps of a deploy, given as JSON in a file, one after the other; ends with the first
that fails.

With FRESH_NAMES in the environment each execution has a random FRESH_NAME, which the apps write
into their names.
"""

from __future__ import annotations

import json
import os
import secrets
import string
import subprocess
import sys
from pathlib import Path

letters = string.ascii_lowercase + string.digits
fresh = (
    "-" + "".join(secrets.choice(letters) for _ in range(7)) + "7"
    if os.environ.get("FRESH_NAMES")
    else ""
)
for step in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    print(f"### {step['label']}", flush=True)  # noqa: T201 - the job log
    # AWS SAM takes no parameter without a value; that of a template is empty then.
    command = [
        part.replace("{FRESH}", fresh)
        for part in step["command"]
        if fresh or not part.endswith("={FRESH}")
    ]
    environment = {**os.environ, **step["variables"], "FRESH_NAME": fresh, "TF_VAR_fresh": fresh}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)
