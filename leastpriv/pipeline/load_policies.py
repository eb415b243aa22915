"""Loads the policies of a target: the committed one, its history, other attached ones, and those in
the account.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.atomic_file import read_named
from leastpriv.aws.arns import account_of, parse_principal
from leastpriv.aws.errors import error_code
from leastpriv.aws.session import AwsSession
from leastpriv.config.inputs import letters_meant
from leastpriv.config.settings import Mode, Settings
from leastpriv.errors import (
    AwsError,
    AwsErrorKind,
    InputError,
    LeastprivError,
    PolicyFileError,
    did_you_mean,
)
from leastpriv.evidence.live_role import (
    LiveRole,
    read_live_role,
    read_managed_policy,
    services_without_sts_events,
)
from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind, Principal, Scope
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.fact_tables import table
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.infrastructure import Read, RepositoryVersion, read_plan
from leastpriv.pipeline.sources import describe_defect
from leastpriv.policy.document import Document, Statement, parse, problem_for_iam
from leastpriv.policy.evaluate import grants_every_service
from leastpriv.policy.size import numbered_file, numbered_files
from leastpriv.policy.source import Location, TerraformFolder, is_hcl

if TYPE_CHECKING:
    from leastpriv.aws_checks.rendered_policy import TrustPolicy
    from leastpriv.diff.compare import Drift
    from leastpriv.pipeline.context import Repository

_log = logging.getLogger(__name__)
_NO_FOLDER = TerraformFolder()


class AttachedPolicies(Struct, frozen=True):
    """The committed and the other policies of the role, and how the account and the policy file
    differ.
    """

    base: str = ""
    """The commit that they were read in; empty where they were read on disk."""
    committed: Document | None = None
    """None: no file exists yet."""
    names: tuple[str, ...] = ()
    """Their names in reports, in the order of `documents`."""
    documents: tuple[Document, ...] = ()
    live: LiveRole | None = None
    """None: the account was not read."""
    drift: Drift | None = None
    """None: the account was not asked, or there is no policy file yet."""
    gaps: tuple[Gap, ...] = ()
    assumed: tuple[str, ...] = ()
    """Files that no input names: their names continue the policy file's."""
    replaced: tuple[str, ...] = ()
    """Policies over all services (AdministratorAccess, PowerUserAccess), which the policy file is
    made to replace.
    """
    drift_of_others: tuple[str, ...] = ()
    """How further users of the policy in their accounts differ from the file, a sentence each."""

    @property
    def in_force(self) -> list[Document]:
        """The committed policy and the others."""
        return [*([self.committed] if self.committed else []), *self.documents]


def committed_policy(target: Target, base: str) -> Document | None:
    """Returns the policy in the commit `base`, or the file on disk where no branch is made; None:
    no file exists.
    """
    path = target.policy_path
    repository = target.base_repository
    folder = target.folder
    raw = None
    if repository:
        raw = repository.read(base, path)
    elif folder is not None and (folder / path).exists():
        raw = read_named(folder / path, "The input policy-file")
    if raw is None and (target.pointer or is_hcl(path)):
        raise InputError(
            f"The input policy-file names a policy in {path!r}, which does not exist; create that"
            " first."
        )
    document = None if raw is None else read_policy(raw, target, folder_of(target, base))
    if document and not document.editable and target.settings.mode is Mode.PULL_REQUEST:
        raise InputError(
            f"The input policy-file is {target.policy_name!r}: a data source in Terraform's JSON is"
            " read, not edited. Set mode: report, which shows what to copy."
        )
    return document


def check_file_name(target: Target, base: str, others: Iterable[str]) -> None:
    """Checks the name of a policy file that does not exist; `others` are files of other inputs and
    targets.

    Raises InputError where its name or that of a folder is a slip for that of a policy.
    """
    path = target.policy_path
    files = _PolicyFiles.of(target, base)
    other_paths = {Path(name).as_posix() for name in others}
    # The path of existing folders and of a file for whose names its own names are slips.
    meant_path = PurePosixPath(PurePosixPath(path).anchor)
    for part in PurePosixPath(path).relative_to(meant_path).parts:
        names = [
            name
            for name in files.names_in(meant_path)
            if (meant_path / name).as_posix() not in other_paths
        ]
        name = _meant_name(part, names)
        if not name:
            return
        meant_path /= name
    meant = meant_path.as_posix()
    raw = files.read(meant)
    if raw is not None and holds_policy(raw, meant, target.settings.principal):
        raise InputError(
            f"The input policy-file is {path!r}, which does not exist (did you mean {meant}?). To"
            " draft a policy in a file of such a name, commit the file with an empty list as"
            " Statement first."
        )


