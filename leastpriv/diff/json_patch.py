"""Writes the difference of two policies as a JSON Patch (RFC 6902) for machines."""

from __future__ import annotations

import json
from typing import Any

from leastpriv.policy.document import Document


def json_patch(committed: Document | None, proposed: Document) -> str:
    """Returns a JSON Patch from the committed file's value to the proposed value, as indented JSON.

    Args:
        committed: the document in the file; None if there is no file, so that the patch adds the whole value.
        proposed: the document after the edits.

    YAML templates have their functions in the long form, as `{"Fn::Sub": …}`. The patch is verified by applying it: if
    the library's shortest patch fails (moves within lists of equal items), the whole value is replaced.
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
    """Prefixes the operations' paths with `pointer`."""
    places = ("path", "from")
    moved = [{key: pointer + value if key in places else value for key, value in each.items()} for each in operations]
    # `##[` is a workflow command of the runner at any position in a line, so it gets an escape.
    return json.dumps(moved, indent=2).replace("##[", "#\\u0023[") + "\n"
