"""Collects the calls of each principal into usage: permission -> count, first seen, last seen,
runs.

Distributes calls to one collector per principal; gaps go to all collectors. Memory grows with
distinct values only.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, cast

import msgspec
from msgspec import Struct, structs

from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.coverage import merge_source_gaps
from leastpriv.cloudtrail.file_reader import CountedCalls
from leastpriv.cloudtrail.record import is_login
from leastpriv.cloudtrail.record_blocks import was_read
from leastpriv.denials.encoded_message import NO_DECODER, Decoder
from leastpriv.evidence.bucket_accounts import with_bucket_accounts
from leastpriv.evidence.collected_calls import (
    AnswerCounts,
    CollectedCalls,
    EventReason,
    GapKey,
    GroupedCalls,
    PrincipalCalls,
)
from leastpriv.evidence.created_tags import TagLedger
from leastpriv.evidence.iam_paths import with_known_paths
from leastpriv.evidence.limits import BoundedCounts, ResourceList, at_level
from leastpriv.evidence.models import (
    CallGroup,
    CallTotals,
    Counts,
    Evidence,
    GroupKey,
    NotEvaluated,
    regrouped,
    united,
)
from leastpriv.evidence.runs import FURTHER_KEYS, IssuedKeys, RunTracker
from leastpriv.models import (
    AGGREGATED,
    Call,
    Denial,
    DeniedBy,
    Gap,
    GapKind,
    Need,
    Outcome,
    Permission,
    Scope,
    Usage,
    grouped,
)
from leastpriv.permissions.arn_templates import without_build_step_names
from leastpriv.permissions.event_table import Verdict, scope_of_unmapped
from leastpriv.permissions.lifecycle import unknown_refusals
from leastpriv.permissions.mapping import CallNeeds, needs_of
from leastpriv.permissions.request import creates, hides_passed_role, new_ids

_MOST_RESOURCES_PER_ACTION = 500
"""Where an action has more resources, all of them are replaced by wildcards of their parents."""
_MOST_GAPS = 1_000
NO_ANSWER = "no-answer"
_NO_ANSWER_OF = f"{NO_ANSWER} "
"""Mark of a call without an answer, before its event."""
_OF_SESSION = "of session "
"""Mark of a denial by a session policy, before its access key."""
_FEWEST_ANSWERS = 5
_ANSWERS_PER_MISSING = 10
"""Answers that show that an event always has one: so many at least, and so many for each call
without.
"""
_ALLOWED = Outcome.ALLOWED
_DENIED = Outcome.DENIED
_UNKNOWN = Outcome.UNKNOWN
_MAPPED = Verdict.MAPPED
_NO_RUN = -1
"""The run of a call that may be no deployment's."""


class _Place(Struct, eq=False, gc=False):
    """Where a collector counts a call, and all calls that repeat it."""

    collector: object
    """The mark of the collector."""
    mapped: CallNeeds
    is_call: bool
    """False: a summary of data events shows no call of one principal."""
    totals: tuple[CallTotals, ...] = ()
    gaps: tuple[Gap, ...] = ()
    not_evaluated: tuple[EventReason, ...] = ()
    answers: AnswerCounts | None = None
    """Where a writing call of the event shows whether it has an answer."""
    lacks_answer: bool = False
    is_unmapped: bool = False
    needs_no_permission: bool = False
    creates: bool = False
    """The call creates a resource, of which the collector keeps the id."""
    tag_service: str = ""
    """The service of what the call creates, of which the collector keeps the tags."""
    is_alone: bool = False
    """The session and the access key of the call decide as well: no other call counts here."""