class _PolicyFiles(Struct, frozen=True):
    """The files among which a policy file is, in a commit or on disk."""

    repository: Repository | None
    """None: they are on disk."""
    base: str
    root: Path
    paths: tuple[PurePosixPath, ...]
    """All files of the commit."""

    @classmethod
    def of(cls, target: Target, base: str) -> _PolicyFiles:
        """The files of a target."""
        repository = target.base_repository
        paths: tuple[PurePosixPath, ...] = ()
        if repository:
            paths = tuple(PurePosixPath(path) for path in repository.paths(base, ""))
        return cls(repository, base, target.folder or Path(), paths)

    def names_in(self, folder: PurePosixPath) -> Collection[str]:
        """Returns the names in a folder."""
        if self.repository:
            depth = len(folder.parts)
            return {path.parts[depth] for path in self.paths if folder in path.parents}
        with suppress(OSError):
            return [entry.name for entry in (self.root / folder).iterdir()]
        return ()

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file; None where there is none."""
        if self.repository:
            return self.repository.read(self.base, path)
        return read_named(self.root / path, "The input policy-file")


def _meant_name(name: str, names: Sequence[str]) -> str:
    """Returns the existing name that a name is a slip for, or the name itself; empty if none."""
    if name == ".." or name in names:
        return name
    name_by_lower = {existing.lower(): existing for existing in names}
    lower = name.lower()
    return name_by_lower.get(letters_meant(lower, name_by_lower) or lower, "")


def folder_of(target: Target, base: str, path: str = "") -> TerraformFolder:
    """Returns what a Terraform file can refer to, in the commit `base` or on disk; by default the
    policy file.
    """
    repository = target.base_repository
    if repository:
        version = RepositoryVersion.of(repository, base)
    else:
        version = RepositoryVersion.on_disk(target.folder or Path())
    return version.folder(path or target.policy_path, read_plan(target))


def changed_at(target: Target, base: str) -> datetime | None:
    """Returns when the committed policy file was last changed; None where no history has it."""
    if target.past:
        return target.past.changed()
    repository = target.repository
    if repository is None:
        return None
    commit = _base_commit(target, repository, base)
    return repository.last_changed(commit, target.policy_path)


def policy_before(target: Target, base: str, time: datetime) -> Document | None:
    """Returns the committed policy as it was at a time, or the first one of a younger file; None:
    no history has it.
    """
    raw = None
    repository = target.repository
    if target.past:
        raw = target.past.at(time)
    elif repository:
        commit = _base_commit(target, repository, base)
        raw = repository.read_at(commit, target.policy_path, time)
    if raw is None:
        return None
    try:
        folder = folder_of(target, base)
        return read_attached(raw, target.policy_name, target.settings.principal, folder)
    except PolicyFileError:
        return None  # The file was no policy then: there is nothing to compare.


def _base_commit(target: Target, repository: Repository, base: str) -> str:
    """Returns the commit whose history has the policy file; `base`: that of the policy, if it was
    not read on disk.
    """
    if target.base_repository:
        return base
    return repository.branch_head(target.settings.base).commit


def holds_policy(raw: bytes, name: str, principal: Principal) -> bool:
    """Whether a file whose name continues the policy file is a policy."""
    with suppress(PolicyFileError):
        read_attached(raw, name, principal)
        return True
    return False


def continuations(location: Location, read: Read, principal: Principal) -> tuple[str, ...]:
    """Returns the names of the further files of a split policy, which `read` finds and which are
    policies.
    """

    def continues(name: str) -> bool:
        raw = read(name)
        return raw is not None and holds_policy(raw, name, principal)

    return () if location.pointer else tuple(numbered_files(location.path, continues))


def free_names(target: Target, base: str, wanted: int) -> tuple[str, ...]:
    """Returns that many names of new files in which the policy file can continue."""
    names = (numbered_file(target.policy_path, number) for number in count(2))
    return tuple(islice((name for name in names if not file_exists(target, base, name)), wanted))


def read_attached(
    raw: bytes,
    name: str,
    principal: Principal,
    folder: TerraformFolder = _NO_FOLDER,
    region: str = "",
) -> Document:
    """Parses a policy of the role; its name may be `file#pointer`, its stack is in the account of
    the role, and in `region` if that is known.

    Of a Terraform file without an address it reads all policies that the file's folder attaches to
    the role. Raises PolicyFileError where it is no identity-based policy.
    """
    location = Location.of(name)
    values = stack_values(principal)
    if region:
        values["AWS::Region"] = region
    pointer = location.pointer
    if is_hcl(location.path) and not pointer:
        from leastpriv.policy.hcl import attached_policies as find_attached

        text = raw.decode("utf-8", "replace")
        pointer = find_attached(text, location.path, principal.name, folder, values)
    return parse(raw, location.path, pointer, values, folder)


def stack_values(principal: Principal) -> dict[str, str]:
    """Returns the CloudFormation pseudo parameters of the role's account."""
    _, partition, *_, account, _ = principal.arn.split(":", 5)
    return {"AWS::Partition": partition, "AWS::AccountId": account}


