"""The changes at lines of the policy file: comments on the pull request, and SARIF 2.1.0 for
GitHub's code scanning.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; what GitHub supports:
integrating-with-code-scanning/sarif-support-for-code-scanning in
https://docs.github.com/en/code-security/code-scanning/ (both read 2026-11-26).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple
from urllib.parse import quote

from msgspec import Struct

from leastpriv import __version__
from leastpriv.models import ChangeKind, grouped
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Change, entry_id
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, json_text, plain
from leastpriv.report.offers import not_on
from leastpriv.report.phrases import (
    codes,
    evidence_span,
    last_day,
    links_of_runs,
    listed,
    only_if,
    plural,
    times,
)
from leastpriv.report.pull_request import basis_text

MOST_NOTES = 10
Side = Literal["LEFT", "RIGHT"]
"""Side of a diff: the committed file, or the proposed one."""
_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "%SRCROOT%"
"""The repository of the run, as GitHub names it in SARIF."""
_MOST_RESULTS = 5_000
"""GitHub shows that many per file and accepts 25,000."""
_MOST_NAMED = 20
_SPECIAL = re.compile(r"[\\\[\]]")


class LineNote(NamedTuple):
    """The note at one line of the policy file's diff; `text` is Markdown."""

    line: int
    side: Side
    text: str


def line_notes(context: ReportContext) -> tuple[LineNote, ...]:
    """At most ten notes, each at a line that the diff changes; changes at one line share a note.

    Additions come first, those for a security reviewer before the others, then removals.
    """
    committed, document = context.proposal.committed, context.proposal.document
    if committed is None or not document.editable:
        return ()
    old, new = committed.source.outer.split("\n"), document.source.outer.split("\n")
    left_lines: set[int] = set()
    right_lines: set[int] = set()
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            left_lines.update(range(a + 1, b + 1))
            right_lines.update(range(c + 1, d + 1))
    texts_by_line: dict[_DiffLine, list[str]] = {}
    for change in context.gravest_first:
        diff_line = _line_of(change, committed, document)
        if diff_line is None:
            continue
        changed_lines = left_lines if diff_line.side == "LEFT" else right_lines
        if diff_line.number in changed_lines:
            texts_by_line.setdefault(diff_line, []).append(_note_text(change, context))
    notes = [
        LineNote(diff_line.number, diff_line.side, "\n\n".join(texts))
        for diff_line, texts in texts_by_line.items()
    ]
    return tuple(notes[:MOST_NOTES])


class _DiffLine(Struct, frozen=True):
    """A line of one version of the policy file."""

    number: int
    """1-based."""
    side: Side


def _line_of(change: Change, committed: Document, document: Document) -> _DiffLine | None:
    """Returns the line of a change: of a removal in the committed file, of an addition in the
    proposed one; None where no statement there has the addition.
    """
    if change.kind is not ChangeKind.ADD:
        return _DiffLine(committed.line_of_entry(change.statement, change.action), "LEFT")
    for statement in document.statements:
        grants = statement.effect == "Allow" and change.action in statement.actions
        if grants and set(change.resources) & set(statement.resources):
            return _DiffLine(document.line_of_entry(statement.index, change.action), "RIGHT")
    return None


def _note_text(change: Change, context: ReportContext) -> str:
    """Returns the comment at the line of a change: the addition, narrowing or removal, and why."""
    evidence = context.evidence
    if change.kind is ChangeKind.ADD:
        runs = links_of_runs(change.usages, context.evidence, context.run_url)
        use_words = f"{times(change.usages, evidence)}, last {last_day(change.usages)}"
        warning = f" **Security reviewer:** it {change.security}." if change.security else ""
        return (
            f"**Added:** {code(change.action)} on"
            f" {codes(change.resources, 4)}{only_if(change.conditions)}{not_on(change)}:"
            f" {basis_text(context, change)},"
            f" {use_words}{f'; runs {runs}' if runs else ''}.{warning}"
        )
    if change.restricted_to:
        resources = codes(change.restricted_to, 4)
        return (
            f"**Narrowed:** {code(change.action)} to the resources that the runs used: {resources}."
        )
    if change.kind is ChangeKind.NARROW:
        return (
            f"**Narrowed:** {code(change.action)} granted {plural(change.granted, 'action')}; used:"
            f" {codes(change.used, 8)}. {plural(len(change.removed_actions), 'action')}"
            f" removed{_without_record(change)}."
        )
    use_words = evidence_span(evidence)
    if change.unproven:
        return (
            f"**Removed:** {code(change.action)}: no call in {use_words};"
            f" {plural(len(change.removed_actions), 'action')} removed{_without_record(change)}."
        )
    return (
        f"**Removed:** {code(change.action)}: no call in {use_words}, and CloudTrail would have"
        " shown"
        " one."
    )


def _without_record(change: Change) -> str:
    """How many of the removed actions leave no record; empty where each leaves one."""
    return f", {len(change.unproven):,} of them without a record" if change.unproven else ""