class UsageCollector:
    """Collects the calls of one principal; `close` returns the evidence."""

    def __init__(
        self,
        principal: str,
        decoder: Decoder = NO_DECODER,
        issued: IssuedKeys | None = None,
    ) -> None:
        """`issued` keys are those of the calls of all principals."""
        self._mark = object()
        self._principal = self._counted = principal
        self._decoder = decoder
        self._issued = issued
        self._runs = RunTracker(issued.stored if issued else None)
        self._groups: dict[GroupKey, CallTotals] = {}
        self._gaps = BoundedCounts(_MOST_GAPS, order=_order_of_gap, without_detail=_general_gap)
        self._resources: dict[str, ResourceList] = {}
        self._answers: dict[str, AnswerCounts] = {}
        """By event."""
        self._checked_inside: dict[str, str] = {}
        self._tags = TagLedger()
        self._not_evaluated = BoundedCounts(
            _MOST_GAPS, order=_in_order, without_detail=_general_call
        )
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._unmapped = self._no_permission = 0

    def rename(self, principal: str) -> None:
        """Sets the ARN of the evidence: the path of a role may be known only later."""
        self._principal = principal

    def note_gap(self, gap: Gap) -> None:
        """Adds a gap and counts equal gaps; past a limit the details are dropped, never the
        scope.
        """
        self._gaps.add(GapKey(gap.kind, gap.scope, gap.detail), gap.count)

    def note(self, call: Call) -> None:
        """Counts one call of the principal."""
        run = _NO_RUN if call.caller_doubt else self._runs.note(call, self._counted)
        place = call.repeats.place if call.repeats else None
        if not isinstance(place, _Place):
            place = self._new_place(call, needs_of(call))
        elif place.collector is not self._mark:
            place = self._new_place(call, place.mapped)
        self._count(call, run, place)

    def _new_place(self, call: Call, mapped: CallNeeds) -> _Place:
        """Decides where a call counts, and marks the calls that repeat it."""
        place = self._place_of(call, mapped)
        repeats = call.repeats
        if repeats and not place.is_alone:
            is_decided = repeats.equal_answers or not was_read(call.response)
            repeats.place = place if is_decided else None
        return place

    def _count(self, call: Call, run: int, place: _Place) -> None:
        """Counts a call in its place."""
        if place.is_call:
            self._outcomes[call.outcome] += 1
        created_ids: tuple[str, ...] = ()
        if place.creates:
            created_ids = new_ids(call)
            if place.tag_service and run != _NO_RUN:
                self._tags.note(call, place.tag_service, run, created_ids)
        for totals in place.totals:
            totals.count_call(call.time, run, created_ids)
        if place.answers:
            if place.lacks_answer:
                place.answers.unanswered += 1
            else:
                place.answers.answered += 1
        for gap in place.gaps:
            self.note_gap(gap)
        for event_and_reason in place.not_evaluated:
            self._not_evaluated.add(event_and_reason, 1)
        if place.is_unmapped:
            self._unmapped += 1
        if place.needs_no_permission:
            self._no_permission += 1

    def _place_of(self, call: Call, mapped: CallNeeds) -> _Place:
        """Decides where a call counts."""
        place = _Place(
            self._mark,
            mapped,
            is_call=call.caller_doubt != AGGREGATED,
            creates=not call.error_code and creates(call.name),
        )
        hides_role = call.read_only is False and hides_passed_role(call)
        is_clear = mapped.verdict is _MAPPED and not mapped.gaps and call.outcome is not _UNKNOWN
        if hides_role or call.parameters_omitted or not is_clear:
            self._place_doubts(place, call, mapped, hides_role=hides_role)
        for action in mapped.kept:
            self._note_inside(action, f"{call.source.partition('.')[0]}:{call.name}")
        if call.outcome is _DENIED:
            self._place_denial(place, call, mapped)
            return place
        if mapped.needs:
            self._place_needs(place, call, mapped.needs, call.outcome)
        if place.creates:
            place.tag_service = mapped.prefix
        return place

    def _listed(self) -> dict[GroupKey, CallTotals]:
        """Returns the groups with the resources that all calls together leave in the list.

        A resource that was listed is replaced where later calls showed too many of its action.
        """
        if not any(resources.level for resources in self._resources.values()):
            return self._groups

        def at_its_level(key: GroupKey, _: CallTotals) -> GroupKey:
            needs = [self._at_its_level(need) for need in key.needs]
            return key._replace(needs=tuple(needs))

        return regrouped(self._groups, at_its_level)

    def _with_final_outcomes(
        self, groups: dict[GroupKey, CallTotals], is_rehearsal_key: Callable[[str], bool]
    ) -> dict[GroupKey, CallTotals]:
        """Returns the groups with the outcomes that only all calls together show.

        A call without the answer that its kind nearly always has is of unknown outcome. What the
        session policy of a rehearsal's key denied lacks in the proposal.
        """
        if not any(key.mark.startswith((_NO_ANSWER_OF, _OF_SESSION)) for key in groups):
            return groups

        def with_final_outcome(key: GroupKey, totals: CallTotals) -> GroupKey:
            if key.mark.startswith(_NO_ANSWER_OF):
                if self._nearly_always_answers(key.mark.removeprefix(_NO_ANSWER_OF)):
                    return key._replace(outcome=_UNKNOWN, mark=NO_ANSWER)
                return key._replace(mark="")
            if not key.mark.startswith(_OF_SESSION) or totals.denial is None:
                return key
            from leastpriv.denials.needs import as_rehearsal_denial

            is_rehearsed = is_rehearsal_key(key.mark.removeprefix(_OF_SESSION))
            totals.denial = as_rehearsal_denial(totals.denial, rehearsed=is_rehearsed)
            return key._replace(mark=_mark_of(totals.denial))

        return regrouped(groups, with_final_outcome)

    def _nearly_always_answers(self, event: str) -> bool:
        counts = self._answers[event]
        if counts.answered < _FEWEST_ANSWERS:
            return False
        return counts.unanswered * _ANSWERS_PER_MISSING <= counts.answered

    def _place_denial(self, place: _Place, call: Call, mapped: CallNeeds) -> None:
        """Notes what a denied call needs, and as gaps what its message does not say or says
        otherwise than the mapping.
        """
        # Loading the grammar of denials takes as long as reading a small trail, which may hold
        # none.
        import leastpriv.denials.needs as denied

        event = f"{call.source}:{call.name}"
        denial = denied.recorded_denial(call, self._principal, self._decoder)
        place.is_alone = denial.denied_by is DeniedBy.SESSION
        if denial.encoded and not denial.actions:
            detail = f"{event}{self._decoder.trouble}"
            place.gaps += (Gap(GapKind.ENCODED_DENIAL, Scope(), detail),)
        strange = unknown_refusals(call.source, call.name, mapped, denial.actions)
        if strange:
            actions = dict.fromkeys((*strange, *(need.permission.action for need in mapped.needs)))
            detail = f"{event} was denied {', '.join(strange)}"
            scope = Scope(actions=tuple(actions))
            place.gaps += (Gap(GapKind.MAPPING_DISAGREES, scope, detail),)
        for action in denied.mapping_contradictions(mapped, denial):
            detail = f"{event} was denied {action} on another resource than its request names"
            scope = Scope(actions=(action,))
            place.gaps += (Gap(GapKind.MAPPING_DISAGREES, scope, detail),)
        implied = denied.implied_needs(call, mapped)
        needs = denied.with_conditions(denied.denied_needs(mapped, denial, call), implied, call)
        self._place_denied_needs(place, call, needs, denial)
        if denial.actions:
            # A denial of another action (`iam:PassRole`): the call's own action was attempted, with
            # unknown outcome.
            named_actions = {need.permission.action for need in needs}
            own_needs = tuple(
                need for need in mapped.needs if need.permission.action not in named_actions
            )
            if own_needs:
                self._place_needs(place, call, own_needs, _UNKNOWN)
        if denial.mendable:
            dependent = denied.dependent_needs(implied, needs)
            self._place_denied_needs(place, call, dependent, denial)

    def _place_denied_needs(
        self, place: _Place, call: Call, needs: tuple[Need, ...], denial: Denial
    ) -> None:
        if not needs:
            return
        mark = _mark_of(denial)
        if denial.denied_by is DeniedBy.SESSION and not denial.mendable and call.access_key:
            # The record that says what the key is for may come later.
            is_stored = self._issued is None or self._issued.stored.keeps(call.access_key)
            mark = _OF_SESSION + (call.access_key if is_stored else FURTHER_KEYS)
        totals = self._totals(call, needs, call.outcome, mark)
        totals.note_denial(denial)
        place.totals += (totals,)

    def _place_needs(
        self, place: _Place, call: Call, needs: tuple[Need, ...], outcome: Outcome
    ) -> None:
        """Adds the group of a call, and where a successful writing call shows that it has an
        answer.
        """
        mark = call.caller_doubt
        is_success = call.outcome is _ALLOWED and not call.error_code
        if is_success and call.read_only is False and not mark:
            event = f"{call.source}:{call.name}"
            place.answers = self._answers.setdefault(event, AnswerCounts())
            place.lacks_answer = not call.response
            if place.lacks_answer:
                mark = _NO_ANSWER_OF + event
        place.totals += (self._totals(call, needs, outcome, mark),)

    def _totals(
        self, call: Call, needs: tuple[Need, ...], outcome: Outcome, mark: str
    ) -> CallTotals:
        key = GroupKey(tuple(map(self._folded, needs)), outcome, mark, call.region)
        totals = self._groups.get(key)
        if totals is None:
            totals = self._groups[key] = CallTotals(call.time, call.time)
        totals.describe(call)
        return totals

    def collected(self, name: str, places: dict[Need, int]) -> PrincipalCalls:
        """Returns what was counted, for another collector of the principal to add.

        Args:
            name: the ARN under which the calls count.
            places: the place of each need in a list; needs are added to it.
        """
        groups = []
        for key, totals in self._groups.items():
            numbers = tuple([places.setdefault(need, len(places)) for need in key.needs])
            groups.append(GroupedCalls(numbers, key.outcome, key.mark, key.region, totals))
        return PrincipalCalls(
            name=name,
            groups=groups,
            runs=self._runs.noted(),
            gaps=self._gaps.counts(),
            resources={action: resources.listed() for action, resources in self._resources.items()},
            answers=self._answers,
            checked_inside=self._checked_inside,
            tags=self._tags.noted(),
            not_evaluated=self._not_evaluated.counts(),
            outcomes=self._outcomes,
            unmapped=self._unmapped,
            no_permission=self._no_permission,
        )

    def absorb(self, other: PrincipalCalls, needs: Sequence[Need]) -> None:
        """Adds what another collector of the principal counted; `needs`: the list of its needs."""
        shift = self._runs.absorb(other.runs)
        for group in other.groups:
            totals = group.totals
            totals.runs = [run if run == _NO_RUN else run + shift for run in totals.runs]
            own_needs = tuple([needs[number] for number in group.needs])
            key = GroupKey(own_needs, group.outcome, group.mark, group.region)
            earlier_totals = self._groups.get(key)
            if earlier_totals is None:
                self._groups[key] = totals.compact()
            else:
                earlier_totals.absorb(totals)
        for action, resources in other.resources.items():
            self._list_of(action).absorb(resources)
        for event, counts in other.answers.items():
            self._answers.setdefault(event, AnswerCounts()).absorb(counts)
        for action, inside in other.checked_inside.items():
            self._note_inside(action, inside)
        self._gaps.absorb(other.gaps)
        self._tags.absorb(other.tags, shift)
        self._not_evaluated.absorb(other.not_evaluated)
        for outcome, count in other.outcomes.items():
            self._outcomes[outcome] += count
        self._unmapped += other.unmapped
        self._no_permission += other.no_permission

    def _note_inside(self, action: str, event: str) -> None:
        """Keeps the first event, by name, inside which AWS may have checked an action."""
        self._checked_inside[action] = min(event, self._checked_inside.get(action, event))

    def close(self) -> Evidence:
        """Returns the evidence so far, with usages sorted by action, resource and outcome."""
        keys = self._issued or IssuedKeys()
        keys.settle()
        runs = self._runs.resolve(keys.identity_of, keys.logged_in)
        distinct_runs = {run.id: run for run in runs}.values()
        ordered = tuple(sorted(distinct_runs, key=lambda run: (run.first, run.id)))
        position_by_run = {run.id: position for position, run in enumerate(ordered)}
        positions = [position_by_run[run.id] for run in runs]

        @cache
        def run_ids(tokens: frozenset[int]) -> tuple[str, ...]:
            own_positions = {positions[token] for token in tokens if token != _NO_RUN}
            return tuple([ordered[position].id for position in sorted(own_positions)])

        uses = list(self._runs.key_uses()) if self._issued else []
        groups: Mapping[GroupKey, CallTotals]
        groups = self._with_final_outcomes(self._listed(), keys.is_rehearsal_key)
        groups = self._tags.with_context(with_known_paths(groups))
        groups = with_bucket_accounts(groups, self._principal)
        unanswered = 0
        unanswered_unmapped = 0
        for key, totals in groups.items():
            if key.mark != NO_ANSWER:
                continue
            unanswered += totals.count
            if not all(need.verified for need in key.needs):
                unanswered_unmapped += totals.count
            self._not_evaluated.add(EventReason(min(totals.events), NO_ANSWER), totals.count)
        regions = {region for totals in groups.values() for region in totals.regions}
        return Evidence(
            principal=self._principal,
            usages=tuple(_usages(groups, run_ids)),
            groups=_call_groups(groups, run_ids),
            gaps=tuple(Gap(*total.key, count=total.count) for total in self._gaps.totals()),
            runs=keys.with_parent_runs(uses, ordered),
            signed=keys.key_issuers(uses),
            first=min((run.first for run in ordered), default=None),
            last=max((run.last for run in ordered), default=None),
            counts=Counts(
                calls=sum(self._outcomes.values()),
                allowed=self._outcomes[Outcome.ALLOWED] - unanswered,
                denied=self._outcomes[Outcome.DENIED],
                unknown=self._outcomes[Outcome.UNKNOWN] + unanswered,
                unmapped=self._unmapped - unanswered_unmapped,
                no_permission=self._no_permission,
            ),
            regions=tuple(sorted(regions)),
            checked_inside=dict(sorted(self._checked_inside.items())),
            created_tags=self._tags.close(run_ids),
            not_evaluated=tuple(
                NotEvaluated(*total.key, total.count) for total in self._not_evaluated.totals()
            ),
        )

    def _place_doubts(
        self, place: _Place, call: Call, mapped: CallNeeds, *, hides_role: bool
    ) -> None:
        """Notes a call that needs no permission or that no replay evaluates, and as gaps what its
        record hides and what the mapping does not know of its event.
        """
        event = f"{call.source}:{call.name}"
        allowed = call.outcome is _ALLOWED
        if call.outcome is _UNKNOWN and place.is_call:
            reason = call.caller_doubt or call.error_code
            place.not_evaluated += (EventReason(event, reason),)
        if hides_role:
            scope = Scope(actions=("iam:PassRole",))
            place.gaps += (Gap(GapKind.MAY_PASS_ROLE, scope, event),)
        if mapped.verdict is Verdict.NO_PERMISSION:
            place.needs_no_permission = allowed
        elif mapped.verdict is Verdict.UNMAPPED:
            place.is_unmapped = allowed
            if allowed:
                place.not_evaluated += (EventReason(event, GapKind.UNMAPPED_EVENT.value),)
            scope = scope_of_unmapped(call.source, call.name, mapped.prefix)
            place.gaps += (Gap(GapKind.UNMAPPED_EVENT, scope, event),)
        elif mapped.verdict is Verdict.UNVERIFIED:
            place.is_unmapped = allowed
            if allowed:
                place.not_evaluated += (EventReason(event, GapKind.UNVERIFIED_ACTION.value),)
            scope = Scope(services=(mapped.prefix,))
            place.gaps += (Gap(GapKind.UNVERIFIED_ACTION, scope, event),)
        place.gaps += mapped.gaps
        if call.parameters_omitted:
            scope = Scope(actions=("iam:PassRole",))
            place.gaps += (Gap(GapKind.PARAMETERS_OMITTED, scope, event),)

    def _folded(self, need: Need) -> Need:
        need = without_build_step_names(need)
        permission = need.permission
        if permission.resource == "*":
            return need
        resources = self._list_of(permission.action)
        resources.add(permission.resource)
        return self._at_its_level(need) if resources.level else need

    def _list_of(self, action: str) -> ResourceList:
        resources = self._resources.get(action)
        if resources is None:
            resources = self._resources[action] = ResourceList(_MOST_RESOURCES_PER_ACTION)
        return resources

    def _at_its_level(self, need: Need) -> Need:
        """Returns a need with its resource, or with the pattern of a long list over it."""
        permission = need.permission
        resources = self._resources.get(permission.action)
        if resources is None or not resources.level or permission.resource == "*":
            return need
        widened = at_level(permission.resource, resources.level)
        folded = Permission(permission.action, widened, permission.conditions)
        return structs.replace(
            need, permission=folded, derivation="folded: too many resources", exact=False
        )


