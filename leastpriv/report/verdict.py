"""Says the verdict: the instruction of a result with its one reason, and the chance in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.models import ChangeKind
from leastpriv.permissions.catalog import never_add_pattern, removal_rank
from leastpriv.proposal.chance import (
    QUIET_RUNS,
    DenialCause,
    ExpectedDenial,
    RunKind,
    Word,
)
from leastpriv.proposal.ledger import GrantFact, GrantState
from leastpriv.proposal.removals import UNSEEN_SERVICE
from leastpriv.proposal.self_widening import DENIAL_BUDGET
from leastpriv.proposal.verdict import (
    Instruction,
    VerdictRule,
    added_by_hand,
    new_deletions,
    users_not_covered,
)
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, name, path_name, plain, prose
from leastpriv.report.evidence_limits import was_denied
from leastpriv.report.guide import page_link
from leastpriv.report.phrases import (
    codes,
    evidence_span,
    guard_row,
    joined,
    last_day,
    links_of_runs,
    plural,
    short_arn,
    them,
)
from leastpriv.report.unreviewed_runs import unknown_branch_of_additions

ROLE_IN_PREFIX = "{role}"
"""Where the input `title-prefix` has the role."""
MOST_SHOWN = 5
"""Names in one line; a first screen has no longer list."""
HEADINGS: Mapping[Instruction, str] = {
    Instruction.MERGE: "Merge",
    Instruction.REHEARSE: "Rehearse first, then merge",
    Instruction.SECURITY_REVIEW: "Security review, then merge",
    Instruction.DO_NOT_MERGE: "Do not merge",
    Instruction.NONE: "Nothing to merge",
}
_HEADINGS_OF_A_REPORT: Mapping[Instruction, str] = {
    Instruction.MERGE: "Ready to apply",
    Instruction.REHEARSE: "Rehearse before you apply it",
    Instruction.SECURITY_REVIEW: "Security review before you apply it",
    Instruction.DO_NOT_MERGE: "Do not apply",
}
"""Of a proposal that no pull request offers."""
ALERTS: Mapping[Instruction, str] = {
    Instruction.MERGE: "TIP",
    Instruction.REHEARSE: "WARNING",
    Instruction.SECURITY_REVIEW: "IMPORTANT",
    Instruction.DO_NOT_MERGE: "CAUTION",
    Instruction.NONE: "NOTE",
}
_WORDS: Mapping[Word, str] = {
    Word.SELDOM: "the next run is seldom denied",
    Word.MAY_BE: "the next run may be denied",
    Word.LIKELY: "the next run is likely denied",
}
_KINDS: Mapping[RunKind, str] = {
    RunKind.NEW_COPY: "deployed a new stage, branch or account",
    RunKind.TAKEDOWN: "took resources down",
    RunKind.ROLLBACK: "rolled back",
    RunKind.NEW_FEATURE: "created a new type of resource",
}
_CAUSES: Mapping[DenialCause, str] = {
    DenialCause.NOT_RECORDED: "no data event shows its use",
    DenialCause.STATE: "if Terraform's state is in S3, which no record shows",
    DenialCause.NO_ANSWER: "called, and no record shows success",
}


def heading(context: ReportContext) -> str:
    """Returns the instruction in words, or what heads a result without one."""
    return _heading(context, HEADINGS if context.is_pull_request else _HEADINGS_OF_A_REPORT)


def _heading(context: ReportContext, headings: Mapping[Instruction, str]) -> str:
    verdict = context.verdict
    if verdict.instruction is Instruction.NONE:
        return _HEADINGS_OF_RULES.get(verdict.rule, "Nothing to change")
    return headings[verdict.instruction]


_HEADINGS_OF_RULES: Mapping[VerdictRule, str] = {
    VerdictRule.DRAFT_DECLINED: "The first draft was declined",
    VerdictRule.PROBE: "No change is proposed, and this may be an attack",
    VerdictRule.ADD_BY_HAND: "Add by hand",
    VerdictRule.NO_RECORDS: "No evidence",
    VerdictRule.NO_CALLS: "No evidence",
    VerdictRule.NO_SUCCESS: "No change is proposed",
    VerdictRule.LACKS_PERMISSIONS: "The policy lacks permissions",
    VerdictRule.LACKS_EVIDENCE: "Nothing is changed yet",
}


class _Page(Struct, frozen=True):
    """A page of the guide, and the words that link to it."""

    words: str
    page: str


_PAGES_OF_RULES: Mapping[VerdictRule, _Page] = {
    VerdictRule.PROBE: _Page("what an attacker can do", "threat-model#attacks"),
    VerdictRule.ADD_BY_HAND: _Page("why not", "terraform#what-is-not-edited"),
    VerdictRule.NO_RECORDS: _Page("what to check", "troubleshooting"),
    VerdictRule.NO_CALLS: _Page("what to check", "troubleshooting"),
    VerdictRule.LACKS_PERMISSIONS: _Page("what holds an addition back", "guards"),
    VerdictRule.LACKS_EVIDENCE: _Page("what holds a removal back", "guards"),
    VerdictRule.UNCHANGED: _Page("what holds a removal back", "guards"),
}
_PAGES: Mapping[Instruction, _Page] = {
    Instruction.MERGE: _Page("the proof", "proof"),
    Instruction.REHEARSE: _Page("how to rehearse", "rehearsal"),
    Instruction.SECURITY_REVIEW: _Page("what a reviewer looks at", "threat-model"),
    Instruction.DO_NOT_MERGE: _Page("the proof", "proof"),
}


def alert_links(context: ReportContext) -> str:
    """Returns where the list is that the reason counts, and a link to the page that says how."""
    verdict = context.verdict
    page = _PAGES_OF_RULES.get(verdict.rule) or _PAGES.get(verdict.instruction)
    link = page_link(context.guide, page.words, page.page) if page else ""
    if verdict.rule is VerdictRule.REMOVED_UNRECORDED:
        return f"The fold *Removed* lists the actions without a record first; {link}."
    return f"({link})" if link else ""


def alert_kind(context: ReportContext) -> str:
    """Returns the kind of GitHub's alert that shows the instruction."""
    return (
        "CAUTION"
        if context.verdict.rule is VerdictRule.PROBE
        else ALERTS[context.verdict.instruction]
    )


