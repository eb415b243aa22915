"""Why something that the evidence needs may not be written into the policy: extending is an escalation channel.

Where the runs behind an addition came from: extending is an escalation channel, so unreviewed code adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from leastpriv.evidence.denials.needs import OF_A_TYPE
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Denial, DeniedBy, Need, Origin, Run, Trust, Usage
from leastpriv.permissions.resource_types import action_of, fits, kinds_of
from leastpriv.permissions.sensitive import forbidden, sensitivity
from leastpriv.proposal.models import HeldBack, Objection, Options

OFFERED = "offered"
"""The guard of what a refused call will need next, on a resource that nobody knows."""
ONLY_LOGGED = "only-logged"
"""The guard of what a job log tells and may not write."""
UNPRINTABLE = "unprintable-name"
"""The guard of what a refusal names with characters outside printable ASCII."""
EMERGENCY = Objection("break-glass", "only sessions that `break-glass` names used it or were refused it")


def unwritable(usage: Usage, evidence: Evidence, options: Options, *, escapes: bool) -> Objection | None:
    """The first rule that keeps it out; `escapes` tells whether the policy's version can write `${*}`."""
    return (
        _objection(usage, options)
        or _elsewhere(usage, evidence)
        or _guessed(usage, evidence)
        or (None if escapes else _unescaped(usage))
    )


def _objection(usage: Usage, options: Options) -> Objection | None:
    need, denial = usage.need, usage.denial
    action, resource = need.permission.action, need.permission.resource
    reason = forbidden(action, options.never_add)
    if reason:
        return Objection("forbidden", reason)
    if denial and not denial.mendable:
        return Objection("not-mendable", _who_refused(usage))
    objection = _of_refusal(need, denial) if denial else None
    if objection:
        return objection
    named_by_aws = denial is not None and bool(denial.actions) and need.basis is Basis.DENIED and not denial.log
    if not need.verified and not named_by_aws:
        return Objection("unverified-action", "the catalogue does not know this action")
    if not fits(action, resource):
        return Objection("resource-type", f"{action} is not authorised on such a resource")
    if "*" in action or "?" in action:
        return Objection("wildcard-action", "a refusal names one action, never a pattern")
    if sensitivity(action) and (not need.exact or "*" in resource.replace("${*}", "")):
        return Objection("sensitive", f"{sensitivity(action)}; the evidence does not name an exact resource")
    if sensitivity(action) and denial is None and not usage.succeeded:
        return Objection("sensitive", f"{sensitivity(action)}; every call of it failed")
    if not need.exact and (denial or ":s3:::*" in resource):
        return Objection("unknown-resource", "neither the request nor the refusal names the resource")
    return None


def _of_refusal(need: Need, denial: Denial) -> Objection | None:
    """What a refusal, for all that it is mendable, may not write."""
    if not (need.permission.resource.isascii() and need.permission.resource.isprintable()):
        return Objection(UNPRINTABLE, "only a refusal tells its name, which has characters that a reader may not see")
    if need.basis is Basis.INFERRED and not need.exact:
        return Objection(OFFERED, need.because or "the refused call implies it, and nothing names its resource")
    return _only_logged(need, denial) if denial.log else None


def _only_logged(need: Need, denial: Denial) -> Objection | None:
    """What a job log alone may not write: it is anybody's text."""
    action = need.permission.action
    if not denial.principal:
        return Objection(ONLY_LOGGED, "a job log tells it without saying whom AWS refused")
    if need.exact and OF_A_TYPE.fullmatch(need.permission.resource):
        # AWS writes `vpc/*` of what is not made yet; anybody could print it of what is.
        return Objection(ONLY_LOGGED, "a job log names every resource of a type")
    if not need.verified:
        return Objection("unverified-action", "a job log names it, and the catalogue does not know this action")
    if sensitivity(action):
        return Objection(ONLY_LOGGED, f"{sensitivity(action)}; only a job log tells that it was refused")
    return None


def _elsewhere(usage: Usage, evidence: Evidence) -> Objection | None:
    """A resource that a job log alone names outside the role's account, which no line can make the role's."""
    action, resource = usage.need.permission.action, usage.need.permission.resource
    if not (is_logged(usage) and usage.need.exact and resource.startswith("arn:")):
        return None
    account = resource.split(":")[4]
    if account.isdigit() and account != evidence.principal.split(":")[4]:
        return Objection(ONLY_LOGGED, f"only a job log tells it, and it is in another account ({account})")
    known, own = action_of(action), kinds_of(action, resource)
    kinds = [kind for kind in known.resource_types if kind.name in own] if known else []
    if not account and kinds and all(":${Account}:" in kind.arn for kind in kinds):
        return Objection(ONLY_LOGGED, "only a job log tells it, and its name lacks the account")
    return None


def _guessed(usage: Usage, evidence: Evidence) -> Objection | None:
    """An inferred need widens nothing: its resource is known whole, or an observed need has it too."""
    need = usage.need
    if need.basis is not Basis.INFERRED or need.exact:
        return None
    resource = need.permission.resource
    shown = (other.need for other in evidence.usages if other.need.basis is Basis.OBSERVED)
    if any(other.permission.resource == resource for other in shown):
        return None
    return Objection("unknown-resource", "a call implies it, and nothing names its resource")


