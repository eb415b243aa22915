"""Reads the evidence of a run: the calls of all targets in one scan of each account, job logs, and
AWS findings.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import (
    Principals,
    Window,
    account_of,
    has_wildcard,
    parse_principal,
    principal_of,
    same_arn,
    short_arn,
)
from leastpriv.aws.session import AwsSession, Polling
from leastpriv.cloudtrail.coverage import Coverage
from leastpriv.cloudtrail.other_accounts import ManyAccounts
from leastpriv.cloudtrail.statistics import ReadStatistics, total_coverage
from leastpriv.config.settings import Settings
from leastpriv.denials.encoded_message import NO_DECODER, Decoder, decode_with
from leastpriv.errors import AwsError, InputError, LeastprivError, NoCallsError
from leastpriv.evidence.models import AwsFindings, Evidence, SkippedSource, with_coverage
from leastpriv.evidence.role_chain import MOST_STEPS, RoleChain, build_chain
from leastpriv.evidence.users import Callers, UserEvidence, account_namer, labels_of, unite
from leastpriv.models import Gap, GapKind, Principal, Scope, grouped
from leastpriv.permissions.patterns import matches
from leastpriv.permissions.volatility import region_of
from leastpriv.pipeline.context import RunContext, Target
from leastpriv.pipeline.sources import (
    CountedSource,
    ReadHooks,
    all_damaged_sentence,
    missing_calls,
    open_sources,
    read_evidence,
)
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.config.policy_users import PolicyUsers
    from leastpriv.evidence.run_logs import LoggedDenials
    from leastpriv.policy.document import Document

_log = logging.getLogger(__name__)

_DETAILS_TAKE = timedelta(minutes=3)
"""How long the details of a new denial are waited for."""


class TargetEvidence(Struct, frozen=True):
    """The evidence of one principal, and how much was read for it and for others in the same
    pass.
    """

    evidence: Evidence
    files: int
    records: int
    missing_calls: str = ""
    """Why there is no call, in sentences; empty where there are calls."""
    damaged: str = ""
    """A sentence where every file is damaged."""
    callers: Callers = Callers()
    """The roles of the same records that no target names."""
    users: tuple[UserEvidence, ...] = ()
    """The evidence of each user of the policy, which is not united yet; empty where it has one."""


def read_principals(
    run: RunContext, settings: Settings, principals: Principals
) -> Mapping[str, TargetEvidence]:
    """Reads the evidence of principals in one pass; returns it by ARN.

    Raises LeastprivError where no source can be read, and NoCallsError where no role matches the
    patterns, and no other principal is read (`when-no-calls`).
    """
    sources = open_sources(settings, run.trails, run.aws)
    # A folder that does not exist is bad input, which the first line names.
    _log.info(f"Reading {_sources_text(run, settings)} for {_roles_text(principals)}")
    subject = "the role" if _is_one_role(principals) else "these roles"
    hooks = ReadHooks(
        lambda calls: _log.info(f"… {calls:,} calls of {subject} so far"),
        message_decoder(run.aws),
    )
    with run.watch(sources):
        evidence_by_principal = read_evidence(sources, settings.window, principals, hooks)
    scan = _ReadScan.of(run, settings, principals, sources)
    _log_read(scan, evidence_by_principal.values())
    _check_regions(settings, evidence_by_principal.values())
    if settings.fails_without_calls and not (principals.targets or evidence_by_principal):
        for pattern in sorted(principals.patterns):
            principal = replace(settings.principal, arn=pattern)
            raise NoCallsError(missing_calls(principal, scan.statistics, (), short_arn(pattern)))
    return {
        name: scan.evidence_of(name, evidence) for name, evidence in evidence_by_principal.items()
    }


def _sources_text(run: RunContext, settings: Settings) -> str:
    """Returns the names of the sources that are read."""
    names = [*map(str, run.trails)]
    if settings.event_history:
        names.append("event history")
    names += settings.athena_tables or settings.bucket_trails
    return ", ".join(names) or "no record of calls"


def _roles_text(principals: Principals) -> str:
    """Returns the one role that is read, or the number of roles."""
    arns = sorted(target.arn for target in principals.targets or ())
    roles = [*arns, *sorted(principals.patterns)]
    return roles[0] if len(roles) == 1 else plural(len(roles), "role")


def _is_one_role(principals: Principals) -> bool:
    return len(principals.targets or ()) == 1 and not principals.patterns


def _log_read(scan: _ReadScan, evidence_of_roles: Collection[Evidence]) -> None:
    """Logs how much was read."""
    requests = sum(source.requests for source in scan.statistics)
    amounts: list[str] = []
    if scan.files:
        amounts.append(plural(scan.files, "file"))
    if requests:
        amounts.append(plural(requests, "answer"))
    sources = " and ".join(amounts) or "no file"
    calls = plural(sum(evidence.counts.calls for evidence in evidence_of_roles), "call")
    runs = [len(evidence.runs) for evidence in evidence_of_roles]
    callers = f"of {plural(len(runs), 'role')}"
    if len(runs) == 1:
        callers = f"in {plural(runs[0], 'run')}"
    _log.info(f"Read {plural(scan.records, 'record')} in {sources}: {calls} {callers}")


def _check_regions(settings: Settings, evidence_of_roles: Iterable[Evidence]) -> None:
    """Raises InputError where all calls of a role are in other regions than the input names."""
    regions = set(settings.aws_regions)
    for evidence in evidence_of_roles:
        if regions and evidence.regions and regions.isdisjoint(evidence.regions):
            role = evidence.principal.split(":", 5)[5]
            seen = ", ".join(evidence.regions)
            raise InputError(
                f"aws-regions names {', '.join(sorted(regions))}, but all calls of {role} are in"
                f" {seen}: name the regions in which the role works."
            )


def _callers_of(sources: Sequence[CountedSource], principals: Principals) -> Counter[str]:
    """Returns the callers of all records, with roles of the same names in other accounts, and the
    number of calls of each.
    """
    callers: Counter[str] = Counter()
    for source in sources:
        callers.update(source.statistics.callers)
    if not principals.targets or principals.accounts is None:
        return callers
    names = {target.name for target in principals.targets if target.kind == "role"}
    for source in sources if names else ():
        if isinstance(source, ManyAccounts):
            callers.update(source.namesakes(names, principals.accounts))
    return callers


class _ReadScan:
    """What one pass over the sources read."""

    def __init__(
        self,
        settings: Settings,
        principals: Principals,
        statistics: Sequence[ReadStatistics],
        window: Window,
        callers: Mapping[str, int],
    ) -> None:
        self.statistics = statistics
        self.files = sum(source.files for source in statistics)
        self.records = sum(source.records for source in statistics)
        self._settings = settings
        self._principals = principals
        self._window = window
        self._callers = Callers(callers)
        self._has_callers = bool(callers)
        self._coverage_of = cache(self._read_coverage)

    @classmethod
    def of(
        cls,
        run: RunContext,
        settings: Settings,
        principals: Principals,
        sources: Sequence[CountedSource],
    ) -> _ReadScan:
        """Returns what was read of the sources; their records end now at the latest."""
        # AWS is read until now, a folder to its last record.
        reads_aws = settings.event_history or settings.athena_tables or settings.bucket_trails
        ends = [settings.window.end]
        if reads_aws or settings.window.end:
            ends.append(run.now)
        window = replace(settings.window, end=min(filter(None, ends), default=None))
        return cls(
            settings,
            principals,
            statistics=[source.statistics for source in sources],
            window=window,
            callers=_callers_of(sources, principals),
        )

    def evidence_of(self, name: str, evidence: Evidence) -> TargetEvidence:
        """Returns the evidence of one principal, with the reason where it has no call or every file
        is damaged.
        """
        account = account_of(name) if self._principals.has_several_accounts else ""
        coverage = with_only_region(self._coverage_of(account), evidence)
        return TargetEvidence(
            evidence=with_coverage(with_no_calls(evidence, name, self.statistics), coverage),
            files=self.files,
            records=self.records,
            missing_calls=self._missing_calls(name, account, evidence, coverage),
            damaged=all_damaged_sentence(self.statistics, evidence.gaps),
            callers=self._callers,
        )

    def _missing_calls(
        self, name: str, account: str, evidence: Evidence, coverage: Coverage
    ) -> str:
        """Returns why a principal has no call; empty where it has one.

        `account`: its account, where the principals are of several.
        """
        principal = principal_of(name)
        if evidence.counts.calls or not self.statistics or principal is None:
            return ""
        is_of_others = bool(self.records) and not coverage.days and not self._has_callers
        if account and is_of_others:
            return f"No record of the account {account} was read: name a trail that has them."
        shown = name if account else short_arn(name)
        return missing_calls(principal, self.statistics, evidence.gaps, shown)

    def _read_coverage(self, account: str) -> Coverage:
        """Returns the coverage of an account, which its principals share; empty: of all
        accounts.
        """
        return total_coverage(
            self.statistics,
            self._settings.aws_regions,
            self._window,
            every_region=self._settings.event_history and not self._settings.aws_regions,
            account=account,
        )


def with_only_region(coverage: Coverage, evidence: Evidence) -> Coverage:
    """Names the one region of all records, if `aws-regions` names none and no call of the
    principal names a resource elsewhere.
    """
    region = coverage.only_region
    if not region or coverage.named_regions or coverage.every_region:
        return coverage
    resources = (usage.need.permission.resource for usage in evidence.usages)
    elsewhere = {region_of(resource) for resource in resources} - {"", "*", region}
    if elsewhere:
        return coverage
    return replace(coverage, named_regions=frozenset({region}), assumed_region=region)


def with_no_calls(
    evidence: Evidence, principal: str, statistics: Iterable[ReadStatistics]
) -> Evidence:
    """Adds the records that name the principal and are no call of it."""
    no_calls = Counter(evidence.no_calls)
    for source_statistics in statistics:
        for (arn, reason), count in source_statistics.no_calls.items():
            if same_arn(arn, principal):
                no_calls[reason] += count
    return replace(evidence, no_calls=dict(sorted(no_calls.items())))


def message_decoder(session: AwsSession | None) -> Decoder:
    """Returns the decoder of EC2's encoded messages, which asks AWS at the first message; without
    AWS, none.
    """
    return Decoder(lambda encoded: decode_with(session.aws(), encoded)) if session else NO_DECODER


class RunEvidence:
    """The evidence of a run: of its one target, read when it is asked for, or of all targets by one
    scan an account.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._settings = run.settings
        self._logs: list[LoggedDenials] | None = None
        self._unlisted: dict[str, LeastprivError] = {}
        """By account: why the roles of its patterns are unknown."""
        self.found: dict[str, TargetEvidence] = {}
        """By ARN, without job logs."""
        self.failures: dict[str, LeastprivError] = {}
        """By account: why its evidence could not be read."""

    def of(self, target: Target) -> TargetEvidence:
        """Returns the evidence of a target, with what job logs show of it; raises
        LeastprivError.
        """
        users = target.users
        unread = [parse_principal(arn) for arn in users if arn not in self.found]
        if unread and not self._run.isolates_failures:
            # Those of the one target are read here, after its inputs have been checked.
            for scan in self._scans(unread, []):
                self.found.update(self._scan(scan.principals, scan.patterns))
        labels = target.settings.users.labels
        parts = [self._of_user(target, arn) for arn in users]
        if len(parts) == 1:
            return parts[0]
        shown_labels = [
            labels.get(arn, label) for arn, label in zip(users, labels_of(users), strict=True)
        ]
        user_evidence = [
            UserEvidence(
                arn=arn,
                label=label,
                evidence=part.evidence,
                unread=_unread(part, label, was_read=arn in self.found),
            )
            for arn, label, part in zip(users, shown_labels, parts, strict=True)
        ]
        missing = [part.missing_calls for part in parts if part.missing_calls]
        return replace(
            parts[0],
            files=max(part.files for part in parts),
            records=max(part.records for part in parts),
            missing_calls=missing[0] if len(missing) == len(parts) else "",
            users=tuple(user_evidence),
        )

    def unread_users(self, target: Target) -> str:
        """Returns why some users of a policy, in accounts that failed, were not read; empty where
        all or none were read: a target without any user that was read fails itself.
        """
        users = target.users
        unread = [arn for arn in users if arn not in self.found]
        failed = [arn for arn in unread if account_of(arn) in self.failures]
        if not failed or len(failed) == len(users):
            return ""
        return (
            f"{target.policy_name}: {len(failed):,} of {plural(len(users), 'user')} could not be"
            f" read, first {failed[0]}. {self.failures[account_of(failed[0])]}"
        )

    def _of_user(self, target: Target, arn: str) -> TargetEvidence:
        """Returns the evidence of one user; that of an account that failed is empty, and says
        why.
        """
        account = account_of(arn)
        evidence = self.found.get(arn)
        if evidence is None:
            failure = str(self.failures.get(account) or f"{arn} was not read.")
            return TargetEvidence(Evidence(arn), files=0, records=0, missing_calls=failure)
        logs = self.job_logs()
        if not logs:
            return evidence
        from leastpriv.evidence.run_logs import add_job_logs

        run = self._run.in_account(account)
        window = target.settings.window
        decoder = message_decoder(run.aws)
        return replace(
            evidence, evidence=add_job_logs(evidence.evidence, logs, window, run.now, decoder)
        )

    def job_logs(self) -> Sequence[LoggedDenials]:
        """Returns what the job logs show, read once; those of the workflow run that cannot be read
        are a gap.

        Raises InputError where a log that is named cannot be read.
        """
        if self._logs is not None:
            return self._logs
        denials_of_logs: list[LoggedDenials] = []
        job_logs = self._run.job_logs
        if job_logs.files:
            from leastpriv.denials.job_logs import distinct_denials, read_logs
            from leastpriv.evidence.run_logs import LoggedDenials

            denials, limit = distinct_denials(read_logs(job_logs.files, sys.stdin.buffer))
            limited = Gap(GapKind.UNREADABLE_LOG, Scope(), f"read in part (limit: {limit})")
            named_denials = tuple(
                replace(denial, file=denial.file.removeprefix(job_logs.root)) for denial in denials
            )
            denials_of_logs.append(LoggedDenials(named_denials, (limited,) if limit else ()))
            names = ", ".join(name.removeprefix(job_logs.root) for name in job_logs.files)
            _log.info(f"Read {names}: {plural(len(denials), 'denial')}")
        if job_logs.run:
            run_denials = job_logs.run.read()
            denials_of_logs.append(run_denials)
            _log.info(
                f"Read the logs of workflow run {job_logs.run.run_id}:"
                f" {plural(len(run_denials.denials), 'denial')}"
            )
            for gap in run_denials.gaps:
                _log.info(f"Not read: {gap.detail}")
        self._logs = denials_of_logs
        return self._logs

    def read(self, principals: Iterable[Principal], patterns: Iterable[str] = ()) -> None:
        """Reads the principals not read yet."""
        unread = [principal for principal in principals if principal.arn not in self.found]
        for scan in self._scans(unread, list(patterns)):
            read, failure = attempt(partial(self._scan, scan.principals, scan.patterns))
            self.found.update(read or {})
            if failure:
                self.failures.update(dict.fromkeys(scan.accounts, failure))
                _log.info(f"Not read of account {', '.join(scan.accounts)}: {failure}")
        # Events that were waited for once have been delivered.
        self._settings = replace(self._settings, wait_for_events=0)

    def _scans(self, principals: list[Principal], patterns: list[str]) -> list[Scan]:
        """Returns the scans that read some principals: one for all accounts, but one for each where
        a source is that of an account.
        """
        whole_scan = Scan(principals, patterns)
        is_of_an_account = self._settings.event_history or any(
            name.startswith("arn:") for name in self._settings.bucket_trails
        )
        if not is_of_an_account or len(whole_scan.accounts) < 2:
            return [whole_scan] if whole_scan.accounts else []
        scans = []
        for account in whole_scan.accounts:
            of_account = [principal for principal in principals if principal.account == account]
            matching = [text for text in patterns if account_of(text) == account]
            scans.append(Scan(of_account, matching))
        return scans

    def _scan(
        self, principals: list[Principal], asked_patterns: list[str]
    ) -> Mapping[str, TargetEvidence]:
        """Reads the sources once for all principals and patterns; a pattern of one account is
        resolved by IAM first where the run asks AWS.
        """
        patterns = [pattern for pattern in asked_patterns if has_wildcard(account_of(pattern))]
        if patterns and self._settings.event_history:
            raise InputError(
                f"role-arn is {patterns[0]!r}, and event history is read account by account: list"
                " the accounts in the config, as in accounts: ['123456789012'], or read a trail of"
                " the organization."
            )
        targets = list(principals)
        account_patterns = [pattern for pattern in asked_patterns if pattern not in patterns]
        if account_patterns and self._settings.asks_aws:
            targets += self._matching_roles(account_patterns)
        else:
            patterns = asked_patterns
        if not targets and not patterns:
            return {}
        if targets:
            first = targets[0]
        else:
            first = self._settings.principal
            account = account_of(patterns[0])
            if not has_wildcard(account):
                first = replace(first, account=account)
        scanned = Principals(frozenset(targets), frozenset(patterns))
        return read_principals(
            self._run.in_account(first.account), replace(self._settings, principal=first), scanned
        )

    def _matching_roles(self, patterns: Iterable[str]) -> Iterator[Principal]:
        """Yields the roles that match some patterns, as the IAM of each account lists them; those
        of an account that cannot list them are unknown.
        """
        by_account = grouped((account_of(pattern), pattern) for pattern in patterns)
        for account, patterns_of_account in by_account.items():
            roles, failure = attempt(partial(self._listed, patterns_of_account))
            if failure:
                self._unlisted[account] = failure
            yield from roles or ()

    def _listed(self, patterns: list[str]) -> Iterable[Principal]:
        """Returns the roles of an account that match some patterns, as IAM lists them; raises
        AwsError.
        """
        from leastpriv.evidence.live_role import list_matching_roles

        _, partition, _, _, account, _ = patterns[0].split(":", 5)
        session = self._run.in_account(account).aws
        if session is None:
            return ()
        try:
            return list_matching_roles(session.aws(), patterns, partition)
        except AwsError as error:
            sentence = f"{error} Allow it for the wildcards of the input config, or name the roles."
            raise AwsError(sentence, error.kind, error.missing_action) from error

    def matches(self, users: PolicyUsers, named: Iterable[str]) -> tuple[str, ...]:
        """Returns the ARNs of roles that match the patterns of some users and that no other target
        names, sorted; raises LeastprivError where those of an account are not known, and
        NoCallsError where no role matches and an account has no call.
        """
        no_calls: NoCallsError | None = None
        for pattern in users.patterns:
            account = account_of(pattern)
            failure = self.failures.get(account) or self._unlisted.get(account)
            if isinstance(failure, NoCallsError):
                no_calls = failure
            elif failure:
                raise failure
        already = set(named)
        arns: list[str] = []
        for arn, read in self.found.items():
            if arn in already or not read.evidence.counts.calls:
                continue
            if any(matches(pattern, arn) for pattern in users.excluded):
                continue
            if any(matches(pattern, arn) for pattern in users.patterns):
                arns.append(arn)
        if no_calls and not arns:
            raise no_calls
        return tuple(sorted(arns))

    def role_chain(self, roots: tuple[str, ...], *, follow: bool) -> RoleChain:
        """Returns the role chain from the targets; `follow` reads the roles in it that no entry
        names.
        """
        roles_asked: set[str] = set()
        for step in range(MOST_STEPS + 1):
            chain = build_chain(roots, {arn: read.evidence for arn, read in self.found.items()})
            unknown = [
                role for role in chain.roles if role not in self.found and role not in roles_asked
            ]
            if not follow or not unknown or step == MOST_STEPS:
                break
            roles_asked.update(unknown)
            _log.info(
                f"The targets lead to {plural(len(unknown), 'role')} that the config does not name:"
                " reading on"
            )
            self.read(map(parse_principal, unknown))
        return chain