def short_verdict(context: ReportContext) -> str:
    """Returns the instruction in a few words, for programs: in every mode the same."""
    return _heading(context, HEADINGS)


def reason(context: ReportContext) -> str:
    """Returns the one reason of the instruction, with figures, in Markdown."""
    return _REASONS[context.verdict.rule](context)


def calls_remain(context: ReportContext) -> str:
    """Returns how many recorded calls remain allowed, and why the others are not counted."""
    calls = context.ledger.calls
    span_words = f" ({evidence_span(context.evidence)})"
    succeeded = plural(calls.succeeded, "successful call")
    if calls.allowed == calls.succeeded == 1:
        sentence = f"The one successful call{span_words} remains allowed"
    elif calls.allowed == calls.succeeded:
        sentence = f"All {succeeded}{span_words} remain allowed"
    else:
        parts = [f"{calls.allowed:,} remain allowed"]
        if calls.denied:
            parts.append(f"{calls.denied_calls:,} {_becomes_of_denied(context)}")
        if calls.conditional:
            parts.append(f"{calls.conditional:,} may be, by a condition or an unknown expression")
        if calls.unmapped:
            parts.append(f"{calls.unmapped:,} not evaluated, because no table has the actions")
        sentence = f"Of {succeeded}{span_words}, {joined(parts)}"
    if calls.unclear:
        sentence += f"; {plural(calls.unclear, 'further call')} had no clear outcome"
    return f"{sentence}."


def _becomes_of_denied(context: ReportContext) -> str:
    if context.verdict.rule is not VerdictRule.STILL_LACKS:
        return "would be denied"
    is_one = context.ledger.calls.denied_calls == 1
    return f"{'is' if is_one else 'are'} allowed neither before nor after this change"


