"""Where the names in the settings lead: policies on disk, in a git repository or on GitHub, and trails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from leastpriv.errors import InputError, PolicyFileError
from leastpriv.model import Origin, Principal, Run
from leastpriv.policy.document import Document, parse
from leastpriv.policy.location import Location, is_hcl
from leastpriv.policy.quotas import continuations
from leastpriv.pull_request.lifecycle import Declined
from leastpriv.pull_request.publication import Place
from leastpriv.settings import Mode, Settings


class Historian(Protocol):
    """Who remembers what was declined, and where runs came from: GitHub."""

    def declined(self, branch: str) -> Sequence[Declined]:
        """Pull requests of the branch that a person closed without merging, newest first."""

    def origins(self, base: str) -> Callable[[Run], Origin]:
        """Asks where a run came from, judged against the branch `base` (empty: the default branch)."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the names in the settings lead."""

    policy_path: str
    """The policy file relative to the repository's root, with `/`."""
    folder: Path | None
    """Where policy files lie on disk; None: they are read in `place`."""
    trails: tuple[Path, ...]
    place: Place | None = None
    """Where the base branch is read and, in the mode pull-request, the proposal published."""
    historian: Historian | None = None
    pointer: str = ""
    """Where in the policy file the policy stands; empty where the file is the policy."""

    @property
    def policy_name(self) -> str:
        """The policy file with its pointer."""
        return str(Location(self.policy_path, self.pointer))


def committed_policy(workplace: Workplace, base: str, settings: Settings) -> Document | None:
    """The policy in the commit `base` where a branch is made from it, else the file on disk, if there is one.

    Raises:
        InputError: it cannot be read, or not be edited as the mode asks.
    """
    path, place, folder = workplace.policy_path, workplace.place, workplace.folder
    if place:
        raw = place.read(base, path)
    elif folder is not None and (folder / path).exists():
        raw = _read_file(folder / path, "policy-file")
    else:
        raw = None
    if raw is None and (workplace.pointer or is_hcl(path)):
        raise InputError(f"The input policy-file names a policy in {path!r}, which does not exist; create that first.")
    document = None if raw is None else read_policy(raw, workplace, settings.principal)
    if document and not document.editable and settings.mode is Mode.PULL_REQUEST:
        raise InputError(
            f"The input policy-file is {workplace.policy_name!r}: Terraform's own language is read, not edited. Set "
            "mode: report, which shows what to copy."
        )
    return document


def split_off(settings: Settings, workplace: Workplace, base: str) -> list[str]:
    """Files that an earlier proposal split off the policy file, where they are not named already."""

    def is_there(name: str) -> bool:
        if workplace.folder is not None or workplace.place is None:
            return ((workplace.folder or Path()) / name).exists()
        return workplace.place.read(base, name) is not None

    found = [] if workplace.pointer else continuations(workplace.policy_path, is_there)
    return [name for name in found if name not in settings.also_attached]


def read_attached(raw: bytes, name: str, principal: Principal) -> Document:
    """A policy of the role by its name, which may be `file#pointer`; the role says what its stack's account is.

    Raises:
        PolicyFileError: it is no identity-based policy.
    """
    location = Location.of(name)
    _, partition, *_, account, _ = principal.arn.split(":", 5)
    return parse(raw, location.path, location.pointer, {"AWS::Partition": partition, "AWS::AccountId": account})


def read_policy(raw: bytes, workplace: Workplace, principal: Principal) -> Document:
    """A policy that IAM would take: nothing can be said about one that nobody can have attached.

    Raises:
        PolicyFileError: it is no such policy.
    """
    document = read_attached(raw, workplace.policy_name, principal)
    for statement in document.statements:
        if not (statement.resources or statement.not_resources) or not (statement.actions or statement.not_actions):
            raise PolicyFileError(
                f"{document.where}: the statement on line {statement.line} lacks its Action or its Resource, which IAM "
                "refuses; add it."
            )
    return document


def read_other(workplace: Workplace, base: str, name: str, label: str) -> bytes:
    """Content of another policy file, on disk or in the base branch; `label` is the input that names it.

    Raises:
        InputError: it cannot be read.
    """
    if workplace.folder is not None or workplace.place is None:
        return _read_file((workplace.folder or Path()) / name, label)
    raw = workplace.place.read(base, name)
    if raw is None:
        raise InputError(f"The input {label} names {name!r}, which the base branch does not hold.")
    return raw


def _read_file(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The input {name} names {str(path)!r}, which cannot be read: {error.strerror}.") from error
