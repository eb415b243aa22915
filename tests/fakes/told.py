"""What a case says beside its calls: what AWS told, what is remembered, what people declined."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from leastpriv.config.settings import Settings
from leastpriv.evidence.aws_findings.models import (
    AccessReport,
    Attempt,
    AwsFindings,
    Declared,
    GeneratedPolicy,
    ServiceAccess,
    SharedPolicy,
)
from leastpriv.evidence.history.file import LONGEST_FILE
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.models import Origin, Run, Trust
from leastpriv.pipeline import propose
from leastpriv.pipeline.collect_evidence import Reading, read_calls
from leastpriv.pipeline.context import Workplace
from leastpriv.pipeline.load_policies import Attached, with_live
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.fingerprint import addition_id, entry_id, fingerprint
from leastpriv.pull_request.comment_commands import Said
from leastpriv.pull_request.github.pull_requests import Closed
from leastpriv.pull_request.state_store import FolderShelf

MADE = datetime(2026, 11, 24, tzinfo=UTC)
"""When AWS was asked."""


def shelf_of(case: Mapping[str, Any], principal: str, policy_name: str, folder: Path) -> FolderShelf | None:
    """The memory of the case, with what was declined; None: nothing is remembered."""
    if not {"memory", "declined"} & case.keys():
        return None
    scope = fingerprint(f"{principal} {policy_name}", None, b"")
    declined = {
        str(each["pull"]): {
            "fingerprint": scope,
            "changes": [_id(change) for change in each["changes"]],
            "taken-back": False,
            "seen": f"{MADE:%Y-%m-%dT%H:%M:%SZ}",
        }
        for each in case.get("declined", ())
    }
    content = {"leastpriv-memory": 1, "principal": principal, "declined": declined, **case.get("memory", {})}
    (folder / "memory.json").write_text(json.dumps(content), encoding="utf-8")
    return FolderShelf(folder, "memory.json", LONGEST_FILE)


def _id(change: Mapping[str, Any]) -> str:
    if "add" in change:
        return addition_id(change["add"], change["resource"])
    return entry_id(change["entry"], change.get("sid", ""), change["resources"])


def reading(case: Mapping[str, Any]) -> propose.Read:
    """Reads the case's calls, with what AWS told of their use."""

    def read(settings: Settings, workplace: Workplace) -> Reading:
        found = read_calls(settings, workplace)
        return replace(found, evidence=replace(found.evidence, aws_findings=hints(case.get("aws", {}))))

    return read


def hints(told: Mapping[str, Any]) -> AwsFindings:
    """What AWS told, as values."""
    generated = told.get("generated-policy")
    grants = tuple(sorted((action, tuple(resources)) for action, resources in (generated or {}).items()))
    declared: dict[str, list[str]] = {}
    for kind, actions in told.get("declared", {}).items():
        for action in actions:
            declared.setdefault(action, []).append(kind)
    return AwsFindings(
        access=_access(told["last-accessed"]) if "last-accessed" in told else None,
        generated=GeneratedPolicy("job-1", None, None, True, grants) if generated is not None else None,
        declared=Declared(
            {action: tuple(sorted(kinds)) for action, kinds in declared.items()}, (*told.get("declared", ()),)
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
        SharedPolicy(arn, name, {role: Attempt(datetime.fromisoformat(time)) for role, time in others.items()})
        for name, each in told.items()
        for arn, others in each.get("shared", {}).items()
    ]
    granted = {name: tuple(each["policies"]) for name, each in told.items() if "policies" in each}
    return AccessReport(MADE, services, granted, tuple(shared))


def _attempt(time: str | None) -> Attempt | None:
    return Attempt(datetime.fromisoformat(time)) if time else None


@dataclass(frozen=True, slots=True)
class Reviews:
    """A repository that knows which workflow runs were of reviewed code, and nothing else."""

    trust: Mapping[str, str]
    """Session name of a run -> `trusted` or `untrusted`."""

    def closed(self, branch: str) -> Sequence[Closed]:  # noqa: ARG002 - one shape for all historians
        """There is no pull request."""
        return ()

    def said(self, branch: str, base: str) -> Sequence[Said]:  # noqa: ARG002
        """Nobody said anything."""
        return ()

    def read(self, commit: str, path: str) -> bytes | None:  # noqa: ARG002
        """There is no file."""
        return None

    def parent_of(self, commit: str) -> str:  # noqa: ARG002
        """There is no commit."""
        return ""

    def say_once(self, number: int, marker: str, comment: str, *, anew: bool) -> str:
        """Nobody is to be answered."""
        raise NotImplementedError

    def origins(self, base: str) -> Callable[[Run], Origin]:  # noqa: ARG002
        """Where the case says that a run came from."""
        return lambda run: Origin(Trust(self.trust.get(run.session, "unknown")), "the case")


@contextmanager
def account(case: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the role in the account has the policies that the case says, by name, if it says any."""
    policies = case.get("aws", {}).get("live-role")
    if policies is None:
        yield
        return
    documents = {name: parse(json.dumps(policy).encode(), name) for name, policy in policies.items()}
    read = propose.attached_to

    def attached_to(settings: Settings, workplace: Workplace, base: str, committed: Document | None) -> Attached:
        live = LiveRole(settings.principal.arn, tuple(LivePolicy(name, each) for name, each in documents.items()))
        return with_live(read(settings, workplace, base, committed), live, committed)

    with patch.object(propose, "attached_to", attached_to):
        yield
