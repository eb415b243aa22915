"""The flow of a run, for each target: evidence -> difference -> proposal -> proof -> report -> pull
request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from leastpriv.aws.arns import has_wildcard, parse_principal
from leastpriv.aws.session import AwsSession
from leastpriv.config.inputs import letters_meant
from leastpriv.config.settings import Mode
from leastpriv.diff.compare import Difference, compare
from leastpriv.errors import AwsError, InputError, LeastprivError
from leastpriv.evidence.iam_paths import with_paths_of_policies
from leastpriv.evidence.live_role import entities_of_policy
from leastpriv.evidence.models import Evidence, UnnamedUser, with_clock_gap
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.evidence.users import unnamed_users
from leastpriv.models import DeniedBy, Principal, Run
from leastpriv.permissions import catalog
from leastpriv.pipeline.collect_evidence import (
    RunEvidence,
    TargetEvidence,
    attempt,
    united,
    with_aws_findings,
    with_denial_details,
    with_known_users,
)
from leastpriv.pipeline.context import (
    PullRequestContent,
    RunContext,
    RunResult,
    Target,
    TargetHistory,
    TargetResult,
    TargetsFile,
)
from leastpriv.pipeline.every_account import in_every_account, may_hold_variables
from leastpriv.pipeline.history import target_history
from leastpriv.pipeline.infrastructure import (
    declarations_of,
    terraform_files,
    with_declarations,
)
from leastpriv.pipeline.load_policies import (
    AttachedPolicies,
    attached_policies,
    check_file_name,
    committed_policy,
    file_exists,
    free_names,
    named_trust_policies,
    stack_values,
    with_account_gaps,
    with_further_users,
    without_replaced,
)
from leastpriv.pipeline.other_policies import read_other_policies
from leastpriv.pipeline.publish import publish_all
from leastpriv.pipeline.read_ahead import read_ahead
from leastpriv.pipeline.run_origins import run_origins
from leastpriv.pipeline.target_names import OtherRoles
from leastpriv.policy.access import Organization, Policies
from leastpriv.policy.attached_names import attached_names
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.boundary import Boundary, boundary_for
from leastpriv.proposal.chance import chance_of
from leastpriv.proposal.escalation_paths import (
    Escalation,
    escalation_paths,
    undecided_by,
    with_closed_paths,
)
from leastpriv.proposal.guards import break_glass_runs
from leastpriv.proposal.ledger import ledger_of
from leastpriv.proposal.models import (
    CheckResult,
    History,
    Options,
    Proposal,
    ProposalInputs,
    change_ids,
    fingerprint,
    named_additions,
)
from leastpriv.proposal.other_policies import denied_now, with_deciding_policies
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose as propose_changes
from leastpriv.proposal.suggestions import (
    kept_counterparts,
    suggested_actions,
    suggested_conditions,
)
from leastpriv.proposal.verdict import verdict_of
from leastpriv.pull_request.lifecycle import TargetMark, controls_section
from leastpriv.pull_request.models import BaseBranch
from leastpriv.report.context import ReportContext
from leastpriv.report.phrases import file_page
from leastpriv.report.pull_request import body, title
from leastpriv.report.role_chain import RoleChainPolicies, principal_role_chain

if TYPE_CHECKING:
    from leastpriv.aws_checks.rendered_policy import TrustPolicy
    from leastpriv.config.targets_file import Configuration
    from leastpriv.evidence.live_role import LiveRole
    from leastpriv.pipeline.discover import UncommittedRoles

_log = logging.getLogger(__name__)
_SHORTEST_SLIP = 4
"""Letters before the first wildcard of a `break-glass` pattern; a shorter one resembles a session
by chance.
"""
_FOLLOW = "Set `follow: true` in the config to read it."
_DISCOVER = (
    "Add them as targets, or set `discover: true` in the config (on a shell `--discover`) for first"
    " files."
)


def propose(
    run: RunContext, before_publishing: Callable[[RunResult], object] = lambda _: None
) -> RunResult:
    """Makes the proposal of each target and, in the mode pull-request, publishes it.

    `before_publishing` is called with the proposals before the first of them is published.

    Raises:
        InputError: an input leads to nothing readable.
        LeastprivError: in a run of one target, its proposal failed; of several targets, it is in
            the target's result.
    """
    evidence = RunEvidence(run)
    if run.file is None:
        return _propose_alone(run, evidence, before_publishing)
    return _propose_all(run, run.file, evidence, before_publishing)


def _propose_alone(
    run: RunContext, evidence: RunEvidence, before_publishing: Callable[[RunResult], object]
) -> RunResult:
    """Proposes and publishes the change of the one target of a run without a targets file."""
    targets = run.targets
    if run.settings.users.patterns:
        targets = (with_known_users(targets[0], evidence),)
    read_ahead(targets)
    target_results = [_target_result(run, evidence, None, target) for target in targets]
    run_result = RunResult(tuple(target_results), has_targets_file=False)
    before_publishing(run_result)
    return replace(run_result, targets=publish_all(run, target_results, run_result.chain))


def _propose_all(
    run: RunContext,
    file: TargetsFile,
    evidence: RunEvidence,
    before_publishing: Callable[[RunResult], object],
) -> RunResult:
    """Proposes and publishes the changes of all targets of a targets file, and first files for the
    roles that they lead to.
    """
    from leastpriv.pipeline.discover import all_targets, first_files

    config_targets = all_targets(run, file, evidence)
    targets = config_targets.targets
    failed = tuple(config_targets.failed)
    notes = config_targets.notes
    if not targets:
        lacks_roles = not failed and run.settings.fails_without_calls
        return RunResult(failed, notes=tuple(notes), lacks_roles=lacks_roles)
    evidence.job_logs()
    users = tuple(user for target in targets for user in target.users)
    role_chain = evidence.role_chain(users, follow=file.configuration.follow)
    uncommitted = _uncommitted_roles(run, file, targets, evidence, role_chain)
    chain = RoleChainPolicies(
        chain=role_chain,
        committed=frozenset(users),
        without_policy=uncommitted.roles,
        signed={arn: found.evidence.signed for arn, found in evidence.found.items()},
        advice=_advice(file.configuration),
    )
    read_ahead(targets)
    target_results = [_target_result(run, evidence, chain, target) for target in targets]
    run_result = RunResult((*target_results, *failed), chain, tuple(notes))
    before_publishing(run_result)
    proposed = first_files(run, file, uncommitted.drafts, chain)
    notes = [*notes, *proposed.notes]
    for target_result in target_results:
        if target_result.context and target_result.context.missing_calls:
            notes.append(target_result.context.missing_calls)
    published = publish_all(run, target_results, chain)
    return replace(
        run_result,
        targets=(*published, *failed),
        first_files=proposed.first_files,
        notes=tuple(notes),
    )


def _likely_slips(context: ReportContext, options: Options) -> list[str]:
    """Returns a sentence for each name that means nothing and is probably mistyped: an action, a
    pattern, a role.
    """
    actions = [
        f"{context.policy_file} names {held_change.action}: {held_change.guard_result.reason}."
        for held_change in context.proposal.held_back
        if held_change.guard_result.guard == "unknown-action"
        and "did you mean" in held_change.guard_result.reason
    ]
    runs = context.evidence.runs
    sessions = [
        f"break-glass names {pattern!r}, and no session of this evidence matches it."
        for pattern in options.break_glass
        if runs and not break_glass_runs(runs, [pattern])
    ]
    services = [
        f"{name} names {pattern!r}, and the catalogue {catalog.version()} has no service"
        f" {_service_of(pattern)}."
        for name, patterns in (("keep", options.keep), ("never-add", options.never_add))
        for pattern in patterns
        if _is_of_unknown_service(pattern)
    ]
    return [*actions, *services, *sessions]


def _service_of(pattern: str) -> str:
    return pattern.partition(":")[0].lower()


def _is_of_unknown_service(pattern: str) -> bool:
    """Whether a pattern names a service that the catalogue lacks: a mistyped one, or one newer than
    the catalogue.
    """
    service = _service_of(pattern)
    return not has_wildcard(service) and service not in catalog.services()


def _check_keep(patterns: Sequence[str], documents: Sequence[Document]) -> None:
    """Raises InputError for a pattern of `keep` whose service neither the catalogue nor a policy
    has.
    """
    granted = {
        _service_of(action)
        for document in documents
        for statement in document.statements
        for action in statement.actions
    }
    for pattern in patterns:
        if _is_of_unknown_service(pattern) and _service_of(pattern) not in granted:
            raise InputError(
                f"keep names {pattern!r}, and neither the catalogue {catalog.version()} nor the"
                f" policy has the service {_service_of(pattern)}: correct or remove it."
            )


def _check_break_glass(patterns: Sequence[str], runs: Sequence[Run]) -> None:
    """Checks the patterns of `break-glass`; one without a session is usual, since emergencies are
    rare.
    """
    for pattern in patterns:
        literal = re.split(r"[*?]", pattern)[0].lower()
        if len(literal) < _SHORTEST_SLIP or break_glass_runs(runs, [pattern]):
            continue
        # A slip may leave a letter out, or write one too many.
        session_by_start: dict[str, str] = {}
        for run in runs:
            for length in (len(literal) - 1, len(literal), len(literal) + 1):
                session_by_start[run.session[:length].lower()] = run.session
        meant = session_by_start.get(letters_meant(literal, session_by_start), "")
        if meant:
            raise InputError(
                f"break-glass names {pattern!r}, and no session matches it (did you mean {meant}?)."
            )


def make_proposal(
    run: RunContext,
    target: Target,
    read: Callable[[], TargetEvidence],
    chain: RoleChainPolicies | None = None,
) -> PullRequestContent:
    """Makes the proposal of one target; `read` reads its evidence, after the inputs have been
    checked.

    `chain`: the roles that it leads to and their policies; None: what its own calls show of them.

    Raises InputError where an input leads to nothing readable, and LeastprivError where the
    proposal fails its own proof, or the base branch cannot be read.
    """
    settings = target.settings
    repository = target.base_repository
    branch = BaseBranch(name="", commit="")
    if repository:
        branch = repository.branch_head(settings.base)
    base = branch.commit
    trusts = named_trust_policies(target, base)
    declarations = declarations_of(target)
    policies = _read_policies(run, target, base, declares=bool(declarations))
    other_policies = read_other_policies(target, base)

    read_evidence = read()
    evidence = _evidence_of_users(run, target, policies, read_evidence)
    _check_break_glass(settings.options.break_glass, evidence.runs)
    evidence = with_clock_gap(evidence, run.now)
    evidence = with_account_gaps(evidence, policies, by_sessions=settings.event_history)
    evidence = with_declarations(evidence, declarations, target)
    evidence = with_paths_of_policies(evidence, policies.in_force)
    difference = compare(policies.committed, list(policies.documents), evidence)
    origins = run_origins(target, difference.missing, evidence)
    evidence = replace(evidence, origins=origins.origins)

    other_roles = OtherRoles.of(run, target, evidence, read_evidence.callers)
    history = target_history(
        run, target, base, policies.committed, difference.missing, other_roles=other_roles
    )
    history = replace(history, failure=history.failure or origins.failure)
    other_policies = _with_account_policies(other_policies, run, target, policies, difference)

    context = _report_context(
        target=target,
        policies=policies,
        found=replace(read_evidence, evidence=evidence),
        difference=difference,
        history=history.history,
        others=other_policies,
    )
    context = replace(
        context,
        run_url=run.run_url,
        guide=run.guide,
        is_pull_request=settings.mode is Mode.PULL_REQUEST,
        title_prefix=settings.title_prefix,
        page_file=run.settings.page_file,
        file_url=file_page(run.run_url, branch.name, context.policy_path, target.other_repository),
        chained=chain or principal_role_chain(target.role, evidence),
    )
    _check_proof(context)
    check_results = _check_results(context, target, run.aws, trusts)
    under_others = denied_now(
        context.proof.need_decisions,
        [*context.proposal.documents, *context.attached_documents],
        other_policies,
        target.lead.arn,
        context.policy_file,
    )
    if under_others:
        check_results = (*check_results, under_others)
    context = _with_check_results(context, check_results)
    return _pull_request_content(run, target, context, history, base)


def _pull_request_content(
    run: RunContext, target: Target, context: ReportContext, history: TargetHistory, base: str
) -> PullRequestContent:
    """Returns a proposal with its title, its body and its marker; logs the title."""
    changes = change_ids(context.proposal)
    additions = named_additions(context.proposal)
    mark = TargetMark(
        name=history.identity.name,
        config=run.file.configuration.path if run.file else "",
        branches=history.former_branches,
    )
    if target.settings.spans_accounts:
        has_variables = may_hold_variables(context.proposal.document)
        context = in_every_account(context, has_variables=has_variables)
    headline = title(context)
    _log.info(headline)
    for sentence in _likely_slips(context, target.settings.options):
        _log.warning(sentence)
    controls = controls_section(changes, mark, additions)
    return PullRequestContent(
        context=context,
        title=headline,
        body=body(context, len(controls)),
        base=base,
        changes=changes,
        additions=additions,
        history=history,
        mark=mark,
    )


def _evidence_of_users(
    run: RunContext, target: Target, policies: AttachedPolicies, found: TargetEvidence
) -> Evidence:
    """Returns the evidence of all users of the policy with AWS's findings on each of them."""

    def with_findings(evidence: Evidence, user: Principal) -> Evidence:
        user_settings = replace(target.settings, principal=user)
        session = run.in_account(user.account).aws
        return with_aws_findings(
            user_settings, session, with_denial_details(user_settings, session, evidence)
        )

    users = target.settings.users
    if found.users:
        parts = [
            replace(user, evidence=with_findings(user.evidence, parse_principal(user.arn)))
            for user in found.users
        ]
        evidence = united(replace(found, users=tuple(parts)), target, policies.in_force)
    else:
        evidence = with_findings(found.evidence, target.lead)
    user_arns = (*users.arns, *target.users)
    attached = [*_entities_of_policy(run, target, policies), *_attached_in_file(target, policies)]
    others = run.file.users if run.file else None
    unnamed = unnamed_users(user_arns, found.callers, users.excluded, attached, others)
    return replace(evidence, unnamed_users=unnamed)


