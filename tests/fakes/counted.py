"""The evidence of a source, whether its calls are counted apart or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import msgspec

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.parts import Item
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.denials.encoded_message import Decoder
from leastpriv.evidence.collector import PrincipalCollectors
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.parts import CountingFiles
from leastpriv.models import Gap


def read_parts(
    source: TrailFolder | S3Trail,
    window: Window,
    principals: Principals,
    *,
    has_decoder: bool = True,
) -> Iterator[Item]:
    """Reads a source as commands do: by parts that are counted, where that pays, in processes."""
    return source.read_parts(window, principals, CountingFiles(has_decoder=has_decoder))


def evidence_in(
    source: TrailFolder | S3Trail,
    window: Window,
    principals: Principals,
    *,
    by_parts: bool,
    decoder: Decoder | None = None,
) -> list[Gap | tuple[str, str]]:
    """Returns the gaps of a source, and a hash of the evidence of each principal.

    Args:
        source: the files.
        window: the records that count.
        principals: whose calls count.
        by_parts: whether the cache and processes are used.
        decoder: decodes EC2's encoded messages; None: nothing does.
    """
    items: list[Item] = []
    if by_parts or isinstance(source, S3Trail):
        has_decoder = decoder is not None
        items.extend(read_parts(source, window, principals, has_decoder=has_decoder))
    else:
        items.extend(source.read(window, principals))
    books = PrincipalCollectors(principals, 1, decoder)
    gaps: list[Gap] = []
    for item in items:
        books.note(0, item)
        if isinstance(item, Gap):
            gaps.append(item)
    found = books.close([])
    return [*gaps, *((name, _digest(evidence)) for name, evidence in found)]


def _digest(evidence: Evidence) -> str:
    # The whole text takes minutes to compare where it differs.
    plain = msgspec.to_builtins(evidence, str_keys=True, order="deterministic")
    # Half of a surrogate pair is escaped.
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()
