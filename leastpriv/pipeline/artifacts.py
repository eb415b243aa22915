"""The files, outputs, messages and summary of a run; each file is written whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from leastpriv import __version__
from leastpriv.atomic_file import files_as_written, write_atomically
from leastpriv.aws.arns import has_wildcard
from leastpriv.config.settings import Mode, Settings
from leastpriv.diff.policy_diff import json_patch
from leastpriv.errors import InputError, LeastprivError
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.models import Basis, ChangeKind, GapKind
from leastpriv.permissions.patterns import action_covers, folded
from leastpriv.pipeline.context import (
    DRIFT_EXIT_CODE,
    PullRequestContent,
    RunResult,
    Target,
    TargetResult,
)
from leastpriv.pipeline.publish import target_row
from leastpriv.policy.size import session_policy
from leastpriv.policy.source import Location
from leastpriv.pull_request.models import (
    PublishResult,
    PullRequestOperation,
    pull_request_outputs,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings, finding_sentence, summary_section
from leastpriv.report.escalation import path_sentence
from leastpriv.report.escape import json_text, prose
from leastpriv.report.phrases import codes, listed, plural
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.role_chain import role_chain_value
from leastpriv.report.targets import summary, target_figures

_OWN_NAMES = (
    "boundary.json",
    "policy.json",
    "proposal.json",
    "patch.json",
    "pull-request.md",
    "policy.tf",
)


def write_files(content: PullRequestContent, folder: Path) -> Path:
    """Writes the files of a proposal, each whole or not at all, and removes those of an earlier one
    that it lacks.

    A file that a person changed remains, and each file in the folder of the policy. Returns the
    path of `proposal.json`. Raises LeastprivError where the folder cannot be written.
    """
    contents = files_of(content)
    earlier: Sequence[Path] = ()
    if folder.resolve() != Path(content.context.policy_path).resolve().parent:
        with suppress(OSError, ValueError, KeyError, TypeError):
            index = json.loads((folder / "proposal.json").read_bytes())
            earlier = files_as_written(folder, dict(index["files"]))
    _write(folder, contents)
    for file in earlier:
        if file.name not in contents:
            file.unlink()
    return folder / "proposal.json"


def files_of(content: PullRequestContent) -> Mapping[str, bytes]:
    """Makes `policy.json`, `proposal.json`, `patch.json` and `pull-request.md`, by their names.

    A split policy is under the names of its files as well; `policy.tf` is the text to copy where no
    patch applies.
    """
    context = content.context
    contents = {"pull-request.md": f"# {content.title}\n\n{content.body}".encode()}
    contents |= _policy_files(context)
    if context.further:
        contents |= {Path(path).name: text for path, text in context.contents.items()}
    if context.boundary and context.boundary.content:
        contents["boundary.json"] = context.boundary.content
    digests = {name: sha256(text).hexdigest() for name, text in sorted(contents.items())}
    contents["proposal.json"] = proposal_json(
        context, content.title, content.body, digests
    ).encode()
    return contents


def _policy_files(context: ReportContext) -> dict[str, bytes]:
    """Returns the proposed policy file and its patch, or the text to copy into it."""
    proposal = context.proposal
    contents: dict[str, bytes] = {}
    if proposal.to_paste and proposal.committed:
        from leastpriv.proposal.edit_plan import text_to_paste

        contents["policy.tf"] = text_to_paste(proposal.committed, proposal.to_paste).encode()
    if not proposal.document.editable:
        from leastpriv.policy.hcl_text import policy_hcl

        contents["policy.tf"] = policy_hcl(proposal.document).encode()
        return contents
    if not proposal.changes and not proposal.committed:
        return contents
    source = proposal.document.source
    is_whole = source.format == "json" and not source.embedded
    name = "policy.json" if is_whole else Path(context.policy_path).name
    contents[name] = proposal.content
    if source.format != "hcl":
        contents["patch.json"] = json_patch(proposal.committed, proposal.document).encode()
    return contents


def write_reports(
    result: RunResult, settings: Settings, inside: Callable[[str, str], Path]
) -> None:
    """Writes the SARIF file, the page and the text of a merge request where the settings name
    them; `inside` returns the path of an input's value.

    Raises InputError for a path that leads where it must not, LeastprivError where a file cannot be
    written.
    """
    if settings.sarif_file:
        from leastpriv.report.line_findings import sarif

        path = inside(settings.sarif_file, "sarif-file")
        _write(path.parent, {path.name: sarif(result.contexts).encode()})
    if settings.page_file:
        from leastpriv.report.html import page

        path = inside(settings.page_file, "page-file")
        _write(
            path.parent,
            {
                path.name: page(
                    [target_row(target_result) for target_result in result.targets]
                ).encode()
            },
        )
    if settings.body_file:
        path = inside(settings.body_file, "body-file")
        contents = [
            target_result.content for target_result in result.targets if target_result.content
        ]
        texts = [content.body for content in contents]
        if not result.single:
            texts = [f"# {content.title}\n\n{content.body}" for content in contents]
        _write(path.parent, {path.name: "\n\n".join(texts).encode()})


def check_report_files(
    settings: Settings,
    inside: Callable[[str, str], Path],
    labels: Mapping[str, str],
    folder: str | None = None,
) -> None:
    """Raises InputError for a report file that is a folder, a device, a link, a policy, or another
    file of the run.

    A report replaces the file of its name, also a device or the link `/dev/stdout`. `labels`: how
    messages name an input, where not as in a step; `folder`: that of `write_result`.
    """
    read = [
        Location.of(name).path
        for name in (settings.policy_file, *settings.attached_files, settings.trust_policy)
    ]
    policies = [
        path for path in (inside(name, "policy-file") for name in read if name) if path.is_file()
    ]
    reports = (
        (settings.sarif_file, "sarif-file"),
        (settings.page_file, "page-file"),
        (settings.body_file, "body-file"),
    )
    for value, name in reports:
        if not value:
            continue
        path, label = inside(value, name), labels.get(name, f"The input {name}")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(
                f"{label} is {value!r}, which is a folder, a link or a device: name a file."
            )
        if path.is_file() and any(path.samefile(policy) for policy in policies):
            raise InputError(
                f"{label} is {value!r}, a policy that the run reads: write it to a separate file."
            )
        if folder and path.name in _OWN_NAMES and path.parent.resolve() == Path(folder).resolve():
            raise InputError(
                f"{label} is {value!r}, which the run itself writes: write it to a separate file."
            )


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        for name, content in contents.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise LeastprivError(f"The folder {folder} cannot be written: {error.strerror}.") from error


_OPERATIONS = (
    PullRequestOperation.CREATED,
    PullRequestOperation.UPDATED,
    PullRequestOperation.CLOSED,
)
FIRST_FILES = "first-files"


def write_result(
    result: RunResult, folder: Path, codes: Sequence[int], *, has_files: bool = False
) -> Path:
    """Writes the files of the one target; of several, a folder for each, first files and the index
    `proposal.json`.

    Args:
        result: The result of the run.
        folder: Where the files are written.
        codes: The exit codes of the targets.
        has_files: Whether the files of these targets are there already, as before publishing.

    Returns:
        The path of `proposal.json`.

    Raises:
        LeastprivError: the folder cannot be written.
    """
    if result.single and result.single.content:
        if has_files:
            return folder / "proposal.json"
        return write_files(result.single.content, folder)
    folders = _folders_of(result)
    if not has_files:
        for target_result, name in zip(result.targets, folders, strict=True):
            if target_result.content:
                write_files(target_result.content, folder / name)
    first_files = result.first_files
    _write(folder / FIRST_FILES, first_files.files if first_files else {})
    values = _within(target_values(result, codes), LONGEST_INDEX)
    index = {
        "schema": 1,
        "version": __version__,
        "targets": [
            {**value, "folder": name if each.content else ""}
            for each, name, value in zip(result.targets, folders, values, strict=True)
        ],
        "chain": role_chain_value(result.chain),
        "first_files": sorted(first_files.files) if first_files else [],
        "notes": list(result.notes),
    }
    _write(folder, {"proposal.json": (_index_text(index) + "\n").encode()})
    return folder / "proposal.json"


def _folders_of(result: RunResult) -> list[str]:
    """Returns the name of each target's folder; two never differ in their letter case alone."""
    targets = [target_result.target for target_result in result.targets]
    accounts = {target.settings.principal.account for target in targets}
    folder_by_lower_case: dict[str, str] = {}
    for target in targets:
        is_short = len(accounts) == 1 or target.settings.spans_accounts
        names = _folder_names(target, is_short=is_short)
        free = next(name for name in names if name.lower() not in folder_by_lower_case)
        folder_by_lower_case[free.lower()] = free
    return list(folder_by_lower_case.values())