def _entities_of_policy(
    run: RunContext, target: Target, policies: AttachedPolicies
) -> Iterator[UnnamedUser]:
    """Yields the principals that have the managed policy in the account, as IAM says."""
    policy = policies.drift.counterpart if policies.drift else ""
    session = run.in_account(target.lead.account).aws
    if session is None or not policy.startswith("arn:") or "::aws:policy/" in policy:
        return
    try:
        entities = entities_of_policy(session.aws(), policy)
    except AwsError as error:
        _log.info(f"It is not known which other roles have {policy}: {error}")
        return
    for arn in entities:
        yield UnnamedUser(arn, f"IAM lists it with the policy {policy}")


def _attached_in_file(target: Target, policies: AttachedPolicies) -> Iterator[UnnamedUser]:
    """Yields the roles and users to which the policy file itself attaches the policy."""
    document = policies.committed
    if document is None:
        return
    start = f"arn:{target.lead.partition}:iam::{target.lead.account}"
    for attached in attached_names(document):
        arn = f"{start}:{attached.kind}/{attached.name}"
        yield UnnamedUser(arn, f"{target.policy_name} attaches the policy to it")
    if document.source.language != "terraform":
        return
    from leastpriv.policy.hcl_users import attached_roles

    values = stack_values(target.lead)
    callers = terraform_files(target.workspace, target.policy_path)
    for name in attached_roles(document, target.policy_path, values, callers):
        reason = f"Terraform attaches the policy of {target.policy_name} to it"
        yield UnnamedUser(f"{start}:role/{name}", reason)


