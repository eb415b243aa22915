"""A file of a trail as what keeps it tells of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a listing, or one file of a folder."""

    key: str
    etag: str
    """As listed, quotes included; of a file its size and time: it is unchanged as long as this is the same."""
    size: int
    """Bytes as stored, compressed."""