def _folder_names(target: Target, *, is_short: bool) -> Iterator[str]:
    """Yields the names that the folder of a target may have, without end; `is_short`: the first
    lacks the account.
    """
    name = target.settings.principal.name
    if name.startswith("."):
        # IAM takes names of dots alone, which are no names of folders.
        name = f"_{name}"
    if is_short:
        yield name
    with_account = f"{target.lead.account}-{name}"
    yield with_account
    for number in count(2):
        yield f"{with_account}-{number}"


def _index_text(index: Mapping[str, Any]) -> str:
    """Returns the index of a run as JSON with one target a line: it may have hundreds."""
    lines = []
    for key, value in index.items():
        text = json_text(value)
        if key == "targets":
            text = "[\n" + ",\n".join(f"    {json_text(row)}" for row in value) + "\n  ]"
        lines.append(f"  {json_text(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"


def target_values(result: RunResult, codes: Sequence[int]) -> list[dict[str, Any]]:
    """Returns each target as in the output `targets`."""
    values: list[dict[str, Any]] = []
    for target_result, code in zip(result.targets, codes, strict=True):
        context = target_result.context
        failure = target_result.failure_text
        values.append(
            {
                "role-arn": target_result.target.shown_role,
                "account": target_result.target.shown_accounts,
                "users": list(target_result.target.users),
                "policy-file": target_result.target.policy_name,
                "has-changes": bool(context and context.proposal.changes),
                "added-actions": (
                    sorted({change.action for change in context.changes(ChangeKind.ADD)})
                    if context
                    else []
                ),
                "removed-actions": removed_actions(context) if context else [],
                "title": target_result.content.title if target_result.content else "",
                "exit-code": code,
                "failure": failure,
                **target_figures(context),
                **pull_request_outputs(target_result.published),
            }
        )
    return values


def outputs_of(result: RunResult, proposal_file: str, codes: Sequence[int]) -> dict[str, str]:
    """Returns the step's outputs: of all targets together, and `targets` for each.

    Lists are JSON, which no name can break. Several pull requests are one a line, each once.
    """
    values = target_values(result, codes)
    outputs = {
        "has-changes": "true" if any(value["has-changes"] for value in values) else "false",
        "added-actions": json_text(_union(values, "added-actions")),
        "removed-actions": json_text(_union(values, "removed-actions")),
        "policy": "",
        "inline-session-policy": "",
        "proposal-file": proposal_file,
    }
    if result.single and result.single.context:
        proposal = result.single.context.proposal
        if proposal.changes or proposal.committed:
            text = proposal.document.text.removeprefix("\ufeff")
            outputs["policy"] = text if len(text.encode()) <= LONGEST_OUTPUT else ""
            outputs["inline-session-policy"] = _session_policy(result.single.context)
        return {**outputs, **pull_request_outputs(result.single.published)}
    outputs["targets"] = json_text(_within(values, LONGEST_OUTPUT))
    published = [target_result.published for target_result in result.targets]
    if result.first_files:
        published.append(result.first_files.published)
    # Pull requests of two repositories may have one branch name.
    pulls = {(pull.branch, pull.url): pull for pull in published if pull}
    return {**outputs, **_joined_outputs(list(pulls.values()))}


def _joined_outputs(pulls: Sequence[PublishResult]) -> dict[str, str]:
    """Returns the outputs of several pull requests, one a line, and the most important operation
    of all.
    """
    outputs_of_pulls = list(map(pull_request_outputs, pulls))
    joined: dict[str, str] = {}
    for name in pull_request_outputs(None):
        texts = [outputs[name] for outputs in outputs_of_pulls]
        joined[name] = "\n".join(filter(None, texts))
    operations = {pull.operation for pull in pulls}
    first = (operation for operation in _OPERATIONS if operation in operations)
    joined["pull-request-operation"] = next(first, PullRequestOperation.NONE).value
    return joined


def _within(values: list[dict[str, Any]], longest: int) -> list[dict[str, Any]]:
    """Returns the targets without their actions, which each folder has, where all are longer."""
    if len(json_text(values)) <= longest:
        return values
    return [{**value, "added-actions": [], "removed-actions": []} for value in values]


def _union(values: Sequence[dict[str, Any]], name: str) -> list[str]:
    return sorted({str(action) for value in values for action in value[name]})


_PLACEHOLDER = re.compile(r"\$\{(?![a-zA-Z0-9-]+:[^:]|[*?$]\})|<[^<>]*>|\{\{")
"""A placeholder of a tool; AWS's own variables have the form `${aws:username}`, or are `${*}`."""
LONGEST_INDEX = 250_000
"""Bytes of the targets in the index of a run: 500 targets have one of less than 500 kB."""
LONGEST_OUTPUT = 500_000
"""Bytes. A job's outputs are at most 1 MB together (docs.github.com, "Workflow syntax",
jobs.<id>.outputs, 2026-11).
"""


def _session_policy(context: ReportContext) -> str:
    """All that the role would be allowed under the proposal, for a rehearsal; empty if AWS would
    reject it.

    A session policy denies all that it does not allow, so it includes the attached policies.
    """
    text = session_policy((*context.proposal.documents, *context.attached_documents))
    statements = json.loads(text)["Statement"] if text else ()
    return text if all(map(_is_without_placeholders, statements)) else ""


def _is_without_placeholders(statement: Mapping[str, Any]) -> bool:
    """Whether a statement has no function or placeholder of a template, which AWS accepts none
    of.
    """
    for key in ("Action", "NotAction", "Resource", "NotResource"):
        value = statement.get(key, [])
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str) or _PLACEHOLDER.search(entry):
                return False
    return True