def with_matching_users(
    target: Target, evidence: RunEvidence, named: Iterable[str] = ()
) -> tuple[Target, LeastprivError | None]:
    """Adds the roles that match the patterns of a target's users and that no other target names, or
    returns why they are unknown.
    """
    users = target.settings.users
    named_arns = {*named, *users.named}
    roles, failure = attempt(partial(evidence.matches, users, named_arns))
    return replace(target, matched=roles or ()), failure


def with_known_users(target: Target, evidence: RunEvidence) -> Target:
    """Returns the one target of a run with the roles that match the patterns of its users; raises
    LeastprivError.
    """
    users = target.settings.users
    if not users.patterns:
        return target
    evidence.read(map(parse_principal, users.named), users.patterns)
    for failure in evidence.failures.values():
        raise failure
    target, unknown = with_matching_users(target, evidence)
    if unknown:
        raise unknown
    if not target.users:
        raise NoCallsError(f"`{', '.join(users.patterns)}` matches no role that was read.")
    return target


def united(found: TargetEvidence, target: Target, documents: Iterable[Document]) -> Evidence:
    """Returns the evidence of all users of a policy as one; `documents` are its policies."""
    if not found.users:
        return found.evidence
    resources = [
        resource
        for document in documents
        for statement in document.statements
        for resource in (*statement.resources, *statement.not_resources)
    ]
    return unite(found.users, target.role, account_namer(resources))


