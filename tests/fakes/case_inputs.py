"""Reads the inputs of a case besides its calls: AWS findings, usage history and declined pull
requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from leastpriv.aws.session import AwsSession
from leastpriv.evidence.history_file import LONGEST_FILE
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.evidence.models import (
    AccessReport,
    AwsFindings,
    DeclaredNeeds,
    GeneratedPolicy,
    LastAccess,
    ServiceAccess,
    SharedPolicy,
)
from leastpriv.models import Origin, Run, RunOrigin
from leastpriv.pipeline import propose
from leastpriv.pipeline.collect_evidence import RunEvidence, TargetEvidence
from leastpriv.pipeline.context import RunContext, Target
from leastpriv.pipeline.load_policies import AttachedPolicies, with_live_role
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import addition_id, fingerprint, removal_ids
from leastpriv.pull_request.git_repository import FileChange
from leastpriv.pull_request.github.logins import origin_without_github
from leastpriv.pull_request.lifecycle import (
    ClosedPullRequest,
    CommentCommand,
    MarkedPullRequest,
    OpenPullRequest,
    rejection_reason,
)
from leastpriv.pull_request.models import (
    BaseBranch,
    FolderStateStore,
    OriginLookup,
    Publication,
    PublishResult,
    TargetFiles,
)
from tests.fakes.past import KnownPast
from tests.fakes.replace import replace

MADE = datetime(2026, 11, 24, tzinfo=UTC)
"""When AWS was queried."""


def history_store(
    case: Mapping[str, Any], principal: str, policy_name: str, folder: Path
) -> FolderStateStore | None:
    """The usage history of the case, with declined changes; None: no history."""
    if not {"memory", "declined"} & case.keys():
        return None
    scope = fingerprint(f"{principal} {policy_name}", None, b"")
    declined = {
        str(each["pull"]): {
            "fingerprint": scope,
            "changes": [one for change in each["changes"] for one in _ids(change)],
            "additions": [
                {"action": change["add"], "resource": change["resource"]}
                for change in each["changes"]
                if "add" in change
            ],
            "by-commit": each.get("by-commit", False),
            "taken-back": False,
            "seen": f"{MADE:%Y-%m-%dT%H:%M:%SZ}",
        }
        for each in case.get("declined", ())
    }
    content = {
        "leastpriv-memory": 1,
        "principal": principal,
        "declined": declined,
        **case.get("memory", {}),
    }
    (folder / "memory.json").write_text(json.dumps(content), encoding="utf-8")
    return FolderStateStore(folder, "memory.json", LONGEST_FILE)


def with_commits(target: Target, case: Mapping[str, Any]) -> Target:
    """A target whose policy file has the commits of the case on its base branch."""
    commits = case["commits"]
    changes: list[FileChange] = []
    before: bytes | None = None
    for commit in commits:
        after = json.dumps(commit["policy"]).encode()
        scope = fingerprint(f"{target.role} {target.policy_name}", None, b"")
        change = FileChange(
            commit=commit["commit"],
            time=datetime.fromisoformat(commit["at"]),
            path=target.policy_path,
            before=before,
            after=after,
            fingerprint=scope if "proposal" in commit else "",
            number=commit.get("proposal", 0),
        )
        changes.insert(0, change)
        before = after
    elsewhere = {commit["commit"]: commit.get("adds-elsewhere", []) for commit in commits}
    past = target.past if isinstance(target.past, KnownPast) else KnownPast()
    return replace(target, past=replace(past, commits=changes, elsewhere=elsewhere))


def _ids(change: Mapping[str, Any]) -> list[str]:
    if "add" in change:
        return [addition_id(change["add"], change["resource"])]
    return removal_ids(change["entry"], change["resources"])


def reading(
    case: Mapping[str, Any], run: RunContext, target: Target
) -> Callable[[], TargetEvidence]:
    """Reads the case's calls with AWS's findings on their use."""

    def read() -> TargetEvidence:
        found = RunEvidence(run).of(target)
        return replace(
            found, evidence=replace(found.evidence, aws_findings=hints(case.get("aws", {})))
        )

    return read


def hints(told: Mapping[str, Any]) -> AwsFindings:
    """AWS's findings as values."""
    generated = told.get("generated-policy")
    grants = tuple(
        sorted((action, tuple(resources)) for action, resources in (generated or {}).items())
    )
    declared: dict[str, list[str]] = {}
    for kind, actions in told.get("declared", {}).items():
        for action in actions:
            declared.setdefault(action, []).append(kind)
    return AwsFindings(
        access=_access(told["last-accessed"]) if "last-accessed" in told else None,
        generated=GeneratedPolicy("job-1", None, None, True, grants)
        if generated is not None
        else None,
        declared=DeclaredNeeds(
            {action: tuple(sorted(kinds)) for action, kinds in declared.items()}
        ),
    )


def _access(told: Mapping[str, Any]) -> AccessReport:
    services = {
        name: ServiceAccess(
            name,
            _attempt(each.get("last")),
            {action.lower(): _attempt(time) for action, time in each.get("actions", {}).items()},
        )
        for name, each in told.items()
    }
    shared = [
        SharedPolicy(
            arn,
            name,
            {role: LastAccess(datetime.fromisoformat(time)) for role, time in others.items()},
        )
        for name, each in told.items()
        for arn, others in each.get("shared", {}).items()
    ]
    granted = {name: tuple(each["policies"]) for name, each in told.items() if "policies" in each}
    return AccessReport(MADE, services, granted, tuple(shared))