def sarif(contexts: Sequence[ReportContext]) -> str:
    """The changes that narrow policies, as one SARIF log with one run; without results if there are
    none.
    """
    sarif_results = [sarif_result for context in contexts for sarif_result in _results(context)]
    # By its category a later upload replaces an earlier one's alerts; those of other roles remain.
    category = "leastpriv/"
    if len(contexts) == 1:
        category += f"{_address(contexts[0].role)}/{_address(_full_path(contexts[0]))}/"
    rules = [
        {
            "id": row["rule"],
            "shortDescription": {"text": row["short"]},
            "fullDescription": {"text": row["full"]},
            "help": {"text": row["full"]},
            "defaultConfiguration": {"level": "warning"},
            "properties": {"tags": ["security", "iam"]},
        }
        for row in table("sarif_rules", __package__ or "")
    ]
    run = {
        "tool": {
            "driver": {"name": "leastpriv-action", "semanticVersion": __version__, "rules": rules}
        },
        "automationDetails": {"id": category},
        "originalUriBaseIds": _uri_bases(contexts),
        "columnKind": "unicodeCodePoints",
        "results": sarif_results[:_MOST_RESULTS],
    }
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _uri_bases(contexts: Sequence[ReportContext]) -> Mapping[str, object]:
    """Returns what the locations start at: the repository of the run, and the other ones."""
    bases: dict[str, object] = {_ROOT: {"description": {"text": "The root of the repository"}}}
    for context in contexts:
        repository = context.other_repository
        if not repository:
            continue
        base: dict[str, object] = {"description": {"text": f"The repository {repository}"}}
        if context.file_url:
            base["uri"] = context.file_url.removesuffix(_address(context.policy_path))
        bases[repository] = base
    return bases


def _full_path(context: ReportContext) -> str:
    """Returns the path of the policy file, with its repository where that is not the run's."""
    if context.other_repository:
        return f"{context.other_repository}/{context.policy_path}"
    return context.policy_path


def _address(path: str) -> str:
    return quote(path, errors="replace")


def _results(context: ReportContext) -> Iterator[Mapping[str, object]]:
    """Yields the results for SARIF: an unused statement, else each change that narrows."""
    committed = context.proposal.committed
    if committed is None:
        return
    unused = unused_statements(context)
    for changes in unused.values():
        first = changes[0]
        name = f"statement {first.sid}" if first.sid else "a statement"
        sentence = (
            f"Every action of {name} is granted, and {context.role} has not used any in"
            f" {evidence_span(context.evidence)}:"
            f" {listed((change.action for change in changes), _MOST_NAMED)}."
        )
        fingerprint = entry_id(
            "\n".join(sorted(change.action for change in changes)), first.sid, first.resources
        )
        yield _result("unused-statement", sentence, context, first.line, fingerprint)
    for change in context.proposal.changes:
        if change.kind is not ChangeKind.ADD and change.statement not in unused:
            line = committed.line_of_entry(change.statement, change.action)
            fingerprint = entry_id(change.action, change.sid, change.resources)
            yield _result(*_rule_and_sentence(change, context), context, line, fingerprint)


def unused_statements(context: ReportContext) -> Mapping[int, Sequence[Change]]:
    """Returns the statements of several entries of which the proposal removes every one, with their
    changes.
    """
    statements = context.proposal.committed.statements if context.proposal.committed else ()
    removed = grouped([(change.statement, change) for change in context.changes(ChangeKind.REMOVE)])
    return {
        index: changes
        for index, changes in removed.items()
        if len(changes) == len(statements[index].actions) > 1
    }


def _result(
    rule: str, sentence: str, context: ReportContext, line: int, fingerprint: str
) -> Mapping[str, object]:
    """Returns one result of SARIF at a line of the policy file."""
    sarif_place = {
        "artifactLocation": {
            "uri": _address(context.policy_path),
            "uriBaseId": context.other_repository or _ROOT,
        },
        "region": {"startLine": line},
    }
    if context.other_repository:
        sentence = f"{context.other_repository}: {sentence}"
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", plain(sentence, 2_000))
    return {
        "ruleId": rule,
        "ruleIndex": [row["rule"] for row in table("sarif_rules", __package__ or "")].index(rule),
        "message": {"text": escaped.replace("{", "{{").replace("}", "}}")},
        "locations": [{"physicalLocation": sarif_place}],
        "partialFingerprints": {"leastprivChange/v1": fingerprint},
    }


def _rule_and_sentence(change: Change, context: ReportContext) -> tuple[str, str]:
    """Returns the rule of SARIF and the sentence for a change: `unused-entry` and why it is one."""
    action, role, span_words = change.action, context.role, f"in {evidence_span(context.evidence)}"
    if change.kind is ChangeKind.REMOVE:
        return "unused-entry", f"{action} is granted, and {role} has not used it {span_words}."
    if change.restricted_to:
        resources = listed(change.restricted_to, _MOST_NAMED)
        return (
            "unused-resources",
            f"{action} is granted on every resource; {role} used it {span_words} on {resources}.",
        )
    return (
        "unused-in-wildcard",
        (
            f"{action} grants {plural(change.granted, 'action')}; {role} used {len(change.used):,}"
            f" of them {span_words}. Not used: {listed(change.removed_actions, _MOST_NAMED)}."
            f" Removed actions: {len(change.removed_actions):,}{_without_record(change)}."
        ),
    )
