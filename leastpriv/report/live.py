"""The role as it is in the account, beside the policy file: for people, and for machines."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.diff.drift import Drift
from leastpriv.evidence.trust import Trusted, TrustKind
from leastpriv.report.escape import code, prose
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes

_WHO = {
    TrustKind.GITHUB: "GitHub Actions",
    TrustKind.CODEBUILD: "CodeBuild",
    TrustKind.SERVICE: "the service",
    TrustKind.FEDERATED: "the identity provider",
    TrustKind.PRINCIPAL: "",
    TrustKind.ANYBODY: "anybody:",
}


def live_role(subject: Subject) -> Iterator[str]:
    """A section about the account, where it was asked."""
    live = subject.live
    if live is None:
        return
    lines = [*_drift(subject.drift, subject.policy_file)]
    if live.boundary:
        lines.append(
            f"- Its permissions boundary {code(live.boundary)} is not modelled: what it refuses, no grant here allows."
        )
    if live.trust:
        lines.append(f"- It may be taken by {'; '.join(map(_trusted, live.trust[:6]))}.")
    if lines:
        yield "### The role in the account\n\n" + "\n".join(lines)


def live_value(subject: Subject) -> dict[str, object] | None:
    """The same for `proposal.json`; None where nobody asked."""
    live, drift = subject.live, subject.drift
    if live is None:
        return None
    return {
        "principal": live.principal,
        "known": live.is_known,
        "policies": [policy.name for policy in live.policies],
        "boundary": live.boundary or None,
        "tags": dict(live.tags),
        "trusted": [{"kind": each.kind, "who": each.who, "subjects": list(each.subjects)} for each in live.trust],
        "drift": None if drift is None else _drift_value(drift),
    }


def _drift(drift: Drift | None, file: str) -> Iterator[str]:
    if drift is None:
        return
    if drift.unknown:
        yield f"- Whether it is what {code(file)} says is not known: {prose(drift.unknown)}."
    elif drift.missing:
        yield f"- **Nothing attached is like {code(file)}**, so nothing is narrowed: deploy the file first."
    elif drift.differs and not drift.unlike:
        yield (
            f"- **{code(drift.counterpart)} is not what {code(file)} says**, so nothing is narrowed: deploy the file, "
            "or commit what was changed in the account, first."
        )
    elif not drift.unlike:
        yield f"- {code(drift.counterpart)} allows what {code(file)} allows."
    for name in drift.unlike:
        yield f"- **Nothing attached is like {code(name)}**, so nothing is narrowed: deploy it, or leave it out, first."
    for found, what in (
        (drift.live_allows, "Only the account allows"),
        (drift.file_allows, "Only the file allows"),
        (drift.live_denies, "Only the account denies"),
        (drift.file_denies, "Only the file denies"),
    ):
        if found:
            yield f"  - {what}, for one, {code(found[0])} on {code(found[1])}."


def _trusted(trusted: Trusted) -> str:
    whose = f" for {codes(trusted.subjects, 4)}" if trusted.subjects else ""
    return f"{_WHO[trusted.kind]} {code(trusted.who)}{whose}".strip()


def _drift_value(drift: Drift) -> dict[str, object]:
    def pair(found: tuple[str, str] | None) -> dict[str, str] | None:
        return {"action": found[0], "resource": found[1]} if found else None

    return {
        "counterpart": drift.counterpart or None,
        "differs": drift.differs,
        "missing": drift.missing,
        "live_allows": pair(drift.live_allows),
        "file_allows": pair(drift.file_allows),
        "live_denies": pair(drift.live_denies),
        "file_denies": pair(drift.file_denies),
        "unlike": list(drift.unlike),
        "unknown": drift.unknown or None,
    }
