"""RFC 6902 beside the semantic difference: for machines, never for readers."""

from __future__ import annotations

import json

from leastpriv.policy.document import Document


def json_patch(committed: Document | None, proposed: Document) -> str:
    """A JSON Patch that turns the committed file's JSON value into the proposed one, as indented JSON."""
    import jsonpatch

    before = _value(committed) if committed else None
    after = _value(proposed)
    if before is None:
        return json.dumps([{"op": "add", "path": "", "value": after}], indent=2) + "\n"
    return json.dumps(jsonpatch.make_patch(before, after).patch, indent=2) + "\n"


def _value(document: Document) -> object:
    return json.loads(document.text.removeprefix("\ufeff"))
