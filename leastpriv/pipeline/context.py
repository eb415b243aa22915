"""Where the names in the settings lead: policies on disk, in a git repository or on GitHub, and trails.

Job logs that the settings name -> what they tell, and who can decode what EC2 encoded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from leastpriv.config.settings import Mode, Settings
from leastpriv.errors import InputError, PolicyFileError, PullRequestError
from leastpriv.evidence.denials.encoded_message import NO_DECODER, Decoder, decode_with
from leastpriv.evidence.denials.job_logs import distinct, read_logs
from leastpriv.evidence.denials.logged_usage import Logs
from leastpriv.models import Gap, GapKind, Origin, Principal, Run, Scope
from leastpriv.pipeline.sources import Reach
from leastpriv.policy.document import Document, parse
from leastpriv.policy.size import numbered_file, numbered_files
from leastpriv.policy.source import Location, is_hcl
from leastpriv.pull_request.comment_commands import Said
from leastpriv.pull_request.git import LocalRepository
from leastpriv.pull_request.github.pull_requests import Closed
from leastpriv.pull_request.models import Place
from leastpriv.pull_request.state_store import Shelf
from leastpriv.report.phrases import plural

_log = logging.getLogger(__name__)


class OwnLogs(Protocol):
    """The logs of the workflow run that the program is a step of."""

    @property
    def run_id(self) -> str:
        """Its id."""

    def read(self) -> Logs:
        """What they tell; what cannot be had is a gap. Never raises."""


@dataclass(frozen=True, slots=True)
class JobLogs:
    """The job logs of one run of the program."""

    read_at: datetime
    """Stands for the time of a refusal whose line has none."""
    files: tuple[str, ...] = ()
    """Logs of any tool, folders of them, zip archives; `-` is standard input."""
    run: OwnLogs | None = None
    root: str = ""
    """What is left out of the names of files, for the reader: the workspace with a `/` behind it."""


def read_job_logs(job_logs: JobLogs) -> list[Logs]:
    """What the logs tell. Those of the workflow run end nothing: what of them cannot be had is a gap.

    Raises:
        InputError: a file that is named cannot be read.
    """
    found: list[Logs] = []
    if job_logs.files:
        denials, more = distinct(read_logs(job_logs.files, sys.stdin.buffer))
        cut = Gap(GapKind.UNREADABLE_LOG, Scope(), f"only the first {len(denials):,} refusals count")
        told = tuple(replace(one, file=one.file.removeprefix(job_logs.root)) for one in denials)
        found.append(Logs(told, (cut,) if more else ()))
        names = ", ".join(name.removeprefix(job_logs.root) for name in job_logs.files)
        _log.info(f"Read {names}: {plural(len(denials), 'refusal')}")
    if job_logs.run:
        own = job_logs.run.read()
        found.append(own)
        _log.info(f"Read the logs of workflow run {job_logs.run.run_id}: {plural(len(own.denials), 'refusal')}")
        for gap in own.gaps:
            _log.info(f"Not read: {gap.detail}")
    return found


def decoder_of(reach: Reach | None) -> Decoder:
    """Who decodes EC2's messages: AWS, asked for the first time when there is one; nobody out of reach of AWS."""
    return Decoder(lambda encoded: decode_with(reach.aws(), encoded)) if reach else NO_DECODER


class Historian(Protocol):
    """Who remembers what was declined, and where runs came from: GitHub."""

    def closed(self, branch: str) -> Sequence[Closed]:
        """Closed pull requests of the branch, newest first."""

    def said(self, branch: str, base: str) -> Sequence[Said]:
        """What people asked for in comments under pull requests of the branch."""

    def read(self, commit: str, path: str) -> bytes | None:
        """Content of a file in a commit; None where there is none."""

    def parent_of(self, commit: str) -> str:
        """The first parent of a commit; empty where it has none."""

    def say_once(self, number: int, marker: str, comment: str, *, anew: bool) -> str:
        """Writes or edits the one comment with a marker; gives its address."""

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
    """Those that lie in folders."""
    place: Place | None = None
    """Where the base branch is read and, in the mode pull-request, the proposal published."""
    historian: Historian | None = None
    job_logs: JobLogs | None = None
    """Logs whose refusals are read; None: none."""
    reach: Reach | None = None
    """What of AWS can be asked; None: nothing."""
    templates: tuple[Path, ...] = ()
    """CloudFormation templates whose resource types are asked what they need; each is there."""
    pointer: str = ""
    """Where in the policy file the policy stands; empty where the file is the policy."""
    changed: datetime | None = None
    """When the policy file on disk was last changed, where that is known; of `place` it is asked."""
    shelf: Shelf | None = None
    """Where the memory of the role is kept; None: nothing is remembered between runs."""
    remembers: bool = True
    """Whether what this run learns is kept; a token that cannot write only reads."""
    earlier: Callable[[datetime], bytes | None] | None = None
    """Gives the policy file on disk as it was at a time; of `place` it is asked."""
    chronicle: Place | None = None
    """Whose base branch tells the history of a policy file on disk instead."""

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


