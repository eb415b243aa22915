"""What the policy grants and the role did not use, at its lines, as SARIF 2.1.0 for GitHub's code scanning.

The form: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; what GitHub takes of it:
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
from leastpriv.report.context import Subject
from leastpriv.report.escape import json_text, plain
from leastpriv.report.phrases import plural, watched

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_MOST_RESULTS = 5_000
"""GitHub shows that many of a file and takes 25,000."""
_MOST_NAMED = 20
_SPECIAL = re.compile(r"[\\\[\]]")

_RULES = {
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
        "All runs used it on the same resources. Name these.",
    ),
}


def sarif(subjects: Sequence[Subject]) -> str:
    """The changes that narrow policies, as one SARIF log with one run; valid and without results where none does."""
    results = [result for subject in subjects for result in _results(subject)]
    run = {
        "tool": {"driver": _driver()},
        "automationDetails": {"id": _category(subjects)},
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository"}}},
        "columnKind": "unicodeCodePoints",
        "results": results[:_MOST_RESULTS],
    }
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _category(subjects: Sequence[Subject]) -> str:
    """By it a later upload replaces the alerts of an earlier one; those of other roles stay."""
    if len(subjects) != 1:
        return "leastpriv/"
    return f"leastpriv/{_address(subjects[0].role)}/{_address(subjects[0].policy_path)}/"


def _address(path: str) -> str:
    return quote(path, errors="replace")


def _driver() -> Mapping[str, object]:
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
    return {"name": "leastpriv-action", "semanticVersion": __version__, "rules": rules}


def _results(subject: Subject) -> Iterator[Mapping[str, object]]:
    committed = subject.draft.committed
    if committed is None:
        return
    for change in (change for change in subject.draft.changes if change.kind is not ChangeKind.ADD):
        place = {
            "artifactLocation": {"uri": _address(subject.policy_path), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": committed.line_of_entry(change.statement, change.action)},
        }
        yield {
            "ruleId": _rule(change),
            "ruleIndex": list(_RULES).index(_rule(change)),
            "message": {"text": _text(_sentence(change, subject))},
            "locations": [{"physicalLocation": place}],
            "partialFingerprints": {"leastprivChange/v1": entry_id(change.action, change.sid, change.resources)},
        }


def _rule(change: Change) -> str:
    if change.kind is ChangeKind.REMOVE:
        return "unused-entry"
    return "unused-resources" if change.onto else "unused-in-wildcard"


def _sentence(change: Change, subject: Subject) -> str:
    seen = f"in {watched(subject.evidence)}"
    if change.kind is ChangeKind.REMOVE:
        return f"{change.action} is granted, and {subject.role} has not used it {seen}."
    if change.onto:
        return f"{change.action} is granted on every resource; {subject.role} used it {seen} on {_some(change.onto)}."
    return (
        f"{change.action} grants {plural(change.granted, 'action')}; {subject.role} used {len(change.used):,} of them "
        f"{seen}. Not used: {_some(change.gone)}."
    )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _text(sentence: str) -> str:
    """A message in plain text: brackets would make a link, braces a placeholder (SARIF 3.11.5 and 3.11.6)."""
    shown = _SPECIAL.sub(lambda found: f"\\{found[0]}", plain(sentence, 2_000))
    return shown.replace("{", "{{").replace("}", "}}")