def _draft_declined(context: ReportContext) -> str:
    return f"A person declined the first draft for {code(context.role)}, so there is none."


def _probe(context: ReportContext) -> str:
    held_changes = context.proposal.held_back_as(DENIAL_BUDGET)
    usages = [usage for held_change in held_changes for usage in held_change.usages]
    runs = links_of_runs(usages, context.evidence, context.run_url)
    return (
        f"No call of {code(context.role)} succeeded, and {context.ledger.calls.refused:,} were"
        f" denied. That looks like a probe with stolen credentials: find out who started {runs},"
        f" last seen on {last_day(usages)}."
    )


def _add_by_hand(context: ReportContext) -> str:
    by_hand = added_by_hand(context.proposal)
    actions = dict.fromkeys(held_change.action for held_change in by_hand)
    reasons = dict.fromkeys(held_change.guard_result.reason for held_change in by_hand)
    who = "AWS denied" if all(map(was_denied, by_hand)) else "The role needs"
    return (
        f"{who} {codes(actions, MOST_SHOWN)}, and {code(context.policy_file)} does not take the"
        f" statement ({prose('; '.join(reasons))}): add the one below."
    )


def _no_records(context: ReportContext) -> str:
    return (
        "No CloudTrail record was read: `trails` names where the records are."
        if not context.missing_calls
        else prose(context.missing_calls)
    )


def _no_calls(context: ReportContext) -> str:
    return (
        f"No call of {code(context.principal)} is among the {context.records:,} records that were"
        " read. Check the ARN and the trail."
    )


def _no_success(context: ReportContext) -> str:
    return (
        f"No call of {code(context.role)} succeeded in {evidence_span(context.evidence)}, so the"
        " policy remains as it is."
    )


def _lacks_permissions(context: ReportContext) -> str:
    calls = plural(context.ledger.calls.denied_calls, "recorded call")
    return (
        f"The policy lacks what {calls} in {evidence_span(context.evidence)} used, and nothing can"
        " be added for that."
    )


def _lacks_evidence(context: ReportContext) -> str:
    guard_result = context.verdict.facts.waits_for
    row = guard_row(guard_result.guard) if guard_result else None
    if guard_result is None or row is None:
        return _unchanged(context)
    lacking = f"{prose(guard_result.reason.partition(': ')[0])}. Remedy: {row['remedy']}"
    return f"{_needs_what_it_has(context)}; the rest is kept, because {lacking}."


def _needs_what_it_has(context: ReportContext) -> str:
    if context.proposal.committed is None:
        return f"No permission that can be written was used in {evidence_span(context.evidence)}"
    return f"The policy has what the role used in {evidence_span(context.evidence)}"


def _unchanged(context: ReportContext) -> str:
    sentences = [f"{_needs_what_it_has(context)}."]
    sensitive = context.verdict.facts.unreviewed_sensitive
    if sensitive:
        sensitive_words = plural(sensitive, "sensitive action")
        sentences.append(
            f"Only runs of unreviewed code used {sensitive_words}: see the security review."
        )
    kept_grants = context.ledger.grants_of(GrantState.KEPT_UNUSED)
    if kept_grants:
        remain = "remains" if len(kept_grants) == 1 else "remain"
        unused = plural(len(kept_grants), "unused action")
        sentences.append(f"{unused} {remain} granted{_why_kept(kept_grants)}.")
    return " ".join(sentences)


def _why_kept(kept: Sequence[GrantFact]) -> str:
    """Returns the most frequent guards of kept actions; of one guard with one reason, this too."""
    guards = Counter(grant.guard for grant in kept if grant.guard).most_common(2)
    if not guards:
        return ""
    counts = ", ".join(f"{count:,} by {code(guard)}" for guard, count in guards)
    reasons = {grant.why for grant in kept}
    reason = f": {prose(*reasons)}" if len(reasons) == 1 else ""
    return f" ({counts}{reason})"


