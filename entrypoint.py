"""What the action's container runs; by absolute path, with the package installed or next to this
file.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from leastpriv.action.step import action_main

if __name__ == "__main__":
    sys.exit(action_main(os.environ, sys.stdout, sys.stderr, lambda: datetime.now(UTC)))