def removed_actions(context: ReportContext) -> list[str]:
    """Actions that an entry granted and no entry of the proposal grants, sorted."""
    no_longer_granted: set[str] = set()
    for change in context.proposal.changes:
        no_longer_granted.update(change.removed_actions)
    allows = [
        statement
        for statement in context.proposal.document.statements
        if statement.effect == "Allow"
    ]
    entries = {entry for statement in allows for entry in statement.actions}
    patterns = [entry for entry in entries if has_wildcard(entry)]
    names = {folded(entry) for entry in entries}
    removed: list[str] = []
    for action in sorted(no_longer_granted):
        if folded(action) in names:
            continue
        if not any(action_covers(pattern, action) for pattern in patterns):
            removed.append(action)
    return removed


_MOST_PATHS = 3


def report_published(result: RunResult, console: Console) -> None:
    """Logs a line about the branch and the pull request of each target."""
    for target_result in _without_repeated_failures(result):
        published = target_result.published
        if published:
            at_commit = f" at {published.head_sha[:12]}" if published.head_sha else ""
            pull = f", pull request {published.url}" if published.url else ""
            reason = f": {published.reason}" if published.reason else ""
            console.log(f"Branch {published.branch} {published.operation}{at_commit}{pull}{reason}")


def report_failures(result: RunResult, console: Console) -> None:
    """Reports why the exit code of a target is not 0; the failure of a shared pull request once."""
    for target_result in _without_repeated_failures(result):
        content = target_result.content
        if target_result.unread_users:
            console.error(target_result.unread_users)
        if content is None:
            console.error(f"{target_result.target.shown_role}: {target_result.failure}")
        elif target_result.published and target_result.published.failure:
            console.error(
                f"{target_result.published.failure} {target_result.published.manual_url}".rstrip()
            )
        elif target_result.lacks_calls:
            console.error(content.context.missing_calls)
        elif target_result.exit_code == DRIFT_EXIT_CODE:
            if context_findings(content.context):
                difference = difference_sentence(content.context)
                console.error(f"{difference} ({content.title}): exit code {DRIFT_EXIT_CODE}.")
            report_escalation(target_result, console)


