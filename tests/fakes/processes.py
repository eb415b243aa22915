"""What the system says of processes that a test has started."""

from __future__ import annotations

from pathlib import Path


def has_ended(pid: int | str) -> bool:
    """Whether no process of this id runs; one that only waits for its parent has ended too."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return True
    # "proc_pid_stat" of the Linux manual: the state follows the name, which is in brackets.
    return status.rpartition(")")[2].split()[0] == "Z"