def _in_order(key: EventReason) -> EventReason:
    return key


def _general_call(key: EventReason) -> EventReason:
    return key._replace(event="further events")


def _order_of_gap(key: GapKey) -> tuple[object, ...]:
    return (key.kind, key.detail, structs.astuple(key.scope))


def _general_gap(key: GapKey) -> GapKey:
    return key._replace(detail="and more of the kind")


def _mark_of(denial: Denial) -> str:
    """Returns the mark of a denial whose policy type is known."""
    return f"{denial.denied_by} {denial.mendable}"


def _call_groups(
    groups: Mapping[GroupKey, CallTotals], run_ids: Callable[[frozenset[int]], tuple[str, ...]]
) -> tuple[CallGroup, ...]:
    """Returns the groups of calls, sorted."""
    call_groups = [
        CallGroup(
            needs=key.needs,
            outcome=key.outcome,
            count=totals.count,
            runs=run_ids(frozenset(totals.runs)),
            regions=tuple(sorted(totals.regions)),
            event=min(totals.events),
            forwarded_by=tuple(sorted(totals.forwarded)),
        )
        for key, totals in groups.items()
    ]
    return tuple(sorted(call_groups, key=_order_of_group))


def _order_of_group(group: CallGroup) -> tuple[object, ...]:
    needs = [structs.astuple(need) for need in group.needs]
    return (group.event, needs, group.outcome, group.regions, group.runs, group.count)