def _attempt(time: str | None) -> LastAccess | None:
    return LastAccess(datetime.fromisoformat(time)) if time else None


@dataclass(frozen=True)
class Reviews:
    """A repository that knows only which workflow runs were of reviewed code, and what people wrote
    under its open pull request.
    """

    trust: Mapping[str, str]
    """Session name of a run, or subject of its login -> `trusted` or `untrusted`."""
    comments: Sequence[str] = ()
    """Commands under the open pull request, `add ecr:PutImage`."""

    @property
    def github(self) -> Reviews:
        """The repository itself."""
        return self

    def read_ahead(
        self, base: str, targets: Sequence[TargetFiles], labels: Sequence[str] = ()
    ) -> None:
        """There is nothing to read."""

    @property
    def branches(self) -> Reviews:
        """The repository itself."""
        return self

    @property
    def pull_requests(self) -> Reviews:
        """The repository itself."""
        return self

    def branch_head(self, base: str) -> BaseBranch:
        """There is a branch without files."""
        return BaseBranch(base or "main", "0" * 40)

    def last_changed(self, commit: str, path: str) -> datetime | None:  # noqa: ARG002 - one protocol for all repositories
        """There is no file."""
        return None

    def read_at(self, commit: str, path: str, time: datetime) -> bytes | None:  # noqa: ARG002
        """There is no file."""
        return None

    def publish(self, publication: Publication, now: datetime) -> PublishResult:
        """Nothing is published."""
        raise NotImplementedError

    def closed(self, branch: str, base: str) -> Sequence[ClosedPullRequest]:  # noqa: ARG002
        """There is no pull request."""
        return ()

    def opened(self, branch: str, base: str) -> OpenPullRequest | None:  # noqa: ARG002
        """There is a pull request if the case has comments."""
        return OpenPullRequest(number=7, base="main", body="") if self.comments else None

    def opened_elsewhere(self) -> Sequence[MarkedPullRequest]:
        """There is no pull request."""
        return ()

    def closed_elsewhere(self, base: str, labels: tuple[str, ...]) -> Sequence[MarkedPullRequest]:  # noqa: ARG002
        """There is no pull request."""
        return ()

    def earlier_names(self, commit: str, path: str) -> Sequence[str]:  # noqa: ARG002
        """The file was not moved."""
        return ()

    def comment_commands(self, branch: str, base: str) -> Sequence[CommentCommand]:  # noqa: ARG002
        """The comments of the case, of one person, in order."""
        return [_command(text, number) for number, text in enumerate(self.comments, start=1)]

    def read(self, commit: str, path: str) -> bytes | None:  # noqa: ARG002
        """There is no file."""
        return None

    @property
    def full_name(self) -> str:
        """A name."""
        return "acme/orders"

    def messages_since(self, commit: str, path: str, time: datetime) -> Sequence[str]:  # noqa: ARG002
        """There is no commit."""
        return ()

    def parent_of(self, commit: str) -> str:  # noqa: ARG002
        """There is no commit."""
        return ""

    def upsert_comment(self, number: int, marker: str, comment: str, *, create: bool) -> str:
        """Posts no answer."""
        raise NotImplementedError

    def origin_lookup(self, base: str, reviewed_refs: tuple[str, ...] = ()) -> OriginLookup:
        """Origins of the runs as the case gives them, or as `base` and `reviewed_refs` name them."""
        refs = (*reviewed_refs, base or "main")

        def by_login(run: Run) -> RunOrigin | None:
            if run.identity is None:
                return None
            given = self.trust.get(run.identity.subject)
            if given:
                return _origin(given)
            return origin_without_github(run.identity, "", "", refs)

        def by_workflow_run(run: Run) -> RunOrigin:
            return by_login(run) or _origin(self.trust.get(run.session, "unknown"))

        return OriginLookup(by_login, by_workflow_run)


def _command(text: str, number: int) -> CommentCommand:
    verb, _, pattern = text.partition(" ")
    return CommentCommand(
        verb=verb,
        pattern=pattern,
        author="ann",
        created_at=MADE,
        comment_id=number,
        pull_request=7,
        rejection=rejection_reason(verb, pattern),
    )


def _origin(given: str) -> RunOrigin:
    names = {"trusted": "reviewed", "untrusted": "unreviewed"}
    return RunOrigin(Origin(names.get(given, given)), "the case")


@contextmanager
def account(case: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the role in the account has the policies that the case names, if any."""
    policies = case.get("aws", {}).get("live-role")
    if policies is None:
        yield
        return
    documents = {
        name: parse(json.dumps(policy).encode(), name) for name, policy in policies.items()
    }
    read = propose.attached_policies

    def attached_policies(
        target: Target, base: str, committed: Document | None, aws: AwsSession | None
    ) -> AttachedPolicies:
        live = LiveRole(
            target.role, tuple(LivePolicy(name, each) for name, each in documents.items())
        )
        return with_live_role(read(target, base, committed, aws), live)

    with patch.object(propose, "attached_policies", attached_policies):
        yield
