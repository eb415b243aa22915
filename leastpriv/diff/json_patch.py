"""RFC 6902 beside the semantic difference: for machines, never for readers."""

from __future__ import annotations

import json

from leastpriv.policy.document import Document


def json_patch(committed: Document | None, proposed: Document) -> str:
    """A JSON Patch that turns the committed file's JSON value into the proposed one, as indented JSON.

    Applied once before it is handed out: where the library's shortest patch does not give the proposed value (its moves
    within lists of equal items), the whole value is replaced.
    """
    import jsonpatch

    after = _value(proposed)
    if committed is None:
        return _text([{"op": "add", "path": "", "value": after}])
    before = _value(committed)
    operations = jsonpatch.make_patch(before, after).patch
    try:
        right = jsonpatch.apply_patch(before, operations) == after
    except jsonpatch.JsonPatchException:
        right = False
    return _text(operations if right else [{"op": "replace", "path": "", "value": after}])


def _text(operations: list[dict[str, object]]) -> str:
    return json.dumps(operations, indent=2) + "\n"


def _value(document: Document) -> object:
    return json.loads(document.text.removeprefix("\ufeff"))