class _UsageKey(NamedTuple):
    """What the calls of a usage have in common."""

    need: Need
    outcome: Outcome
    mark: str


def _usages(
    groups: Mapping[GroupKey, CallTotals], run_ids: Callable[[frozenset[int]], tuple[str, ...]]
) -> list[Usage]:
    """Unites the calls of each need and outcome to one usage."""
    totals_by_key = grouped(
        (_UsageKey(need, key.outcome, key.mark), totals)
        for key, totals in groups.items()
        for need in dict.fromkeys(key.needs)
    )
    usages = []
    for key, parts in totals_by_key.items():
        total = united(parts)
        runs = run_ids(frozenset(total.runs))
        doubt = key.mark if key.outcome is _UNKNOWN else ""
        usages.append(total.usage(key.need, key.outcome, runs, doubt))
    return sorted(usages, key=_order_of_usage)


def _order_of_usage(usage: Usage) -> tuple[object, ...]:
    need = usage.need
    return (
        need.permission,
        usage.outcome,
        need.derivation,
        usage.doubt,
        structs.astuple(need),
        usage.runs,
        usage.count,
        repr(usage.denial),
    )


_MOST_BY_PATTERN = 20_000
"""Most principals that match a pattern: logs may contain any number, and each has a collector."""


def _is_encoded_denial(call: Call) -> bool:
    """Whether the denial of a call may have an encoded text, which AWS decodes."""
    return call.outcome is _DENIED and "encoded" in call.error_message.lower()