class Scan(Struct, frozen=True):
    """What one scan reads."""

    principals: list[Principal]
    patterns: list[str]

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts of the principals and patterns, each once."""
        arns = [*(principal.arn for principal in self.principals), *self.patterns]
        return tuple(dict.fromkeys(map(account_of, arns)))


def _unread(found: TargetEvidence, label: str, *, was_read: bool) -> str:
    """Returns why the evidence does not show what a user did; empty where it does."""
    if found.evidence.counts.calls:
        return ""
    missing = found.missing_calls or f"No call of {label} was read."
    if not was_read:
        return missing
    remedy = "remove it from role-arn or roles, or its account from accounts"
    return f"{missing} If {label} no longer exists, {remedy}."


def with_denial_details(
    settings: Settings, session: AwsSession | None, evidence: Evidence
) -> Evidence:
    """Replaces denials by AWS's account of them, where the settings ask for it and there are
    credentials.
    """
    if (
        not settings.denial_details
        or session is None
        or not any(usage.denial for usage in evidence.usages)
    ):
        return evidence
    from leastpriv.evidence.authorization_details import (
        denied_requests,
        read_details,
        with_details,
    )

    requests = denied_requests(evidence)
    if not requests or not session.has_credentials:
        return evidence
    polling = Polling(_passing(session.now), time.sleep, _DETAILS_TAKE)
    details, gaps = read_details(
        lambda region: session.aws().client("iam-toolbox", region), requests, polling
    )
    if details:
        _log.info(f"Read the authorization details of {plural(len(details), 'denial')}")
    return with_details(evidence, details, gaps)


def with_aws_findings(
    settings: Settings, session: AwsSession | None, evidence: Evidence
) -> Evidence:
    """Adds AWS findings to the evidence, where the settings ask for them and there are credentials.

    A failure is part of the findings; an interruption ends the run.
    """
    if session is None:
        return evidence
    asks_for_findings = settings.access_analyzer or (
        settings.last_accessed and session.has_credentials
    )
    if not asks_for_findings:
        return evidence
    findings = _aws_findings(settings, session, evidence)
    return replace(
        evidence, aws_findings=replace(findings, declared=evidence.aws_findings.declared)
    )


def _aws_findings(settings: Settings, session: AwsSession, evidence: Evidence) -> AwsFindings:
    """Asks AWS for its findings on the role."""
    from leastpriv.evidence.access_analyzer import collect_aws_findings

    try:
        aws = session.aws()
        account = aws.account()
    except LeastprivError as error:
        return _skipped_findings(str(error))
    if account != settings.principal.account:
        return _skipped_findings(
            f"the AWS credentials are those of account {account}, not of the role's."
        )
    generation = None
    if settings.access_analyzer:
        generation = (settings.access_analyzer, evidence.first)
    return collect_aws_findings(
        aws,
        settings.principal,
        Polling(_passing(session.now), time.sleep),
        access=settings.last_accessed,
        generation=generation,
    )


def _skipped_findings(reason: str) -> AwsFindings:
    _log.info(f"AWS's findings on the role are skipped: {reason}")
    return AwsFindings(skipped_sources=(SkippedSource("all sources", reason),))


def _passing(now: datetime) -> Callable[[], datetime]:
    """Returns a clock that runs from `now` on."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


_Result = TypeVar("_Result")


def attempt(
    work: Callable[[], _Result], *, isolate: bool = True
) -> tuple[_Result | None, LeastprivError | None]:
    """Returns the result of `work`, or why it failed, so that a failure of one target ends no
    other.

    `isolate` False: a failure is raised, as in a run of one target.
    """
    try:
        return work(), None
    except LeastprivError as error:
        if not isolate:
            raise
        return None, error
    except Exception as error:
        if not isolate:
            raise
        defect = (
            f"Unexpected {type(error).__name__}: {error}. This is a defect; run this target alone"
            " and report it."
        )
        return None, LeastprivError(defect)