def _with_account_policies(
    others: Policies,
    run: RunContext,
    target: Target,
    policies: AttachedPolicies,
    difference: Difference,
) -> Policies:
    """Adds the boundary and the organization's policies of the account, where a denial names their
    type, no file holds them, and the run may ask AWS.
    """
    settings = target.settings
    denied = (*difference.missing, *difference.denied_elsewhere)
    denied_by = {usage.denial.denied_by for usage in denied if usage.denial}
    boundary_arn = ""
    if policies.live and others.boundary is None and DeniedBy.BOUNDARY in denied_by:
        boundary_arn = policies.live.boundary
    asks_organization = settings.organization_policies and not denied_by.isdisjoint(
        {DeniedBy.SCP, DeniedBy.RCP}
    )
    if run.aws is None or not (boundary_arn or asks_organization):
        return others
    from leastpriv.aws_checks.simulate import read_outer_policies

    try:
        aws = run.aws.aws()
    except LeastprivError as error:
        _log.info(f"AWS was not asked for the policies that denied calls: {error}")
        return others
    outer = read_outer_policies(aws, target.lead, boundary_arn, organization=asks_organization)
    if outer.document:
        others = replace(others, boundary=(outer.document,))
    if outer.levels and not settings.organization_files:
        of_account = Organization(accounts={target.lead.account: outer.levels})
        others = replace(others, organization=of_account)
    return others


