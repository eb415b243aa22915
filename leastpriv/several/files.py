"""What a run of several targets leaves behind: a folder for each, an index, first files, outputs and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from leastpriv import __version__
from leastpriv.errors import LeastprivError
from leastpriv.model import ChangeKind
from leastpriv.pull_request.publication import Operation, Published, pull_request_outputs
from leastpriv.report.chain import chained_value
from leastpriv.report.escape import json_text
from leastpriv.report.outputs import LONGEST_OUTPUT, removed_actions
from leastpriv.several.flow import Several
from leastpriv.several.target import Ended
from leastpriv.whole_file import write_whole
from leastpriv.written import write_files

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
        _write(folder / FIRST_FILES / path, content)
    index = {
        "schema": 1,
        "version": __version__,
        "targets": [
            {**value, "folder": name if each.result else ""}
            for each, name, value in zip(several.ended, names, values_of(several, codes), strict=True)
        ],
        "chain": chained_value(several.chained),
        "first_files": sorted(found.files) if found else [],
        "notes": list(several.notes),
    }
    _write(folder / "proposal.json", (json_text(index, indent=2) + "\n").encode())
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
                "has-changes": bool(subject and subject.draft.changes),
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


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise LeastprivError(f"The file {path} cannot be written: {error.strerror}.") from error