def run_notes(result: RunResult) -> list[str]:
    """Returns sentences about the whole run, and about a usage history that was not saved."""
    errors = {
        target_result.context.missing_calls
        for target_result in result.targets
        if target_result.context and target_result.lacks_calls
    }
    errors.update(target_result.unread_users for target_result in result.targets)
    notes = [note for note in result.notes if note not in errors]
    return [
        *notes,
        *(target_result.unsaved for target_result in result.targets if target_result.unsaved),
    ]


def damage_notes(result: RunResult) -> list[str]:
    """Returns a sentence that names the files which could not be read, each once."""
    gaps = [
        gap.detail
        for context in result.contexts
        for gap in context.evidence.gaps
        if gap.kind is GapKind.UNREADABLE_FILE
    ]
    if not gaps:
        return []
    files = list(dict.fromkeys(gaps))
    several = plural(len(files), "file of the trail", "files of the trail")
    return [f"{several} could not be read, so nothing is removed for it: {listed(files, 3)}."]


def run_summary(result: RunResult, settings: Settings) -> str:
    """Returns the summary of the run in Markdown, with its pull requests."""
    if result.single:
        return _summary_of_one(result.single)
    rows = [target_row(target_result) for target_result in result.targets]
    text = summary(rows, result.chain, result.notes, drift=settings.mode is Mode.CHECK)
    first = first_files_section(result)
    return f"{text}\n{first}\n" if first else text


def _summary_of_one(result: TargetResult) -> str:
    """Returns the summary of a run of one target; empty where it has no proposal."""
    content = result.content
    if content is None:
        return ""
    paragraphs = [f"## {content.title}"]
    if result.published:
        paragraphs.append(_published_paragraph(result.published))
    if content.context.missing_calls:
        paragraphs.append(f"> **No call was checked.** {prose(content.context.missing_calls)}")
    section = drift_section(content.context, result.target.settings.mode)
    return "\n\n".join([*paragraphs, f"{section}{content.body}"])