def _with_check_results(
    context: ReportContext, check_results: tuple[CheckResult, ...]
) -> ReportContext:
    """Adds the results of AWS's checks, which the verdict depends on."""
    verdict = verdict_of(
        context.proposal,
        context.proof,
        context.ledger,
        context.chance,
        context.evidence,
        records=context.records,
        check_results=check_results,
    )
    return replace(context, check_results=check_results, verdict=verdict)


def _read_policies(
    run: RunContext, target: Target, base: str, *, declares: bool
) -> AttachedPolicies:
    """Reads the policies before the evidence: a wrong input ends the run; `declares`: templates are
    given.
    """
    settings = target.settings
    committed = committed_policy(target, base)
    if committed is None and target in run.targets:
        files = (*settings.attached_files, settings.trust_policy, settings.boundary_file)
        paths = [Location.of(name).path for name in files if name]
        check_file_name(target, base, [*paths, *(target.policy_path for target in run.targets)])
    if committed and declares and not (settings.reads_records or target.only_plans):
        raise InputError(
            f"{target.policy_name} exists and changes by evidence, but only templates or plans are"
            " given: name trails. The modes check and review compare it with what the templates and"
            " plans need."
        )
    policies = attached_policies(target, base, committed, run.aws)
    policies = with_further_users(policies, target, lambda account: run.in_account(account).aws)
    policies = without_replaced(policies)
    if not run.isolates_failures:
        _check_keep(settings.options.keep, policies.in_force)
    return policies