def _contradicted(_: ReportContext) -> str:
    return "AWS contradicts the proof of this proposal: see *Evidence and replay*."


def _unlisted_access(context: ReportContext) -> str:
    return (
        f"It grants more than the listed additions: {codes(context.proof.new_access, MOST_SHOWN)}."
    )


def _too_large(_: ReportContext) -> str:
    return "It is larger than IAM accepts: see *Evidence and replay*."


def _newly_denied(context: ReportContext) -> str:
    return (
        "It would deny recorded calls that the policy allows:"
        f" {codes(context.proof.newly_denied, MOST_SHOWN)}."
    )


def _draft_denies(context: ReportContext) -> str:
    """Says which calls a first draft would deny since an action is never written, and what to
    do.
    """
    calls = context.ledger.calls
    actions = _expected_actions(context, DenialCause.NEVER_WRITTEN)
    what = them(len(actions))
    if not calls.denied:
        return (
            f"Runs called {codes(actions, MOST_SHOWN)}: {_who_forbids(context, actions)}, and such"
            f" a run will be denied. Find out why a run called {what}, and add {what} by hand only"
            f" if the deployment needs {what}."
        )
    return (
        f"{calls.denied_calls:,} of {plural(calls.succeeded, 'successful call')} would be denied"
        f" ({codes(actions, MOST_SHOWN)}): {_who_forbids(context, actions)}. Find out"
        f" why a run called {what}, and add {what} by hand only if the deployment needs {what}."
    )


def _who_forbids(context: ReportContext, actions: Collection[str]) -> str:
    """Returns who forbids some actions or calls: the user, or the built-in list."""
    held_changes = context.proposal.held_back_as("forbidden")
    held_of_actions = [
        held_change for held_change in held_changes if held_change.action in actions
    ] or held_changes
    what = them(len(actions))
    by_user = [
        held_change
        for held_change in held_of_actions
        if never_add_pattern(held_change.guard_result.reason)
    ]
    if not by_user:
        return f"a built-in rule forbids {what}"
    if len(by_user) == len(held_of_actions):
        return f"`never-add` forbids {what}"
    return f"a built-in rule or `never-add` forbids {what}"


def _sensitive_addition(context: ReportContext) -> str:
    """Names the sensitive action that a change adds, and what merging it does."""
    careful = {
        change.action: change.security
        for change in context.changes(ChangeKind.ADD)
        if change.security
    }
    first, why = next(iter(careful.items()))
    power = f"{code(first)}, which {why}"
    if len(careful) > 1:
        power = f"{plural(len(careful), 'sensitive action')}: {codes(careful, 3)}"
    sentence = f"It adds {power}."
    if context.proposal.committed is None:
        what = "Merging" if context.is_pull_request else "The file"
        sentence += f" {what} changes nothing in the account until you attach the policy."
    elif not context.verdict.facts.removed:
        sentence += " It removes nothing."
    return sentence


def _unreviewed(context: ReportContext) -> str:
    actions = sorted(context.ledger.unreviewed, key=removal_rank)
    return (
        f"Only runs of unreviewed code used {codes(actions, MOST_SHOWN)}, which the policy keeps."
        " Remove them by hand unless a reviewed run needs them."
    )


def _unreviewed_denied(context: ReportContext) -> str:
    calls = plural(context.verdict.facts.unreviewed_denied, "recorded call")
    events = dict.fromkeys(group.event for group in context.ledger.calls.denied)
    return (
        f"It denies {calls} that only runs of unreviewed code made ({codes(events, MOST_SHOWN)})."
        f" {calls_remain(context)}"
    )


def _new_deletion(context: ReportContext) -> str:
    actions = new_deletions(context.changes(ChangeKind.ADD))
    names = dict.fromkeys(
        short_arn(resource)
        for change in context.changes(ChangeKind.ADD)
        for resource in change.may_destroy
    )
    return (
        f"It adds {plural(len(actions), 'right')} to delete what no run deleted so far:"
        f" {codes(actions, MOST_SHOWN)} on {codes(names, 3)}."
    )