def _unescaped(usage: Usage) -> Objection | None:
    if "${" not in usage.need.permission.resource:
        return None
    return Objection(
        "policy-version", "its name has `*`, `?` or `$`, which only a policy of Version 2012-10-17 can write"
    )


def is_logged(usage: Usage) -> bool:
    """Whether a job log alone tells of it."""
    return usage.denial is not None and bool(usage.denial.log)


_REFUSERS: Mapping[str, str] = {
    "scp": "a service control policy refused it: ask the organization's administrators",
    "rcp": "a resource control policy refused it: ask the organization's administrators",
    "boundary": "the role's permissions boundary refused it: it has to be allowed there as well",
    "session": "the session policy of the run refused it: the step that assumes the role sets it",
    "resource": "the policy of the resource refused it: its owner has to allow it there",
    "vpce": "the policy of the VPC endpoint refused it: it has to be allowed there as well",
    "bpa": "S3 Block Public Access refused it",
    "identity": "an explicit Deny in an identity-based policy refused it",
    "unknown": "the refusal does not say that an identity-based policy lacks it",
}


def refused_elsewhere(usage: Usage) -> HeldBack:
    """A refusal that no identity policy mends, for the report."""
    permission = usage.need.permission
    objection = Objection("not-mendable", _who_refused(usage))
    return HeldBack(ChangeKind.ADD, permission.action, (permission.resource,), objection, usages=(usage,))


def refused_in_part(usage: Usage) -> HeldBack:
    """A refusal that does not tell which of several resources it was about, some of which the policies allow."""
    permission = usage.need.permission
    reason = "the policies allow it on some resources, and neither the request nor the refusal names the one it was for"
    objection = Objection("unknown-resource", reason)
    return HeldBack(ChangeKind.ADD, permission.action, (permission.resource,), objection, usages=(usage,))


def _who_refused(usage: Usage) -> str:
    denial = usage.denial
    if denial is None:
        return ""
    if "Encoded authorization failure message" in denial.message and not denial.actions:
        return "the refusal is encoded: `aws sts decode-authorization-message` tells what was lacking"
    if denial.why and denial.denied_by is DeniedBy.UNKNOWN:
        return denial.why
    return _REFUSERS[denial.denied_by.value]


_MOST_RUNS_OF_ONE = 10
_MOST_RUNS = 60
"""Each run is one question to GitHub, or a few: an addition with none trusted among the latest ones is told as such."""


def origins_of(
    missing: Sequence[Usage], runs: Sequence[Run], ask: Callable[[Run], Origin], makers: Sequence[Usage] = ()
) -> Mapping[str, Origin]:
    """Run id -> origin for the runs that additions hang on, newest first, until each has one to be trusted.

    And for the latest of those that made such things (`makers`), as far as there are questions left: a run that was
    not asked for opens nothing (`reviewed`).
    """
    by_id = {run.id: run for run in runs}
    found: dict[str, Origin] = {}
    asked = 0
    for usage in missing:
        newest = [by_id[run] for run in reversed(usage.runs) if run in by_id]
        for run in newest[:_MOST_RUNS_OF_ONE]:
            if run.id not in found:
                # Whoever has many runs must not get past the question by them: not asked is not trusted.
                found[run.id] = ask(run) if asked < _MOST_RUNS else _NOT_ASKED
                asked += 1
            if found[run.id].trust is Trust.TRUSTED:
                break
    making = [by_id[run] for usage in makers for run in usage.runs[-_MOST_RUNS_OF_ONE:] if run in by_id]
    left = [run for run in dict.fromkeys(making) if run.id not in found][: max(_MOST_RUNS - asked, 0)]
    return found | {run.id: ask(run) for run in left} if found else found


_NOT_ASKED = Origin(Trust.UNTRUSTED, f"refs that were not asked for, past {_MOST_RUNS} runs in all")


def untrusted(usage: Usage, origins: Mapping[str, Origin]) -> Objection | None:
    """The objection to an addition that only unreviewed code asked for; None also where nobody knows."""
    known = [origins[run] for run in usage.runs if run in origins]
    if any(origin.trust is Trust.TRUSTED for origin in known):
        return None
    doubtful = [origin for origin in known if origin.trust is Trust.UNTRUSTED]
    if not doubtful:
        return None
    places = ", ".join(dict.fromkeys(origin.where for origin in doubtful))
    return Objection("untrusted-ref", f"it was seen only in runs of {places}")


def reviewed(origins: Mapping[str, Origin]) -> Collection[str] | None:
    """The runs whose making of things may open ids: none that is known to be of unreviewed code; None: nobody asked."""
    return {run for run, origin in origins.items() if origin.trust is not Trust.UNTRUSTED} if origins else None


def is_unknown(usages: Sequence[Usage], origins: Mapping[str, Origin]) -> bool:
    """Whether no run of these usages is known to come from reviewed code."""
    return not any(run in origins and origins[run].trust is Trust.TRUSTED for usage in usages for run in usage.runs)