def _report_context(
    target: Target,
    policies: AttachedPolicies,
    found: TargetEvidence,
    difference: Difference,
    history: History,
    others: Policies,
) -> ReportContext:
    """Makes the proposal and its proof from the difference, and drafts the boundary of the roles
    that it creates.
    """
    options = target.settings.options
    evidence = found.evidence
    attached = list(policies.documents)
    proposal = propose_changes(
        policies.committed, difference, evidence, options, ProposalInputs(history, attached)
    )
    documents = [*proposal.documents, *attached]
    escalation = Escalation(
        before=escalation_paths(policies.in_force, target.role),
        after=escalation_paths(documents, target.role),
        undecided_by=undecided_by(documents, target.role),
    )
    proposal = with_closed_paths(proposal, escalation)
    proposal = with_deciding_policies(proposal, others, target.lead.arn)
    boundary = _drafted_boundary(target, policies.base, proposal, escalation, evidence)
    proof = prove(proposal, attached, evidence, options, history)
    ledger = ledger_of(proposal, difference, evidence, attached, proof.replay)
    chance = chance_of(
        proposal,
        attached,
        evidence,
        left_out=proof.left_out,
        later_runs=proof.later_runs,
        known=proof.confidence,
    )
    verdict = verdict_of(proposal, proof, ledger, chance, evidence, records=found.records)
    return ReportContext(
        principal=target.role,
        shown_account=target.shown_account,
        policy_file=target.policy_name,
        other_repository=target.other_repository,
        proposal=proposal,
        difference=difference,
        proof=proof,
        ledger=ledger,
        chance=chance,
        verdict=verdict,
        evidence=evidence,
        fingerprint=_fingerprint(target, policies.committed, proposal, boundary),
        attached=policies.names,
        assumed=policies.assumed,
        replaced=policies.replaced,
        files=found.files,
        records=found.records,
        missing_calls=_missing_calls(found, policies.live),
        history=history,
        attached_documents=tuple(attached),
        live=policies.live,
        drift=policies.drift,
        escalation=escalation,
        boundary=boundary,
        further=free_names(target, policies.base, len(proposal.documents) - 1),
        suggested_actions=(
            suggested_actions(evidence, [*documents, *policies.in_force], options.never_add)
            if proposal.changes
            else ()
        ),
        kept_counterparts=kept_counterparts(proposal, evidence),
        suggested_conditions=suggested_conditions(
            proposal.document, evidence, options.minimum_runs
        ),
    )