def changed_at(workplace: Workplace, base: str, settings: Settings) -> datetime | None:
    """When the committed policy file was last changed; None where nobody knows.

    Raises:
        PullRequestError: its history cannot be read.
    """
    told = _history_of(workplace, base, settings)
    return told[0].changed_at(told[1], workplace.policy_path) if told else workplace.changed


def _history_of(workplace: Workplace, base: str, settings: Settings) -> tuple[Place, str] | None:
    """Who tells the history of the policy file, and as of which commit."""
    if workplace.place:
        return workplace.place, base
    chronicle = workplace.chronicle
    return (chronicle, chronicle.head_of(settings.base)[1]) if chronicle else None


def policy_before(workplace: Workplace, base: str, settings: Settings, time: datetime) -> Document | None:
    """The committed policy as it was at a time, or at its first if it is younger; None where nobody knows.

    Raises:
        PullRequestError: the file's history cannot be read.
    """
    told = _history_of(workplace, base, settings)
    if told:
        raw = told[0].earlier(told[1], workplace.policy_path, time)
    else:
        raw = workplace.earlier(time) if workplace.earlier else None
    try:
        return read_attached(raw, workplace.policy_name, settings.principal) if raw is not None else None
    except PolicyFileError:
        return None  # it was no policy then: nothing to compare with


def earlier_on_disk(file: Path, time: datetime) -> bytes | None:
    """A file on disk as it was committed at a time, or at first; None where no repository tells."""
    root = repository_root(file)
    if root is None:
        return None
    try:
        repository = LocalRepository.open(root)
        head = repository.commit_at("HEAD")
        return repository.earlier(head, file.relative_to(root).as_posix(), time) if head else None
    except PullRequestError:
        return None


def changed_on_disk(file: Path) -> datetime | None:
    """When a file on disk was last changed: by its commit where it is as committed, else by the disk's own word."""
    root = repository_root(file)
    if root and (found := _committed_at(root, file)):
        return found
    return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.is_file() else None


def repository_root(file: Path) -> Path | None:
    """The root of the git repository around a file, if there is one."""
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def _committed_at(root: Path, file: Path) -> datetime | None:
    path = file.relative_to(root).as_posix()
    try:
        repository = LocalRepository.open(root)
        head = repository.commit_at("HEAD")
        if head is None or repository.read(head, path) != file.read_bytes():
            return None
        return repository.changed_at(head, path)
    except (PullRequestError, OSError):
        return None


def split_off(settings: Settings, workplace: Workplace, base: str) -> list[str]:
    """Files that an earlier proposal split off the policy file, judged by their names and by holding a policy."""

    def continues(name: str) -> bool:
        return _is_there(workplace, base, name) and holds_policy(
            read_other(workplace, base, name, "policy-file"), name, settings.principal
        )

    found = [] if workplace.pointer else numbered_files(workplace.policy_path, continues)
    return [name for name in found if name not in settings.attached_files]


def holds_policy(raw: bytes, name: str, principal: Principal) -> bool:
    """Whether a file that is named as a split leaves it is a policy."""
    try:
        read_attached(raw, name, principal)
    except PolicyFileError:
        return False
    return True


def free_names(workplace: Workplace, base: str, wanted: int) -> tuple[str, ...]:
    """Names of so many new files that the policy file can continue in: nobody has a file of that name."""
    names = (numbered_file(workplace.policy_path, number) for number in count(2))
    return tuple(islice((name for name in names if not _is_there(workplace, base, name)), wanted))


def _is_there(workplace: Workplace, base: str, name: str) -> bool:
    if workplace.folder is not None or workplace.place is None:
        return ((workplace.folder or Path()) / name).exists()
    return workplace.place.read(base, name) is not None


def read_attached(raw: bytes, name: str, principal: Principal) -> Document:
    """A policy of the role by its name, which may be `file#pointer`; the role says what its stack's account is.

    Raises:
        PolicyFileError: it is no identity-based policy.
    """
    location = Location.of(name)
    return parse(raw, location.path, location.pointer, stack_values(principal))


def stack_values(principal: Principal) -> dict[str, str]:
    """What a template calls the account of the role that its policies are for, by CloudFormation's names."""
    _, partition, *_, account, _ = principal.arn.split(":", 5)
    return {"AWS::Partition": partition, "AWS::AccountId": account}


def read_policy(raw: bytes, workplace: Workplace, principal: Principal) -> Document:
    """A policy that IAM would take: nothing can be said about one that nobody can have attached.

    Raises:
        PolicyFileError: it is no such policy.
    """
    document = read_attached(raw, workplace.policy_name, principal)
    for statement in document.statements:
        if not (statement.resources or statement.not_resources):
            raise PolicyFileError(
                f"{document.where}: the statement on line {statement.line} has no Resource, which IAM refuses; add it."
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