def read_policy(raw: bytes, target: Target, folder: TerraformFolder = _NO_FOLDER) -> Document:
    """Parses the policy of a target, which IAM must accept: one that cannot be attached has no
    use.
    """
    document = read_attached(raw, target.policy_name, target.settings.principal, folder)
    if problem := problem_for_iam(document):
        raise PolicyFileError(f"{document.where}: {problem}.")
    return document


def read_other(target: Target, base: str, name: str, label: str) -> bytes:
    """Returns the content of another policy file where the committed policy is, on disk or in the
    commit `base`; `label` is the input that names it.
    """
    repository = target.base_repository
    if repository is None:
        return read_named((target.folder or Path()) / name, f"The input {label}")
    raw = repository.read(base, name)
    if raw is None:
        raise InputError(f"The input {label} names {name!r}, which is not on the base branch.")
    return raw


def named_trust_policies(target: Target, base: str) -> tuple[TrustPolicy, ...]:
    """Reads the trust policy that the settings name, in the commit `base` or on disk; raises
    InputError.
    """
    settings = target.settings
    if not settings.trust_policy:
        return ()
    from leastpriv.aws_checks.rendered_policy import read_trust_policy

    raw = read_other(target, base, Location.of(settings.trust_policy).path, "trust-policy")
    return (read_trust_policy(raw, settings.trust_policy, stack_values(settings.principal)),)


def file_exists(target: Target, base: str, name: str) -> bool:
    """Whether a file exists where the committed policy is: in the commit `base`, or on disk."""
    repository = target.base_repository
    if repository is None:
        return ((target.folder or Path()) / name).exists()
    return repository.read(base, name) is not None


def attached_policies(
    target: Target, base: str, committed: Document | None, aws: AwsSession | None
) -> AttachedPolicies:
    """Reads the other policies in the commit `base` or on disk and, where the run asks AWS, those
    in the account.
    """
    settings = target.settings

    def read(name: str) -> bytes | None:
        return (
            read_other(target, base, name, "policy-file")
            if file_exists(target, base, name)
            else None
        )

    # An earlier proposal split them off the policy file.
    found_files = continuations(
        Location(target.policy_path, target.pointer), read, settings.principal
    )
    assumed = tuple(name for name in found_files if name not in settings.attached_files)
    file_names = (*settings.attached_files, *assumed)
    paths = {name: Location.of(name).path for name in file_names}
    files = tuple(
        read_attached(
            read_other(target, base, path, "also-attached"),
            name,
            settings.principal,
            folder_of(target, base, path),
        )
        for name, path in paths.items()
    )
    attached = replace(
        managed_policies(settings, aws), base=base, committed=committed, assumed=assumed
    )
    attached = replace(
        attached, names=(*file_names, *attached.names), documents=(*files, *attached.documents)
    )
    if aws is None or not settings.asks_aws:
        return attached
    return with_live_role(attached, _live(aws, target.lead))


def with_further_users(
    found: AttachedPolicies, target: Target, session_of: Callable[[str], AwsSession | None]
) -> AttachedPolicies:
    """Adds how the further users of the policy differ from the file in their accounts.

    The first user is the lead, whose role was read. Of its other policies in the account those are
    left that every user has: a call of one user is not covered by a policy of another.
    """
    committed = found.committed
    if committed is None or found.live is None or len(target.users) < 2:
        return found
    names = (*target.settings.attached_files, *found.assumed)
    documents = zip(found.names, found.documents, strict=True)
    files = [document for name, document in documents if name in names]
    for arn in target.users[1:]:
        session = session_of(account_of(arn))
        if session is not None:
            live = _live(session, parse_principal(arn))
            found = _with_user(found, committed, files, arn, live)
    return found


