"""RFC 6902 beside the semantic difference: for machines, never for readers."""

from __future__ import annotations

import json
from typing import Any

from leastpriv.policy.document import Document


def json_patch(committed: Document | None, proposed: Document) -> str:
    """A JSON Patch that turns the committed file's value into the proposed one, as indented JSON.

    The value of a YAML template has its functions in the long form, as `{"Fn::Sub": …}`.

    Applied once before it is handed out: where the library's shortest patch does not give the proposed value (its moves
    within lists of equal items), the whole value is replaced.
    """
    import jsonpatch

    pointer, after = proposed.value_in_file()
    if committed is None:
        return _text([{"op": "add", "path": "", "value": after}], "")
    before = committed.value_in_file()[1]
    operations = jsonpatch.make_patch(before, after).patch
    try:
        right = jsonpatch.apply_patch(before, operations) == after
    except jsonpatch.JsonPatchException:
        right = False
    return _text(operations if right else [{"op": "replace", "path": "", "value": after}], pointer)


def _text(operations: list[dict[str, Any]], pointer: str) -> str:
    """The operations on what stands at `pointer`, as operations on the file."""
    places = ("path", "from")
    moved = [{key: pointer + value if key in places else value for key, value in each.items()} for each in operations]
    # `##[`, a command to a workflow's runner wherever it stands, gets an escape.
    return json.dumps(moved, indent=2).replace("##[", "#\\u0023[") + "\n"