_ADVICE = "Record data events, or add what the deployment needs"


def _denial_expected(context: ReportContext) -> str:
    unrecorded = _expected_actions(context, DenialCause.NOT_RECORDED, DenialCause.STATE)
    if unrecorded:
        action_words = codes(unrecorded, MOST_SHOWN)
        return f"A run will be denied {action_words}, whose use no record shows. {_ADVICE}."
    unanswered = _expected_actions(context, DenialCause.NO_ANSWER)
    return (
        f"Runs called {codes(unanswered, MOST_SHOWN)}, and no record shows that this succeeded, so"
        " the draft does not allow it: add what the deployment needs."
    )


def _unrecorded_use(context: ReportContext) -> str:
    actions = _expected_actions(context, DenialCause.IF_USED)
    action_words = codes(actions, MOST_SHOWN)
    return f"The draft does not allow {action_words}: {_use_is_unknown(len(actions))}. {_ADVICE}."


def _use_is_unknown(count: int) -> str:
    return f"no record that was read shows whether runs use {them(count)}"


def _expected_actions(context: ReportContext, *causes: DenialCause) -> list[str]:
    """Returns the actions that a run will be denied for some causes, the most sensitive first."""
    expected = (each for each in context.chance.expected if each.cause in causes)
    return sorted({action for each in expected for action in each.actions}, key=removal_rank)


def _users_not_covered(context: ReportContext) -> str:
    users = users_not_covered(context.evidence)
    call_words = "its calls" if len(users) == 1 else "their calls"
    return (
        f"{plural(len(users), 'other role or user', 'other roles and users')} may use the same"
        f" policy, and {call_words} were not read: {codes(users, 2)}."
    )


def _still_lacks(context: ReportContext) -> str:
    events = dict.fromkeys(group.event for group in context.ledger.calls.denied)
    return (
        f"Neither the committed policy nor this one allows {codes(events, MOST_SHOWN)}, which"
        f" {'was' if len(events) == 1 else 'were'} called: name the policy that does in"
        f" `also-attached`, or add {them(len(events))} by hand."
        f" {calls_remain(context)}"
    )


def _removed_unrecorded(context: ReportContext) -> str:
    """Says how many of the removed actions leave no record, so that no record can show their
    use.
    """
    ledger = context.ledger
    grants = ledger.grants_of(GrantState.REMOVED_UNRECORDED)
    unseen = sum(1 for grant in grants if grant.guard == UNSEEN_SERVICE)
    in_use = len(grants) - unseen
    removed = plural(ledger.removed, "removed action")
    calls = calls_remain(context)
    if not in_use:
        return (
            f"{unseen:,} of the {removed} leave no CloudTrail record; they belong to services"
            f" without any call. {calls}"
        )
    leave = "leaves" if in_use == 1 else "leave"
    sentence = (
        f"{in_use:,} of the {removed} {leave} no CloudTrail record, so no record can show whether"
        f" {'it was' if in_use == 1 else 'they were'} used"
    )
    if unseen:
        sentence += f"; {unseen:,} more belong to services without any call"
    return f"{sentence}. {calls}"


def _never_ran(context: ReportContext) -> str:
    sources = codes(context.evidence.aws_findings.declared.sources, 3)
    return f"It is made from {sources}, and no run has shown what else is needed."


def _region_assumed(context: ReportContext) -> str:
    region = code(context.evidence.coverage.assumed_region)
    return (
        f"All records are of {region}, so a use in another region was not seen: set `aws-regions`"
        f" to {region} if the role works there alone. {calls_remain(context)}"
    )


def _often_denied(context: ReportContext) -> str:
    facts = context.verdict.facts
    if not facts.removed and not facts.is_draft:
        added = plural(facts.added, "permission")
        counts = _counts(context)
        return f"{counts} It adds {added} and removes nothing; a run may need more."
    # The line on the chance has the counts.
    runs = plural(len(context.evidence.runs), "run")
    return (
        f"The evidence has {runs}, and {_WORDS[context.chance.word]} something."
        f" {calls_remain(context)}"
    )