def _with_user(
    found: AttachedPolicies,
    committed: Document,
    files: Sequence[Document],
    arn: str,
    live: LiveRole,
) -> AttachedPolicies:
    """Adds the difference of one further user, and leaves the policies that it shares.

    Args:
        found: The policies of the users before.
        committed: The policy file.
        files: The other policy files, which every user has.
        arn: ARN of the user.
        live: The user with its policies in the account.
    """
    from leastpriv.diff.compare import compare_with_live_role

    drift, others = compare_with_live_role(committed, files, live)
    policies_of_user = {(_policy_name(policy.name), _meaning(policy.document)) for policy in others}

    def is_shared(name: str, document: Document) -> bool:
        return (_policy_name(name), _meaning(document)) in policies_of_user

    kept = [
        (name, document)
        for name, document in zip(found.names, found.documents, strict=True)
        if document in files or is_shared(name, document)
    ]
    # A policy that could not be read is a gap, and no difference.
    sentence = drift_sentence(drift) if not live.gaps else ""
    drift_of_user = (f"{arn}: {sentence}",) if sentence else ()
    gaps = tuple(replace(gap, detail=f"{arn}: {gap.detail}") for gap in live.gaps)
    return replace(
        found,
        names=tuple(name for name, _ in kept),
        documents=tuple(document for _, document in kept),
        gaps=(*found.gaps, *gaps),
        drift_of_others=(*found.drift_of_others, *drift_of_user),
    )


def _policy_name(name: str) -> str:
    """Returns the name of a policy without its account: `policy/limits` for
    `arn:aws:iam::123456789012:policy/limits`; an inline policy has no account.
    """
    return name.split(":", 5)[5] if name.startswith("arn:") else name


def _meaning(document: Document) -> tuple[Statement, ...]:
    return tuple(statement.meaning for statement in document.statements)


def without_replaced(found: AttachedPolicies) -> AttachedPolicies:
    """Moves the policies over all services to `replaced`: with one of them attached no call needs
    the policy file.
    """
    named_documents = list(zip(found.names, found.documents, strict=True))
    replaced = tuple(
        name
        for name, document in named_documents
        if name not in found.assumed and grants_every_service(document)
    )
    documents = tuple(document for name, document in named_documents if name not in replaced)
    return replace(
        found,
        names=tuple(name for name in found.names if name not in replaced),
        documents=documents,
        replaced=replaced,
    )


def managed_policies(settings: Settings, session: AwsSession | None) -> AttachedPolicies:
    """Reads the managed policies that the inputs name by ARN; one that cannot be read is a gap.

    Raises InputError for a policy of AWS that AWS does not have.
    """
    names: list[str] = []
    documents: list[Document] = []
    gaps: list[Gap] = []
    for arn in settings.attached_arns:
        try:
            document = _managed_policy(arn, settings.principal.partition, session)
        except LeastprivError as error:
            _check_exists(arn, error)
            unchecked = _unchecked_name(arn)
            if unchecked:
                _log.warning(f"The input also-attached names {arn}: {unchecked}")
            reasons = [unchecked, str(error)] if unchecked else [str(error)]
            detail = f"{arn} (also-attached): {' '.join(reasons)}"
            gaps.append(Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), detail))
        else:
            names.append(arn)
            documents.append(document)
    return AttachedPolicies(names=tuple(names), documents=tuple(documents), gaps=tuple(gaps))


_OF_AWS = "::aws:policy/"
"""Before the name of a policy that AWS manages, in its ARN."""


def _managed_policy(arn: str, partition: str, session: AwsSession | None) -> Document:
    """Reads a managed policy in AWS, or one of AWS's in the table that is part of this program.

    Raises:
        LeastprivError: neither has it.
    """
    try:
        if session is None:
            raise AwsError("this run does not use AWS", AwsErrorKind.UNREACHABLE)
        return read_managed_policy(session.aws(), arn, home_region("iam", partition))
    except LeastprivError:
        for row in table("aws_managed"):
            if arn.endswith(f"{_OF_AWS}{row['policy']}"):
                return parse(row["document"].encode(), arn)
        raise


