"""The files that a run leaves, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from leastpriv.diff.json_patch import json_patch
from leastpriv.errors import InputError, LeastprivError
from leastpriv.pipeline import Result
from leastpriv.policy.hcl_text import hcl_of
from leastpriv.policy.location import Location
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.subject import Subject
from leastpriv.settings import Settings
from leastpriv.whole_file import write_whole

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
    if not subject.draft.document.editable:
        contents["policy.tf"] = hcl_of(subject.draft.document).encode()
    elif subject.draft.changes or subject.draft.committed:
        contents[_written_name(subject)] = subject.draft.content
        contents["patch.json"] = json_patch(subject.draft.committed, subject.draft.document).encode()
    if subject.further:
        contents |= {Path(path).name: content for path, content in subject.contents.items()}
    _write(folder, contents)
    return folder / "proposal.json"


def write_reports(subjects: Sequence[Subject], settings: Settings, inside: Callable[[str, str], Path]) -> None:
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
        from leastpriv.report.page.render import page

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
            write_whole(folder / name, content)
    except OSError as error:
        raise LeastprivError(f"The folder {folder} cannot be written: {error.strerror}.") from error


def _written_name(subject: Subject) -> str:
    """Name of the changed file: `policy.json` for JSON that is a policy, its own name for a file that holds one."""
    source = subject.draft.document.source
    return "policy.json" if source.format != "yaml" and not source.shell else Path(subject.policy_path).name