def _published_paragraph(published: PublishResult) -> str:
    """Returns what publishing did, in Markdown."""
    if published.failure:
        by_hand = ""
        if published.manual_url:
            by_hand = f" [Open it yourself]({published.manual_url})."
        return f"> **Not published.** {prose(published.failure)}{by_hand}"
    pull = "Pull request"
    if published.url:
        pull = f"Pull request [#{published.number}]({published.url})"
    reason = f" {prose(published.reason)}" if published.reason else ""
    return f"{pull}: {published.operation}.{reason}"


def first_files_section(result: RunResult) -> str:
    """Returns the list of first policy files in Markdown; empty without one."""
    first_files = result.first_files
    if not (first_files and first_files.files):
        return ""
    first = first_files.published
    in_pull = f" in pull request [#{first.number}]({first.url})" if first and first.url else ""
    return f"## First files{in_pull}\n\n{codes(sorted(first_files.files), 60)}"


def _without_repeated_failures(result: RunResult) -> Iterator[TargetResult]:
    """Yields the targets; of those whose shared pull request failed, the first."""
    failed: set[str] = set()
    for target_result in result.targets:
        if target_result.content and target_result.published and target_result.published.failure:
            if target_result.published.branch in failed:
                continue
            failed.add(target_result.published.branch)
        yield target_result


def annotate_drift(context: ReportContext, console: Console, limit: int | None = None) -> None:
    """Warns of each finding at its line; of more than `limit`, the last warning says how many
    (None: all).
    """
    findings = context_findings(context)
    shown_findings = findings if limit is None or len(findings) <= limit else findings[: limit - 1]
    for finding in shown_findings:
        _annotate(
            console.warning, context, finding_sentence(finding, context), "Drift", finding.line
        )
    if len(shown_findings) < len(findings):
        console.warning(
            f"{len(findings) - len(shown_findings):,} more findings: see the job summary.",
            title="Drift",
        )


def annotate_changes(context: ReportContext, console: Console) -> None:
    """Annotates a proposal with at most one notice for removals and one warning for denied
    calls.
    """
    unused = [change for change in context.proposal.changes if change.line]
    if unused:
        entries = plural(len(unused), "entry grants", "entries grant")
        message = f"{entries} more than {context.role} used."
        _annotate(console.notice, context, message, "Not used", unused[0].line)
    usages = [usage for change in context.proposal.changes for usage in change.usages]
    denied = sum(
        usage.count for usage in usages if usage.denial and usage.need.basis is Basis.DENIED
    )
    if denied:
        text = f"{plural(denied, 'call was', 'calls were')} denied that the proposal would allow."
        _annotate(console.warning, context, text, "Denied")


class _Annotation(Protocol):
    """A level of annotations, such as `Console.warning`."""

    def __call__(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        title: str | None = None,
    ) -> None: ...


def _annotate(
    annotation: _Annotation,
    context: ReportContext,
    sentence: str,
    title: str,
    line: int | None = None,
) -> None:
    """Annotates the policy file. A sentence about a file of another repository names it, since an
    annotation names only files of the run's repository.
    """
    if not context.other_repository:
        annotation(sentence, file=context.policy_path, line=line, title=title)
        return
    place = f"{context.other_repository}: {context.policy_path}"
    if line:
        place += f":{line}"
    annotation(f"{place}: {sentence}", title=title)


def drift_section(context: ReportContext, mode: Mode) -> str:
    """Returns the table of findings in Markdown; empty in other modes, and without findings."""
    return summary_section(context_findings(context), context) if mode is Mode.CHECK else ""


def difference_sentence(context: ReportContext) -> str:
    """Returns how much policy and evidence differ, without a full stop."""
    findings = context_findings(context)
    return (
        f"{context.policy_file} does not match the evidence and the account:"
        f" {plural(len(findings), 'finding')}"
    )


def report_escalation(result: TargetResult, console: Console) -> None:
    """Reports the most dangerous paths of a policy that leads to administrator, where they fail the
    run.
    """
    context = result.context
    if context is None or not result.leads_to_administrator:
        return
    paths = [path for path in context.escalation.before if path.leads_to_administrator]
    path_words = listed(map(path_sentence, paths), _MOST_PATHS, "; ")
    console.error(
        f"{context.policy_file} lets an attacker become administrator by {path_words}: exit code"
        f" {DRIFT_EXIT_CODE}."
    )