def _drafted_boundary(
    target: Target,
    base: str,
    proposal: Proposal,
    escalation: Escalation,
    evidence: Evidence,
) -> Boundary | None:
    """Returns the boundary of the roles that the role creates; one that exists is not drafted."""
    path = target.settings.boundary_file
    # A draft is part of a proposal that changes the policy.
    exists = not proposal.changes or bool(path and file_exists(target, base, path))
    declared = evidence.aws_findings.declared
    return boundary_for(
        proposal.documents,
        escalation.after,
        target.role,
        path,
        declared.roles if declared else (),
        exists=exists,
    )


def _fingerprint(
    target: Target, committed: Document | None, proposal: Proposal, boundary: Boundary | None
) -> str:
    """Returns the fingerprint of a proposal with all its files."""
    before = committed.to_bytes() if committed else None
    files = [document.to_bytes() for document in proposal.documents]
    if boundary and boundary.content:
        files.append(boundary.content)
    return fingerprint(target.scope, before, *files)


def _missing_calls(found: TargetEvidence, live: LiveRole | None) -> str:
    """Returns why there is no call: the role does not exist, no call was read, or every file is
    damaged; empty where there are calls.
    """
    sentences: list[str] = []
    if not found.evidence.usages:
        sentences = [live.missing if live else "", found.missing_calls]
    return " ".join(filter(None, sentences)) or found.damaged


def _check_proof(context: ReportContext) -> None:
    """Raises LeastprivError for a proposal that fails its own proof, a defect, or that takes too
    long to prove.
    """
    proof = context.proof
    is_defect = bool(proof.newly_denied or proof.unapplied)
    if proof.is_unfinished and not is_defect:
        raise LeastprivError(
            "The proposal could not be proved within the limits of a run and was discarded: too"
            f" many statements with wildcards overlap, as in {proof.new_access[0]}; join or remove"
            " some of them."
        )
    failures: Sequence[str] = [*proof.new_access, *proof.newly_denied, *proof.unapplied]
    if failures:
        raise LeastprivError(
            f"The proposal failed its own proof and was discarded ({'; '.join(failures[:3])}): "
            "please report this as a defect."
        )


