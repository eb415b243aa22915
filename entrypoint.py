"""What the action's container runs, by absolute path and isolated from the job's environment.

`python -I` reads no `PYTHON*` variable and no file of the working directory, which is a checkout
that others may have written. So the package is found next to this file, or where it is installed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_LOAD_CODE = ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "AWS_DATA_PATH", "BOTO_CONFIG")
"""Variables by which a library loads code or models from a file that the job names."""

if __name__ == "__main__":
    for name in _LOAD_CODE:
        os.environ.pop(name, None)
    if sys.flags.safe_path:
        sys.path.insert(0, str(Path(__file__).resolve().parent))
    # Imported only now: the imports read those variables.
    from datetime import UTC, datetime

    from leastpriv.action.step import action_main

    sys.exit(action_main(os.environ, sys.stdout, sys.stderr, lambda: datetime.now(UTC)))
