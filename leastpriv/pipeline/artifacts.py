"""The files that a run leaves, each whole or not at all.

What a run of several targets leaves behind: a folder for each, an index, first files, outputs and an exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from leastpriv import __version__
from leastpriv.atomic_file import write_atomically
from leastpriv.config.settings import Settings
from leastpriv.diff.json_patch import json_patch
from leastpriv.errors import InputError, LeastprivError
from leastpriv.models import ChangeKind
from leastpriv.pipeline.propose import Ended, Result
from leastpriv.pipeline.targets import Several
from leastpriv.policy.hcl_writer import policy_hcl
from leastpriv.policy.source import Location
from leastpriv.pull_request.models import Operation, Published, pull_request_outputs
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import json_text
from leastpriv.report.outputs import LONGEST_OUTPUT, removed_actions
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.role_chain import role_chain_value

_OWN_NAMES = ("policy.json", "proposal.json", "patch.json", "pull-request.md", "policy.tf")


def write_files(result: Result, folder: Path) -> Path:
    """Writes `policy.json`, `proposal.json`, `patch.json` and `pull-request.md`, each whole or not at all.

    A policy that was split is written under the names of its files as well. Of one in Terraform's own language, which
    no patch applies to, the text to copy is written as `policy.tf`.
    Returns the path of `proposal.json`. Raises LeastprivError where the folder cannot be written.
    """
    subject = result.subject
    contents = {
        "pull-request.md": f"# {result.title}\n\n{result.body}".encode(),
        "proposal.json": proposal_json(subject, result.title, result.body).encode(),
    }
    if not subject.proposal.document.editable:
        contents["policy.tf"] = policy_hcl(subject.proposal.document).encode()
    elif subject.proposal.changes or subject.proposal.committed:
        contents[_written_name(subject)] = subject.proposal.content
        contents["patch.json"] = json_patch(subject.proposal.committed, subject.proposal.document).encode()
    if subject.further:
        contents |= {Path(path).name: content for path, content in subject.contents.items()}
    _write(folder, contents)
    return folder / "proposal.json"


def write_reports(subjects: Sequence[ReportContext], settings: Settings, inside: Callable[[str, str], Path]) -> None:
    """Writes the SARIF file and the page where the settings name them; `inside` gives the path of an input's value.

    Raises:
        InputError: a path leads where it must not.
        LeastprivError: a file cannot be written.
    """
    if settings.sarif_file:
        from leastpriv.report.sarif import sarif

        path = inside(settings.sarif_file, "sarif-file")
        _write(path.parent, {path.name: sarif(subjects).encode()})
    if settings.page_file:
        from leastpriv.report.html import page

        path = inside(settings.page_file, "page-file")
        _write(path.parent, {path.name: page(subjects).encode()})


def check_report_files(
    settings: Settings, inside: Callable[[str, str], Path], labels: Mapping[str, str], folder: str | None = None
) -> None:
    """Refuses, before anything is read, files for which `write_reports` could only fail or do harm.

    A report takes the place of what has its name: of a device, or of the link `/dev/stdout`, nothing would be left.
    `labels` gives the words for an input where they are not those of a step; `folder` is the one of `write_files`.

    Raises:
        InputError: a report would go to a folder, a device or a link, over a policy that the run reads, or over a file
            that it writes.
    """
    read = [Location.of(name).path for name in (settings.policy_file, *settings.attached_files, settings.trust_policy)]
    policies = [path for path in (inside(name, "policy-file") for name in read if name) if path.is_file()]
    for value, name in ((settings.sarif_file, "sarif-file"), (settings.page_file, "page-file")):
        if not value:
            continue
        path, label = inside(value, name), labels.get(name, f"The input {name}")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"{label} is {value!r}, which is a folder, a link or a device: name a file.")
        if path.is_file() and any(path.samefile(policy) for policy in policies):
            raise InputError(f"{label} is {value!r}, a policy that the run reads: write it to a file of its own.")
        if folder and path.name in _OWN_NAMES and path.parent.resolve() == Path(folder).resolve():
            raise InputError(f"{label} is {value!r}, which the run itself writes: write it to a file of its own.")


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        for name, content in contents.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise LeastprivError(f"The folder {folder} cannot be written: {error.strerror}.") from error


def _written_name(subject: ReportContext) -> str:
    """Name of the changed file: `policy.json` for JSON that is a policy, its own name for a file that holds one."""
    source = subject.proposal.document.source
    return "policy.json" if source.format != "yaml" and not source.embedded else Path(subject.policy_path).name


_OPERATIONS = (Operation.CREATED, Operation.UPDATED, Operation.CLOSED)
FIRST_FILES = "first-files"


def write_all(several: Several, folder: Path, codes: Sequence[int]) -> Path:
    """Writes a folder for each target with its files, first files below `first-files`, and the index `proposal.json`.

    Returns the path of the index. Raises LeastprivError where the folder cannot be written.
    """
    names = _folders(several.ended)
    for each, name in zip(several.ended, names, strict=True):
        if each.result:
            write_files(each.result, folder / name)
    found = several.first_files
    for path, content in (found.files if found else {}).items():
        _write_targets(folder / FIRST_FILES / path, content)
    index = {
        "schema": 1,
        "version": __version__,
        "targets": [
            {**value, "folder": name if each.result else ""}
            for each, name, value in zip(several.ended, names, values_of(several, codes), strict=True)
        ],
        "chain": role_chain_value(several.chained),
        "first_files": sorted(found.files) if found else [],
        "notes": list(several.notes),
    }
    _write_targets(folder / "proposal.json", (json_text(index, indent=2) + "\n").encode())
    return folder / "proposal.json"


def values_of(several: Several, codes: Sequence[int]) -> list[dict[str, object]]:
    """Each target for machines, as in the output `targets`."""
    found: list[dict[str, object]] = []
    for each, code in zip(several.ended, codes, strict=True):
        subject = each.made.subject if each.made else None
        failure = str(each.failure) if each.failure else each.published.failure if each.published else ""
        found.append(
            {
                "role-arn": each.target.role,
                "policy-file": each.target.workplace.policy_name,
                "has-changes": bool(subject and subject.proposal.changes),
                "added-actions": sorted({one.action for one in subject.changes(ChangeKind.ADD)}) if subject else [],
                "removed-actions": removed_actions(subject) if subject else [],
                "title": each.made.title if each.made else "",
                "exit-code": code,
                "failure": failure,
                **pull_request_outputs(each.published),
            }
        )
    return found


def outputs_of(several: Several, proposal_file: str, codes: Sequence[int]) -> dict[str, str]:
    """The step's outputs: of all targets together, and `targets` for each by itself.

    Of pull requests that are several, there is one a line, each once.
    """
    values = values_of(several, codes)
    pulls = _distinct([each.published for each in several.ended] + [several.first_published])
    one = pull_request_outputs(pulls[0] if len(pulls) == 1 else None)
    operations = [pull.operation for pull in pulls]
    together = next((each for each in _OPERATIONS if each in operations), Operation.NONE)
    listed = {name: "\n".join(filter(None, (pull_request_outputs(pull)[name] for pull in pulls))) for name in one}
    return {
        "has-changes": "true" if any(value["has-changes"] for value in values) else "false",
        "added-actions": json_text(_union(values, "added-actions")),
        "removed-actions": json_text(_union(values, "removed-actions")),
        "policy": "",
        "inline-session-policy": "",
        "proposal-file": proposal_file,
        "targets": _within(values),
        **listed,
        "pull-request-operation": together.value,
    }


def _within(values: Sequence[dict[str, object]]) -> str:
    """The targets as JSON; past what a step may put out without their actions, which the index has."""
    text = json_text(values)
    if len(text) <= LONGEST_OUTPUT:
        return text
    return json_text([{**value, "added-actions": [], "removed-actions": []} for value in values])


def _union(values: Sequence[dict[str, object]], name: str) -> list[str]:
    found: set[str] = set()
    for value in values:
        actions = value[name]
        found.update(map(str, actions if isinstance(actions, list) else ()))
    return sorted(found)


def _distinct(published: Sequence[Published | None]) -> list[Published]:
    return list({each.branch: each for each in published if each}.values())


def _folders(ended: Sequence[Ended]) -> list[str]:
    """A folder's name for each target: the role's, where that is taken with the account before it."""
    given: list[str] = []
    for each in ended:
        principal = each.target.settings.principal
        # IAM takes names of dots alone, which are no names of folders.
        name = principal.name if not principal.name.startswith(".") else f"_{principal.name}"
        given.append(next(one for one in _names(name, principal.account) if one.lower() not in map(str.lower, given)))
    return given


def _names(name: str, account: str) -> Iterator[str]:
    yield from (name, f"{account}-{name}")
    number = 2
    while True:
        yield f"{account}-{name}-{number}"
        number += 1


def _write_targets(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise LeastprivError(f"The file {path} cannot be written: {error.strerror}.") from error