def _check_results(
    context: ReportContext,
    target: Target,
    session: AwsSession | None,
    trusts: Sequence[TrustPolicy] = (),
) -> tuple[CheckResult, ...]:
    """Runs the free checks of AWS, and the paid ones where the settings ask for them.

    No check runs without a change, or in a run that does not use AWS and pays for no check: a run
    that only reads files sends nothing to AWS (docs: decision 17).
    """
    settings = target.settings
    lead = target.lead
    pays_for_checks = settings.custom_policy_checks
    uses_aws = session is not None and (pays_for_checks or session.opened)
    if session is None or not uses_aws or not context.proposal.changes:
        if trusts:
            _log.info(
                "The trust policy is not checked: this run proposes no change, or does not call AWS"
            )
        return ()

    from leastpriv.aws_checks.policy_checks import paid_checks, run_checks, validate
    from leastpriv.aws_checks.rendered_policy import trust_policies
    from leastpriv.aws_checks.simulate import SimulatedPolicies, read_outer_policies, simulate

    proposal = context.proposal
    attached = context.attached_documents
    files = dict(zip((context.policy_file, *context.further), proposal.documents, strict=True))
    trust = trust_policies(files, trusts)
    try:
        aws = session.aws()
        outer = read_outer_policies(
            aws,
            lead,
            context.live.boundary if context.live else "",
            organization=settings.organization_policies,
        )
        policies = SimulatedPolicies([*files.values(), *attached], context.policy_file, outer)
        _log.info("AWS checks the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
        validated = validate(aws, files, proposal.committed, trust)
        simulated = simulate(aws, policies, context.proof.need_decisions, lead.arn)
        for check_result in (validated, simulated):
            if check_result.failure:
                _log.info(f"{check_result.operation} is skipped: {check_result.failure}")
        if not pays_for_checks:
            return (validated, simulated)
        checks = paid_checks(proposal, files, settings.options.never_add, trust)
        return (validated, simulated, *run_checks(aws, *checks))
    except LeastprivError as error:
        # No region is known, which a role's evidence in files does not need; or no credentials,
        # where a setting asks.
        _log.info(f"AWS did not check the proposal: {error}")
        return (CheckResult("AWS", 0, failure=str(error)),) if pays_for_checks else ()


def _uncommitted_roles(
    run: RunContext,
    file: TargetsFile,
    targets: Sequence[Target],
    evidence: RunEvidence,
    chain: RoleChain,
) -> UncommittedRoles:
    """Returns the roles of a chain without a committed policy, with drafts that ask AWS nothing."""
    from leastpriv.pipeline.discover import uncommitted_roles

    without_aws = replace(run, aws=None)

    def draft(target: Target) -> PullRequestContent:
        return make_proposal(without_aws, target, partial(evidence.of, target))

    return uncommitted_roles(chain, targets, file, evidence, draft)


def _advice(configuration: Configuration) -> str:
    """Returns the advice on roles of the chain without a committed policy."""
    if configuration.discover:
        return ""
    return _DISCOVER if configuration.follow else _FOLLOW


def _target_result(
    run: RunContext, evidence: RunEvidence, chain: RoleChainPolicies | None, target: Target
) -> TargetResult:
    """Makes the proposal of one target; its failure ends no other."""
    account = target.lead.account
    if run.isolates_failures and not any(user in evidence.found for user in target.users):
        unread = evidence.failures.get(account) or LeastprivError(f"{target.role} was not read.")
        return TargetResult(target, failure=unread)
    chain_of_target = None
    if chain:
        chain_of_target = replace(chain, chain=chain.chain.around(target.lead.arn))
    work = partial(
        make_proposal,
        run.in_account(account),
        target,
        partial(evidence.of, target),
        chain_of_target,
    )
    content, failure = attempt(work, isolate=run.isolates_failures)
    if failure:
        _log.info(f"Failed for {target.shown_role}: {failure}")
    unread_users = evidence.unread_users(target) if run.isolates_failures else ""
    return TargetResult(target, content, failure, unread_users=unread_users)
