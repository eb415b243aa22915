"""What else is attached to the role: files, managed policies by their ARN, and the role as it is in the account."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from leastpriv.config.settings import Settings
from leastpriv.diff.live_role_drift import Drift, compare_with_live_role
from leastpriv.errors import AwsError, AwsErrorKind, LeastprivError
from leastpriv.evidence.live_role import LiveRole, read_live_role, read_managed_policy, services_without_sts_events
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.read_sources import describe_defect
from leastpriv.models import Gap, GapKind, Principal, Scope
from leastpriv.permissions.visibility import home_region
from leastpriv.pipeline.context import Workplace, read_attached, read_other, split_off
from leastpriv.pipeline.sources import Reach
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attached:
    """The other policies of the role, and how the account and the policy file differ."""

    names: tuple[str, ...] = ()
    """How reports call them, in the order of `documents`."""
    documents: tuple[Document, ...] = ()
    live: LiveRole | None = None
    """None: nobody asked."""
    drift: Drift | None = None
    """None: the account was not asked, or there is no policy file yet."""
    gaps: tuple[Gap, ...] = ()
    assumed: tuple[str, ...] = ()
    """Files that nobody named: their own names say that the policy file continues in them."""


def attached_to(settings: Settings, workplace: Workplace, base: str, committed: Document | None) -> Attached:
    """Reads the files in the commit `base` or on disk and, where AWS is asked anyway, the account.

    Raises:
        InputError: a file cannot be read. What AWS does not tell is a gap.
    """
    assumed = tuple(split_off(settings, workplace, base))
    named = (*settings.attached_files, *assumed)
    files = tuple(
        read_attached(read_other(workplace, base, Location.of(name).path, "also-attached"), name, settings.principal)
        for name in named
    )
    found = managed_policies(settings, workplace.reach)
    found = replace(found, names=(*named, *found.names), documents=(*files, *found.documents), assumed=assumed)
    if workplace.reach is None or not settings.asks_aws:
        return found
    return with_live(found, _live(workplace.reach, settings.principal), committed)


def managed_policies(settings: Settings, reach: Reach | None) -> Attached:
    """The managed policies that are named by their ARN."""
    found = Attached()
    for arn in settings.attached_arns:
        try:
            if reach is None:
                raise AwsError("this run has no way to AWS", AwsErrorKind.UNREACHABLE)
            document = read_managed_policy(reach.aws(), arn, home_region("iam", settings.principal.partition))
        except LeastprivError as error:
            gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), f"{arn} (also-attached): {error}")
            found = replace(found, gaps=(*found.gaps, gap))
        else:
            found = replace(found, names=(*found.names, arn), documents=(*found.documents, document))
    return found


def _live(reach: Reach, principal: Principal) -> LiveRole:
    try:
        aws = reach.aws()
        owner = aws.account()
        if owner == principal.account:
            return read_live_role(aws, principal)
        reason = f"The credentials are of the account {owner}, so that nobody can tell what is attached to the role."
    except LeastprivError as error:
        reason = f"What is attached to the role is not known: {error}"
    except Exception as error:
        reason = f"What is attached to the role is not known: {describe_defect(error)}."
    return LiveRole(principal.arn, gaps=(Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), reason),))


def with_live(found: Attached, live: LiveRole, committed: Document | None) -> Attached:
    """What was found with the role as it is in the account: how it differs from the file, and its other policies."""
    found = replace(found, live=live, gaps=(*found.gaps, *live.gaps))
    if committed is None:
        # A first draft is to stand by itself: what grants it today is what it may replace.
        return found
    compared, others = compare_with_live_role(committed, found.documents, live)
    if compared.differs:
        _log.info(f"The role in the account is not what the policy file says: {drift_sentence(compared)}")
    others = tuple(policy for policy in others if policy.name not in found.names)
    return replace(
        found,
        drift=compared,
        names=(*found.names, *(policy.name for policy in others)),
        documents=(*found.documents, *(policy.document for policy in others)),
    )


def with_account(evidence: Evidence, found: Attached, *, by_sessions: bool = False) -> Evidence:
    """The evidence with what the account did not tell, and how it differs from the file.

    `by_sessions`: some of it was looked up by the sessions whose logins event history shows.
    """
    differs = drift_sentence(found.drift) if found.drift else ""
    unseen = services_without_sts_events(found.live.trust) if found.live and by_sessions else ()
    hidden = (
        Gap(
            GapKind.SOURCE_FAILED,
            Scope(),
            f"the role may be taken through {name}, and event history is not looked up by such sessions: name a trail "
            "in the input trails in its place",
        )
        for name in unseen
    )
    return replace(evidence, gaps=(*evidence.gaps, *found.gaps, *hidden), live_role_drift=differs)


def drift_sentence(found: Drift) -> str:
    """How the account differs from the file, in plain words; empty where it does not."""
    parts = []
    if found.missing:
        parts.append("no policy of the role is like the file")
    if found.live_allows:
        parts.append(f"{found.counterpart} allows {' on '.join(found.live_allows)}, which the file does not")
    if found.file_allows:
        parts.append(f"the file allows {' on '.join(found.file_allows)}, which {found.counterpart} does not")
    if found.live_denies:
        parts.append(f"{found.counterpart} denies {' on '.join(found.live_denies)}, which the file does not")
    if found.file_denies:
        parts.append(f"the file denies {' on '.join(found.file_denies)}, which nothing in the account does")
    parts.extend(f"no policy of the role is like {name} (also-attached)" for name in found.unlike)
    return "; ".join(parts)