def _check_exists(arn: str, error: LeastprivError) -> None:
    """Raises InputError where AWS says that it has no such policy.

    A customer's policy may be created later, one of AWS's is misspelt.
    """
    if not isinstance(error, AwsError) or error_code(error) != "NoSuchEntity":
        return
    if _OF_AWS in arn:
        raise InputError(
            f"The input also-attached names {arn}, and AWS has no such policy{_similar_name(arn)}:"
            " correct the name."
        ) from error


def _unchecked_name(arn: str) -> str:
    """Returns, of a policy of AWS that no table has, that its name may be wrong; else nothing."""
    if _OF_AWS not in arn:
        return ""
    return f"it is not checked whether AWS has a policy of this name{_similar_name(arn)}."


def _similar_name(arn: str) -> str:
    """Returns ` (did you mean X?)` with the most similar name of a policy of AWS, or nothing."""
    name = arn.partition(_OF_AWS)[2]
    return did_you_mean(name, [row["policy"] for row in table("aws_managed")])


def _live(session: AwsSession, principal: Principal) -> LiveRole:
    """Reads the role in the account; a failure is a gap."""
    try:
        aws = session.aws()
        owner = aws.account()
        if owner == principal.account:
            return read_live_role(aws, principal)
        reason = (
            f"The credentials are of the account {owner}, so the other policies of the role cannot"
            " be read."
        )
    except LeastprivError as error:
        reason = f"The other policies of the role are not known: {error}"
    except Exception as error:
        reason = f"The other policies of the role are not known: {describe_defect(error)}."
    return LiveRole(principal.arn, gaps=(Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), reason),))


def with_live_role(found: AttachedPolicies, live: LiveRole) -> AttachedPolicies:
    """Adds the role in the account: how it differs from the file, and its other policies."""
    found = replace(found, live=live, gaps=(*found.gaps, *live.gaps))
    if found.committed is None:
        # A first draft replaces the policies in the account, so that it must not rest on them.
        return found
    from leastpriv.diff.compare import compare_with_live_role

    compared, attached = compare_with_live_role(found.committed, found.documents, live)
    if compared.differs:
        _log.info(
            f"The role in the account differs from the policy file: {drift_sentence(compared)}"
        )
    attached = tuple(policy for policy in attached if policy.name not in found.names)
    names = (*found.names, *(policy.name for policy in attached))
    return replace(
        found,
        drift=compared,
        names=names,
        documents=(*found.documents, *(policy.document for policy in attached)),
    )


def with_account_gaps(
    evidence: Evidence, found: AttachedPolicies, *, by_sessions: bool = False
) -> Evidence:
    """Adds the gaps of the account to the evidence, and how the account differs from the file.

    `by_sessions`: calls were looked up by the session names of logins in event history.
    """
    sentences = (drift_sentence(found.drift) if found.drift else "", *found.drift_of_others)
    differs = "; ".join(filter(None, sentences))
    unseen = services_without_sts_events(found.live.trust) if found.live and by_sessions else ()
    advice = (
        "and event history is not looked up by such sessions: name a trail in the input trails in"
        " its place"
    )
    details = (f"the role may be taken through {name}, {advice}" for name in unseen)
    hidden = (Gap(GapKind.SOURCE_FAILED, Scope(), detail) for detail in details)
    live = [policy.name for policy in found.live.policies] if found.live else []
    own_arns = tuple(
        dict.fromkeys(name for name in (*found.names, *live) if name.startswith("arn:"))
    )
    return replace(
        evidence,
        gaps=(*evidence.gaps, *found.gaps, *hidden),
        live_role_drift=differs,
        own_policies=own_arns,
    )


def drift_sentence(found: Drift) -> str:
    """Returns how the account differs from the file, in plain words; empty where both are equal."""
    parts = []
    if found.missing:
        parts.append("no policy of the role is like the file")
    if found.live_allows:
        parts.append(
            f"{found.counterpart} allows {' on '.join(found.live_allows)}, which the file does not"
        )
    if found.file_allows:
        parts.append(
            f"the file allows {' on '.join(found.file_allows)}, which {found.counterpart} does not"
        )
    if found.live_denies:
        parts.append(
            f"{found.counterpart} denies {' on '.join(found.live_denies)}, which the file does not"
        )
    if found.file_denies:
        parts.append(
            f"the file denies {' on '.join(found.file_denies)}, which no policy in the account does"
        )
    parts.extend(
        f"no policy of the role is like {name} (also-attached)"
        for name in found.files_without_counterpart
    )
    return "; ".join(parts)