def _names_untested(context: ReportContext) -> str:
    actions = dict.fromkeys(context.chance.untested_names)
    return (
        f"It narrows {codes(actions, MOST_SHOWN)} to the names that the first runs created, and no"
        " later run created any: a run that chooses another name may be denied."
        f" {calls_remain(context)}"
    )


def _removals_untested(context: ReportContext) -> str:
    chance = context.chance
    tests = f"the latest {chance.tests:,} do" if chance.tests else "none does"
    whose = " of each user" if len(context.evidence.users) > 1 else ""
    return (
        f"{plural(chance.least_tests, 'run')}{whose} decide what it removes, and as many later ones"
        f" must show in a row that they do not need it: {tests}. {calls_remain(context)}"
    )


def _few_quiet_runs(context: ReportContext) -> str:
    chance = context.chance
    return (
        "It is a first draft, and drafts of earlier runs would have denied nothing to the last"
        f" {plural(chance.quiet, 'run')}: wait for {QUIET_RUNS} before you detach the wide policy."
        f" {calls_remain(context)}"
    )


def _only_adds(context: ReportContext) -> str:
    added = context.verdict.facts.added
    return f"It adds {plural(added, 'permission')} and removes nothing, so it denies no call."


def _all_recorded(context: ReportContext) -> str:
    removed = context.ledger.removed
    if not removed:
        return calls_remain(context)
    permissions = plural(removed, "removed permission")
    added = context.verdict.facts.added
    sentences = [f"No record shows a use of the {permissions}, and each use would be recorded."]
    if added:
        verb = "is" if added == 1 else "are"
        branch = (
            "; the branch of their runs is unknown" if unknown_branch_of_additions(context) else ""
        )
        sentences.append(f"The {plural(added, 'added permission')} {verb} not sensitive{branch}.")
    return " ".join([*sentences, calls_remain(context)])


_REASONS: Mapping[VerdictRule, Callable[[ReportContext], str]] = {
    VerdictRule.DRAFT_DECLINED: _draft_declined,
    VerdictRule.PROBE: _probe,
    VerdictRule.ADD_BY_HAND: _add_by_hand,
    VerdictRule.NO_RECORDS: _no_records,
    VerdictRule.NO_CALLS: _no_calls,
    VerdictRule.NO_SUCCESS: _no_success,
    VerdictRule.LACKS_PERMISSIONS: _lacks_permissions,
    VerdictRule.LACKS_EVIDENCE: _lacks_evidence,
    VerdictRule.UNCHANGED: _unchanged,
    VerdictRule.CONTRADICTED: _contradicted,
    VerdictRule.UNLISTED_ACCESS: _unlisted_access,
    VerdictRule.TOO_LARGE: _too_large,
    VerdictRule.NEWLY_DENIED: _newly_denied,
    VerdictRule.DRAFT_DENIES: _draft_denies,
    VerdictRule.SENSITIVE_ADDITION: _sensitive_addition,
    VerdictRule.SENSITIVE_UNREVIEWED: _unreviewed,
    VerdictRule.NEW_DELETION: _new_deletion,
    VerdictRule.DENIAL_EXPECTED: _denial_expected,
    VerdictRule.UNREVIEWED_USE: _unreviewed,
    VerdictRule.UNREVIEWED_DENIED: _unreviewed_denied,
    VerdictRule.USERS_NOT_COVERED: _users_not_covered,
    VerdictRule.STILL_LACKS: _still_lacks,
    VerdictRule.REMOVED_UNRECORDED: _removed_unrecorded,
    VerdictRule.NEVER_RAN: _never_ran,
    VerdictRule.REGION_ASSUMED: _region_assumed,
    VerdictRule.OFTEN_DENIED: _often_denied,
    VerdictRule.NAMES_UNTESTED: _names_untested,
    VerdictRule.REMOVALS_UNTESTED: _removals_untested,
    VerdictRule.UNRECORDED_USE: _unrecorded_use,
    VerdictRule.FEW_QUIET_RUNS: _few_quiet_runs,
    VerdictRule.ONLY_ADDS: _only_adds,
    VerdictRule.ALL_RECORDED: _all_recorded,
}


