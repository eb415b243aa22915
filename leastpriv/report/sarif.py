"""Unused grants at their lines, as SARIF 2.1.0 for GitHub's code scanning.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; what GitHub supports:
https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
(both read 2026-11-26).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from leastpriv import __version__
from leastpriv.models import ChangeKind
from leastpriv.proposal.fingerprint import entry_id
from leastpriv.proposal.models import Change
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import json_text, plain
from leastpriv.report.phrases import evidence_span, plural

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_MOST_RESULTS = 5_000
"""GitHub shows that many per file and accepts 25,000."""
_MOST_NAMED = 20
_SPECIAL = re.compile(r"[\\\[\]]")

_RULES = {
    "unused-statement": (
        "The role has not used any action of a statement",
        "CloudTrail would have shown a use, and shows none. Remove the statement, or name its actions in `keep`.",
    ),
    "unused-entry": (
        "The policy grants an action that the role has not used",
        "CloudTrail would have shown a use of it, and shows none. Remove the entry, or name it in `keep`.",
    ),
    "unused-in-wildcard": (
        "A wildcard of the policy grants actions that the role has not used",
        "CloudTrail would have shown a use of them, and shows none. Write the actions that are needed, or name the "
        "others in `keep`.",
    ),
    "unused-resources": (
        "The policy grants an action on more resources than the role has used it on",
        "All runs used it on the same resources. Name only these.",
    ),
}


def sarif(contexts: Sequence[ReportContext]) -> str:
    """The changes that narrow policies, as one SARIF log with one run; without results if there are none."""
    results = [result for context in contexts for result in _results(context)]
    rules = [
        {
            "id": name,
            "shortDescription": {"text": short},
            "fullDescription": {"text": full},
            "help": {"text": full},
            "defaultConfiguration": {"level": "warning"},
            "properties": {"tags": ["security", "iam"]},
        }
        for name, (short, full) in _RULES.items()
    ]
    run = {
        "tool": {"driver": {"name": "leastpriv-action", "semanticVersion": __version__, "rules": rules}},
        "automationDetails": {"id": _category(contexts)},
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository"}}},
        "columnKind": "unicodeCodePoints",
        "results": results[:_MOST_RESULTS],
    }
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _category(contexts: Sequence[ReportContext]) -> str:
    """Category by which a later upload replaces an earlier one's alerts; those of other roles remain."""
    if len(contexts) != 1:
        return "leastpriv/"
    return f"leastpriv/{_address(contexts[0].role)}/{_address(contexts[0].policy_path)}/"


def _address(path: str) -> str:
    return quote(path, errors="replace")


def _results(context: ReportContext) -> Iterator[Mapping[str, object]]:
    committed = context.proposal.committed
    if committed is None:
        return
    unused = unused_statements(context)
    for changes in unused.values():
        first = changes[0]
        name = f"statement {first.sid}" if first.sid else "a statement"
        sentence = (
            f"Every action of {name} is granted, and {context.role} has not used any in "
            f"{evidence_span(context.evidence)}: {_some(tuple(change.action for change in changes))}."
        )
        fingerprint = entry_id("\n".join(sorted(change.action for change in changes)), first.sid, first.resources)
        yield _result("unused-statement", sentence, context, first.line, fingerprint)
    for change in context.proposal.changes:
        if change.kind is not ChangeKind.ADD and change.statement not in unused:
            line = committed.line_of_entry(change.statement, change.action)
            fingerprint = entry_id(change.action, change.sid, change.resources)
            yield _result(_rule(change), _sentence(change, context), context, line, fingerprint)


def unused_statements(context: ReportContext) -> Mapping[int, Sequence[Change]]:
    """Returns the statements of several entries of which the proposal removes every one, with their changes."""
    committed = context.proposal.committed
    removed: dict[int, list[Change]] = {}
    for change in context.changes(ChangeKind.REMOVE):
        removed.setdefault(change.statement, []).append(change)
    return {
        number: changes
        for number, changes in removed.items()
        if committed and len(changes) == len(committed.statements[number].actions) > 1
    }


def _result(rule: str, sentence: str, context: ReportContext, line: int, fingerprint: str) -> Mapping[str, object]:
    place = {
        "artifactLocation": {"uri": _address(context.policy_path), "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": line},
    }
    shown = _SPECIAL.sub(lambda found: f"\\{found[0]}", plain(sentence, 2_000))
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "message": {"text": shown.replace("{", "{{").replace("}", "}}")},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"leastprivChange/v1": fingerprint},
    }


def _rule(change: Change) -> str:
    if change.kind is ChangeKind.REMOVE:
        return "unused-entry"
    return "unused-resources" if change.restricted_to else "unused-in-wildcard"


def _sentence(change: Change, context: ReportContext) -> str:
    seen = f"in {evidence_span(context.evidence)}"
    if change.kind is ChangeKind.REMOVE:
        return f"{change.action} is granted, and {context.role} has not used it {seen}."
    if change.restricted_to:
        resources = _some(change.restricted_to)
        return f"{change.action} is granted on every resource; {context.role} used it {seen} on {resources}."
    return (
        f"{change.action} grants {plural(change.granted, 'action')}; {context.role} used {len(change.used):,} of them "
        f"{seen}. Not used: {_some(change.removed_actions)}."
    )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