class _CountedPrincipal(NamedTuple):
    """The principal of whom calls are counted."""

    name: str
    """Its ARN."""
    collector: UsageCollector | None
    """None for one principal too many."""


class PrincipalCollectors:
    """One collector per principal."""

    def __init__(
        self,
        principals: Principals,
        sources: int,
        decoder: Decoder | None = None,
        *,
        is_part: bool = False,
        leaves_encoded: bool = True,
    ) -> None:
        """Creates a collector for each target; for a part, for each principal with a call.

        Args:
            principals: whose calls count.
            sources: the number of sources.
            decoder: decodes EC2's encoded messages.
            is_part: `collected` returns what was counted.
            leaves_encoded: it returns the calls of a part with an encoded denial, too, which need a
                decoder.
        """
        self._principals = principals
        self._decoder = decoder or NO_DECODER
        self._leaves_encoded = is_part and leaves_encoded
        self._left: list[Call] = []
        self._keys = IssuedKeys()
        targets = principals.targets or ()
        present = () if is_part else targets
        self._collectors = {target.arn: self._new_collector(target.arn) for target in present}
        self._most = len(targets) + _MOST_BY_PATTERN if principals.patterns else sys.maxsize
        self._by_caller: dict[str, _CountedPrincipal] = {}
        """ARN of a call -> the principal of whom it is counted."""
        self._names: dict[str, str] = {}
        """ARN without the path -> ARN with the longest path seen: a session ARN has no role path.
        """
        self._gaps: list[list[Gap]] = [[] for _ in range(sources)]
        self._has_too_many = False
        """Whether calls of one principal too many were left out."""
        self._needs: dict[Need, Need] = {}
        """Equal needs of that which is added, which take the memory of one."""
        self._logins: Counter[str] = Counter()
        """ARN of a role -> records of logins to it."""

    def note(self, source: int, item: Call | Gap | CountedCalls) -> None:
        """Adds an item of a source, given by its number."""
        if isinstance(item, Call):
            self._note_call(item)
        elif isinstance(item, Gap):
            self._gaps[source].append(item)
        else:
            self._absorb(cast(CollectedCalls, item.collected))

    def _note_call(self, call: Call) -> None:
        if self._leaves_encoded and _is_encoded_denial(call):
            self._left.append(call)
            return
        is_sts = call.source == "sts.amazonaws.com"
        if is_sts and is_login(call):
            self._keys.note_login(call)
            self._logins[call.principal] += 1
            return
        name, collector = self._by_caller.get(call.principal) or self._collector_of(call.principal)
        if collector:
            if is_sts:
                self._keys.note(call, name)
            collector.note(call)

    @property
    def is_complete(self) -> bool:
        """Whether no call was left."""
        return not self._left

    def collected(self) -> bytes:
        """Returns what was counted, for the collectors of a further process or run to add."""
        number_by_need: dict[Need, int] = {}
        counted = [
            collector.collected(name, number_by_need)
            for name, collector in self._collectors.items()
        ]
        calls = CollectedCalls(
            needs=list(number_by_need),
            principals=counted,
            names=self._names,
            logins=self._logins,
            issues=self._keys.issues,
            key_limit=self._keys.stored.limit,
            left=[structs.replace(call, repeats=None) for call in self._left],
        )
        return msgspec.msgpack.encode(calls)

    def _absorb(self, other: CollectedCalls) -> None:
        """Adds the calls that another process collected."""
        needs = [self._needs.setdefault(need, need) for need in other.needs]
        for arn in other.names.values():
            self._without_path(arn)
        if other.key_limit is not None:
            self._keys.stored.lower(other.key_limit)
        self._keys.absorb(other.issues)
        self._logins.update(other.logins)
        for principal_calls in other.principals:
            collector = self._collector_named(principal_calls.name)
            if collector:
                collector.absorb(principal_calls, needs)
        for call in other.left:
            self._note_call(call)

    def _collector_named(self, name: str) -> UsageCollector | None:
        """Returns the collector of a name; None for one principal too many."""
        if name not in self._collectors:
            if len(self._collectors) < self._most:
                self._collectors[name] = self._new_collector(name)
            else:
                self._has_too_many = True
        return self._collectors.get(name)

    def _collector_of(self, principal: str) -> _CountedPrincipal:
        # A record without sessionIssuer has no role path, but belongs to the same role and run.
        targets = self._principals.targets
        target = self._principals.target_of(principal) if targets is not None else None
        name = target.arn if target else principal
        if targets is None or (target and target not in targets):
            name = self._without_path(name)
        counted = _CountedPrincipal(name, self._collector_named(name))
        self._by_caller[principal] = counted
        return counted

    def _new_collector(self, name: str) -> UsageCollector:
        return UsageCollector(name, self._decoder, self._keys)

    def _without_path(self, arn: str) -> str:
        """Returns the ARN without its path, under which all calls of a role are counted; names are
        unique.
        """
        head, _, name = arn.rpartition("/")
        short = f"{':'.join(head.split(':')[:5])}:{head.split(':')[5].partition('/')[0]}/{name}"
        full_arn = self._names.get(short)
        if full_arn is None or (len(arn), arn) > (len(full_arn), full_arn):
            self._names[short] = arn
        return short

    def close(self, shared: list[Gap] | None = None) -> Iterator[tuple[str, Evidence]]:
        """Yields the evidence of each principal, sorted by ARN, and frees its collector.

        The gaps of the sources are added to `shared`, else to the evidence of each principal.
        """
        gaps = merge_source_gaps(self._gaps)
        if self._has_too_many:
            patterns = ", ".join(sorted(self._principals.patterns))
            detail = f"{patterns} matches more than {_MOST_BY_PATTERN:,} roles: narrow it"
            gaps = (*gaps, Gap(GapKind.SOURCE_FAILED, Scope(), detail))
        if shared is not None:
            shared.extend(gaps)
        for short, name in sorted(self._names.items()):
            if short in self._collectors:
                self._collectors[short].rename(name)
        for collector in self._collectors.values():
            for gap in () if shared is not None else gaps:
                collector.note_gap(gap)
        self._by_caller.clear()
        self._needs.clear()
        for key in sorted(self._collectors, key=lambda key: self._names.get(key, key)):
            name = self._names.get(key, key)
            logins = self._logins[name] or self._logins[key]
            evidence = self._collectors.pop(key).close()
            yield name, structs.replace(evidence, no_calls={"login": logins} if logins else {})