def chance_sentences(context: ReportContext) -> Iterator[str]:
    """Yields the chance of a denial in a word and counts, and the permissions that will be
    denied.
    """
    facts, chance = context.verdict.facts, context.chance
    if not facts.has_changes or not facts.calls or not (facts.is_draft or facts.removed):
        return
    word = _WORDS[chance.word]
    certain = [expected for expected in chance.expected if expected.is_certain]
    if certain:
        will_be_denied = "; ".join(_expected(expected, context) for expected in certain)
        yield f"**Will be denied:** {will_be_denied}."
        word = f"apart from that, {word}"
    sentence = f"**{word[0].upper()}{word[1:]}.** {_counts(context)}"
    missing = [_KINDS[kind] for kind in chance.not_shown]
    if missing:
        often = "will likely be denied" if facts.is_draft else "may be denied"
        sentence += f" No run so far {joined(missing, 'or')}: such a run {often}."
    if chance.days:
        sentence += f" A job rarer than {plural(chance.days, 'day')} is not covered."
    yield sentence
    is_said = context.verdict.rule is VerdictRule.DENIAL_EXPECTED and not certain
    if not is_said:
        yield from _possible_denials(context)


def _possible_denials(context: ReportContext) -> Iterator[str]:
    """Yields a sentence for the actions of which some runs are denied the use, the most sensitive
    first; without those that the reason of the instruction names.
    """
    is_said = context.verdict.rule is VerdictRule.UNRECORDED_USE
    possible: dict[DenialCause, set[str]] = {}
    for expected in context.chance.expected:
        if not expected.is_certain:
            possible.setdefault(expected.cause, set()).update(expected.actions)
    if_used = possible.pop(DenialCause.IF_USED, set())
    if if_used and not is_said:
        action_words = codes(sorted(if_used, key=removal_rank), 3)
        yield f"**Not allowed, use unknown:** {action_words}: {_use_is_unknown(len(if_used))}."
    called = []
    for cause, actions in possible.items():
        action_words = codes(sorted(actions, key=removal_rank), MOST_SHOWN)
        called.append(f"{action_words} ({_cause(context, cause, actions)})")
    if called:
        yield f"**Not allowed, needed by some runs:** {'; '.join(called)}."


def _cause(context: ReportContext, cause: DenialCause, actions: Collection[str]) -> str:
    if cause is DenialCause.NEVER_WRITTEN:
        return f"called, and {_who_forbids(context, actions)}"
    return _CAUSES[cause]


def _counts(context: ReportContext) -> str:
    """Returns the counts behind the word, as sentences."""
    chance = context.chance
    if not chance.later and chance.left_out > 1:
        return "No run could be judged by the policy of the runs before it."
    if not chance.later:
        return "One run does not show what the next needs."
    sentence = f"A policy made from {_judged_runs(context)}"
    if chance.has_unrecorded_use:
        sentence += ", as far as calls are recorded"
    sentence += "."
    if chance.later_denied and not chance.quiet and chance.last_is_settled:
        sentence += " This policy allows what the last run lacked."
    # Where earlier runs show denials, the fold on the evidence has the other count.
    if chance.left_out_denied and not chance.later_denied:
        sentence += (
            " A policy made from all other runs would have denied"
            f" {chance.left_out_denied:,} of {plural(chance.left_out, 'run')}."
        )
    return sentence


def _judged_runs(context: ReportContext) -> str:
    """Returns what a policy made from earlier runs would have denied the runs after them."""
    chance = context.chance
    is_each = chance.later == len(context.evidence.runs) - chance.after
    allowed = "denied" if chance.later_denied else "denied nothing to"
    if is_each and chance.later == chance.after == 1:
        return f"the first run would have {allowed} the second"
    first = "the first" if chance.after == 1 else f"the first {chance.after:,}"
    if chance.later == 1:
        run_words = f"the run after {first}" if is_each else "the later run that could be judged"
        return f"earlier runs would have {allowed} {run_words}"
    count = f"{chance.later_denied:,}" if chance.later_denied else "none"
    run_words = f"runs after {first}" if is_each else "later runs that could be judged"
    sentence = f"earlier runs would have denied {count} of the {chance.later:,} {run_words}"
    if chance.later_denied in (0, chance.later):
        return sentence
    if chance.quiet > 1:
        return f"{sentence}, none of the last {chance.quiet:,}"
    return f"{sentence}, {'not the last one' if chance.quiet else 'the last one too'}"


def _expected(each: ExpectedDenial, context: ReportContext) -> str:
    on_resources = f" on {codes(each.resources, 2)}" if each.resources else ""
    cause = _cause(context, each.cause, each.actions)
    return f"{codes(each.actions, MOST_SHOWN)}{on_resources} ({cause})"


def title(context: ReportContext) -> str:
    """Returns the title of a result by its effect: fixed words, figures and the role's name."""
    role = name(context.principal.rpartition("/")[2])
    if context.shown_account:
        role += f", {context.shown_account}"
    facts, ledger = context.verdict.facts, context.ledger
    by_hand = f"needs {plural(facts.by_hand, 'permission')} that you must add in {_file(context)}"
    if context.verdict.rule in (VerdictRule.NO_RECORDS, VerdictRule.NO_CALLS):
        why = "no record was read" if not context.records else "no call of it was read"
        return f"No evidence of {role}: {why}"
    prefix = _prefix(context, role)
    if not facts.has_changes:
        return f"{prefix}: {by_hand if facts.by_hand else _unchanged_title(context)}"
    if facts.is_draft:
        added = {change.action for change in context.changes(ChangeKind.ADD)}
        return f"{prefix}: first draft with {plural(len(added), 'action')}"
    before, actions_left = len(ledger.actions), len(ledger.actions_left)
    parts: list[str] = []
    if actions_left < before:
        parts.append(f"{before:,} -> {actions_left:,} actions")
    elif ledger.removed:
        parts.append(f"{plural(ledger.removed, 'repeated grant')} removed")
    if ledger.narrowed:
        parts.append(f"{ledger.narrowed:,} narrowed")
    if facts.added:
        # The actions after the arrow are those that are left: without the word they seem to
        # include the added ones.
        parts.append(f"{'plus ' if parts else ''}{facts.added:,} added")
    if facts.by_hand:
        parts.append(by_hand)
    return f"{prefix}: {', '.join(parts) or plural(len(context.proposal.changes), 'change')}"


def _prefix(context: ReportContext, role: str) -> str:
    """Returns what a title begins with: `iam(role)`, or the prefix of the settings."""
    if not context.title_prefix:
        return f"iam({role})"
    prefix = plain(context.title_prefix)
    if ROLE_IN_PREFIX in prefix:
        return prefix.replace(ROLE_IN_PREFIX, role)
    return f"{prefix}: {role}"


def _unchanged_title(context: ReportContext) -> str:
    """Returns why nothing changes, where it is not that the policy fits."""
    facts, calls = context.verdict.facts, context.ledger.calls
    match context.verdict.rule:
        case VerdictRule.PROBE:
            return f"{plural(calls.refused, 'denied call')} and no success, maybe an attack"
        case VerdictRule.NO_SUCCESS:
            return "no call succeeded"
        case VerdictRule.LACKS_PERMISSIONS:
            return f"the policy lacks what {plural(facts.lacking, 'recorded call')} used"
        case VerdictRule.LACKS_EVIDENCE:
            return "nothing to change yet"
        case VerdictRule.DRAFT_DECLINED:
            return "the first draft was declined"
        case _:
            return "nothing to change"


def _file(context: ReportContext) -> str:
    """Returns the path of the policy file as a title has it."""
    return path_name(context.policy_path)
