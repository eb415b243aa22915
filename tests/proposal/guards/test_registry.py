"""The promises of the guards: each holds a removal back for its own reason, and for no other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.diff.compare import Entry, compare
from leastpriv.evidence.models import Coverage, Evidence
from leastpriv.models import Gap, GapKind, Outcome, Scope, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import parse
from leastpriv.proposal.addition_rules import OFFERED, ONLY_LOGGED, UNPRINTABLE
from leastpriv.proposal.change_limit import GUARD as MAX_CHANGES
from leastpriv.proposal.guards import registry
from leastpriv.proposal.models import GuardContext, GuardResult, Options, RemovalCandidate
from leastpriv.proposal.propose import guard_context
from tests.fakes.deploys import proposal

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """35 days, six runs of which one had a refusal; calls of Lambda, SQS and CloudWatch in eu-west-1."""
    return proposal(tmp_path_factory.mktemp("evidence"), None).subject.evidence


def context(evidence: Evidence, **options: Any) -> GuardContext:
    return guard_context(evidence, Options(**options))


def candidate(
    action: str, evidence: Evidence, pattern: str = "", resources: list[str] | str = "*", **uses: tuple[Usage, ...]
) -> RemovalCandidate:
    """One action that an entry (`pattern`, else the action itself) of a statement would no longer grant."""
    statement = {"Effect": "Allow", "Action": pattern or action, "Resource": resources}
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")
    entry = compare(document, [], evidence).entries[0]
    return RemovalCandidate(action, entry)


def test_a_visible_unused_action_with_enough_evidence_is_held_by_no_guard(evidence: Evidence) -> None:
    judged = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert registry.first_guard_result(judged, context(evidence)) is None


def test_every_guard_has_a_name_of_its_own_that_a_reader_can_look_up() -> None:
    names = [name for name, _ in registry.GUARDS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)


def test_every_guard_is_explained_on_the_page_of_guards() -> None:
    """The reader of a pull request looks a name up there; no name of the code is missing, wherever it is given."""
    package = Path(registry.__file__).parents[2]
    source = "\n".join(file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py")))
    names = {name for name, _ in registry.GUARDS} | {*re.findall(r'GuardResult\(\s*"([a-z-]+)"', source)}
    names |= {OFFERED, ONLY_LOGGED, UNPRINTABLE, MAX_CHANGES}
    page = (package.parent / "docs" / "guards.md").read_text(encoding="utf-8")
    assert len(names) > 30
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("pattern", ["sqs:PurgeQueue", "SQS:purge*", "sqs:*", "*"])
def test_what_a_person_keeps_stays_in_any_case_of_letters(evidence: Evidence, pattern: str) -> None:
    told = registry.kept(candidate("sqs:PurgeQueue", evidence), context(evidence, keep=("s3:*", pattern)))
    assert told == f"`keep` names {pattern}"


def test_a_keep_for_others_holds_nothing(evidence: Evidence) -> None:
    assert registry.kept(candidate("sqs:PurgeQueue", evidence), context(evidence, keep=("sqs:Purge",))) == ""


def test_an_action_that_the_catalogue_lacks_vetoes_its_own_removal(evidence: Evidence) -> None:
    assert registry.unknown_action(candidate("sqs:PurgeQueueOfTomorrow", evidence), context(evidence))
    assert registry.unknown_action(candidate("sqs:PurgeQueue", evidence), context(evidence)) == ""


@pytest.mark.parametrize(("least", "holds"), [(34, False), (35, False), (36, True)])
def test_evidence_must_span_the_days_that_the_user_asks_for(evidence: Evidence, least: int, holds: bool) -> None:
    told = registry.minimum_days(candidate("sqs:PurgeQueue", evidence), context(evidence, minimum_days=least))
    assert told == (f"the evidence spans 35 of {least} days" if holds else "")


@pytest.mark.parametrize(("least", "holds"), [(4, False), (5, False), (6, True)])
def test_only_runs_without_a_refusal_count(evidence: Evidence, least: int, holds: bool) -> None:
    told = registry.minimum_runs(candidate("sqs:PurgeQueue", evidence), context(evidence, minimum_runs=least))
    assert told == (f"the evidence holds 5 of {least} runs without a refusal" if holds else "")


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        (Scope(), True),
        (Scope(services=("sqs",)), True),
        (Scope(actions=("sqs:Purge*",)), True),
        (Scope(services=("s3", "sqs")), True),
        (Scope(regions=("eu-west-1",)), True),
        (Scope(services=("s3",)), False),
        (Scope(actions=("sqs:CreateQueue",)), False),
    ],
)
def test_a_gap_holds_what_it_could_hide_and_nothing_else(evidence: Evidence, scope: Scope, holds: bool) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.UNMAPPED_EVENT, scope, "sqs.amazonaws.com:DoIt"),))
    told = registry.gap_in_scope(candidate("sqs:PurgeQueue", evidence), context(holed))
    assert told == ("unmapped-event: sqs.amazonaws.com:DoIt" if holds else "")


@pytest.mark.parametrize(
    ("action", "events", "holds"),
    [
        ("sqs:PurgeQueue", ("management-write",), True),
        ("sqs:PurgeQueue", ("management-read",), False),
        ("lambda:GetFunction", ("management-read",), True),
        ("lambda:GetFunction", ("management-write",), False),
        ("s3:GetObject", ("AWS::S3::Object",), True),
        ("s3:GetObject", ("AWS::DynamoDB::Table", "management-read"), False),
        ("sqs:PurgeQueue", ("AWS::S3::Object",), False),
    ],
)
def test_events_that_a_trail_does_not_log_hide_the_actions_that_only_they_show(
    evidence: Evidence, action: str, events: tuple[str, ...], holds: bool
) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.NOT_LOGGED, Scope(events=events), "not logged"),))
    told = registry.gap_in_scope(candidate(action, evidence, resources=QUEUE), context(holed))
    assert told == ("not-logged: not logged" if holds else "")


@pytest.mark.parametrize(
    ("action", "resources", "regions", "holds"),
    [
        ("sqs:PurgeQueue", QUEUE, ("eu-west-1",), True),
        ("sqs:PurgeQueue", QUEUE, ("us-east-1", "eu-central-1"), False),
        ("sqs:PurgeQueue", "*", ("us-east-1",), True),
        ("sqs:PurgeQueue", [QUEUE, "arn:aws:sqs:*:111122223333:orders"], ("us-east-1",), True),
        ("s3:CreateBucket", "arn:aws:s3:::shop", ("us-east-1",), True),
        ("iam:GetRole", "*", ("us-east-1",), True),
        ("iam:GetRole", "*", ("eu-west-1",), False),
    ],
)
def test_a_gap_of_some_regions_holds_what_may_have_been_recorded_there(
    evidence: Evidence, action: str, resources: list[str] | str, regions: tuple[str, ...], holds: bool
) -> None:
    holed = replace(evidence, gaps=(Gap(GapKind.SOURCE_FAILED, Scope(regions=regions), "lost"),))
    told = registry.gap_in_scope(candidate(action, evidence, resources=resources), context(holed))
    assert told == ("source-failed: lost" if holds else "")


def test_a_gap_of_another_region_than_a_condition_names_holds_nothing(evidence: Evidence) -> None:
    judged = candidate("sqs:PurgeQueue", evidence)
    for operator, holds in (("StringEquals", False), ("StringEqualsIfExists", True), ("StringNotEquals", True)):
        condition = {operator: {"aws:RequestedRegion": "eu-west-1"}}
        statement = {"Effect": "Allow", "Action": "sqs:PurgeQueue", "Resource": "*", "Condition": condition}
        document = parse(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode(), "p.json")
        entry = replace(judged.entry, statement=document.statements[0])
        holed = replace(evidence, gaps=(Gap(GapKind.SOURCE_FAILED, Scope(regions=("us-east-1",)), "lost"),))
        assert bool(registry.gap_in_scope(replace(judged, entry=entry), context(holed))) is holds


def test_unknown_settings_of_a_trail_hold_nothing_by_themselves(evidence: Evidence) -> None:
    told = replace(evidence, gaps=(Gap(GapKind.SETTINGS_UNKNOWN, Scope(), "nobody tells"),))
    assert registry.gap_in_scope(candidate("sqs:PurgeQueue", evidence), context(told)) == ""


@pytest.mark.parametrize(
    ("outcome", "word"), [(Outcome.DENIED, "refused"), (Outcome.UNKNOWN, "says nothing about authorisation")]
)
def test_a_call_that_was_refused_or_unclear_vetoes_a_removal(evidence: Evidence, outcome: Outcome, word: str) -> None:
    usage = next(usage for usage in evidence.usages if usage.need.permission.action == "sqs:CreateQueue")
    judged = candidate("sqs:CreateQueue", evidence)
    entry: Entry = replace(judged.entry, uses={"sqs:CreateQueue": (replace(usage, outcome=outcome),)})
    assert word in registry.inconclusive(replace(judged, entry=entry), context(evidence))


def test_a_call_of_another_action_vetoes_nothing(evidence: Evidence) -> None:
    judged = candidate("sqs:PurgeQueue", evidence, "sqs:*")
    assert judged.entry.uses
    assert registry.inconclusive(judged, context(evidence)) == ""


@pytest.mark.parametrize(
    ("action", "pattern", "options", "holds"),
    [
        ("sns:CreateTopic", "sns:*", {}, True),
        ("sns:CreateTopic", "s*", {}, True),
        ("sns:CreateTopic", "", {}, False),
        ("sns:CreateTopic", "sns:*", {"drop_unseen_services": True}, False),
        ("sqs:PurgeQueue", "sqs:*", {}, False),
    ],
)
def test_a_wildcard_over_a_service_without_any_call_stays_unless_the_user_drops_it(
    evidence: Evidence, action: str, pattern: str, options: Mapping[str, Any], holds: bool
) -> None:
    told = registry.unseen_service(candidate(action, evidence, pattern), context(evidence, **options))
    assert bool(told) is holds
    assert not holds or "no call of sns" in told


@pytest.mark.parametrize(
    ("action", "resources", "covered", "missing"),
    [
        ("sqs:PurgeQueue", QUEUE, ("eu-west-1",), ""),
        ("sqs:PurgeQueue", QUEUE, ("us-east-1",), "eu-west-1"),
        ("sqs:PurgeQueue", [QUEUE, QUEUE.replace("eu-west-1", "eu-north-1")], ("eu-west-1",), "eu-north-1"),
        ("sqs:PurgeQueue", QUEUE.replace("eu-west-1", "*"), ("us-east-1",), ""),
        ("iam:DeleteRole", "arn:aws:iam::111122223333:role/x", ("eu-west-1",), "us-east-1"),
        ("iam:DeleteRole", "arn:aws:iam::111122223333:role/x", ("us-east-1",), ""),
    ],
)
def test_a_region_that_was_not_read_holds_what_it_would_have_shown(
    evidence: Evidence, action: str, resources: list[str] | str, covered: tuple[str, ...], missing: str
) -> None:
    regions = dict.fromkeys(covered, timedelta(days=400))
    read = replace(evidence, coverage=Coverage(regions, reads=True))
    told = registry.region_not_read(candidate(action, read, resources=resources), context(read))
    assert (missing in told) if missing else (told == "")


def action_of(visibility: str) -> str:
    """Some action that CloudTrail shows in this way."""
    return next(
        row["action"]
        for row in table("visibility")
        if row["visibility"] == visibility and catalog.action(row["action"])
    )


@pytest.mark.parametrize(
    ("visibility", "word"),
    [("management", ""), ("permission-only", "no event of its own"), ("never", "never"), ("unknown", "not known")],
)
def test_only_an_action_that_a_trail_would_have_shown_may_go(evidence: Evidence, visibility: str, word: str) -> None:
    told = registry.not_visible(candidate(action_of(visibility), evidence), context(evidence))
    assert (word in told) if word else (told == "")


@pytest.mark.parametrize(
    ("recorded", "resources", "holds"),
    [
        ((), "arn:aws:s3:::shop/*", True),
        ((("arn:aws:s3:::shop", "read"),), "arn:aws:s3:::shop/*", False),
        ((("arn:aws:s3:::shop", "write"),), "arn:aws:s3:::shop/*", True),
        ((("arn:aws:s3:::shop", "read"),), ["arn:aws:s3:::shop/*", "arn:aws:s3:::other/*"], True),
        ((("arn:aws:s3:::shop", "read"),), "*", True),
        ((("arn:aws:s3:::shop", "read"),), "arn:aws:s3:::shop*/*", True),
    ],
)
def test_an_action_of_data_events_may_go_only_where_such_events_of_its_resources_were_recorded(
    evidence: Evidence, recorded: tuple[tuple[str, str], ...], resources: list[str] | str, holds: bool
) -> None:
    seen = replace(evidence, data_recorded=dict.fromkeys(recorded, timedelta(days=30)))
    told = registry.not_visible(candidate("s3:GetObjectAcl", seen, resources=resources), context(seen))
    assert ("data event (AWS::S3::Object)" in told) if holds else (told == "")


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_action_that_reading_and_writing_events_need_may_go_only_where_both_were_recorded(
    evidence: Evidence, kind: str
) -> None:
    """`s3:GetObject` is needed by GetObject, which is a read, and by CopyObject, which is a write."""
    seen = replace(evidence, data_recorded={("arn:aws:s3:::shop", kind): timedelta(days=30)})
    told = registry.not_visible(candidate("s3:GetObject", seen, resources="arn:aws:s3:::shop/*"), context(seen))
    assert "data event (AWS::S3::Object)" in told


def test_a_lifecycle_counterpart_of_a_used_action_stays_and_says_of_which(evidence: Evidence) -> None:
    told = registry.lifecycle_counterpart(candidate("sqs:DeleteQueue", evidence), context(evidence))
    assert told == "lifecycle counterpart of sqs:CreateQueue"
    assert registry.lifecycle_counterpart(candidate("sqs:PurgeQueue", evidence), context(evidence)) == ""


def test_a_refused_call_has_no_lifecycle_counterparts(evidence: Evidence) -> None:
    """The alarm was never made, so nothing has to delete it."""
    assert registry.lifecycle_counterpart(candidate("cloudwatch:DeleteAlarms", evidence), context(evidence)) == ""


def test_without_any_evidence_everything_stays(evidence: Evidence) -> None:
    nothing = Evidence(evidence.principal)
    for action in catalog.actions("sqs"):
        told = registry.first_guard_result(candidate(action, nothing), context(nothing))
        assert told == GuardResult("minimum-days", "the evidence spans 0 of 30 days")


def test_the_days_are_whole_ones_from_first_to_last_call(evidence: Evidence) -> None:
    assert evidence.first
    short = replace(evidence, last=evidence.first + timedelta(days=29, hours=23))
    told = registry.minimum_days(candidate("sqs:PurgeQueue", short), context(short))
    assert told == "the evidence spans 29 of 30 days"


def test_a_role_that_is_not_what_the_file_says_is_not_narrowed_further(evidence: Evidence) -> None:
    judged = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    differs = replace(evidence, live_role_drift="the file allows sqs:PurgeQueue on *, which inline policy ci does not")
    guard_result = registry.first_guard_result(judged, context(differs))
    assert guard_result is not None
    assert guard_result.guard == "live-differs"
    assert guard_result.reason.startswith(differs.live_role_drift)


@pytest.mark.parametrize(("action", "holds"), [("s3:PutObject", True), ("sqs:PurgeQueue", False)])
def test_a_source_without_data_events_holds_what_only_they_show(evidence: Evidence, action: str, holds: bool) -> None:
    gap = Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), "management events only")
    judged = candidate(action, evidence, resources="arn:aws:s3:::assets/*")
    assert bool(registry.gap_in_scope(judged, context(replace(evidence, gaps=(gap,))))) is holds


def test_what_another_source_recorded_is_not_held_for_the_source_that_could_not(evidence: Evidence) -> None:
    gap = Gap(GapKind.NO_DATA_EVENTS, Scope(data_events=True), "management events only")
    recorded = {("arn:aws:s3:::assets", kind): timedelta(days=30) for kind in ("read", "write")}
    judged = candidate("s3:PutObject", evidence, resources="arn:aws:s3:::assets/*")
    assert registry.gap_in_scope(judged, context(replace(evidence, gaps=(gap,), data_recorded=recorded))) == ""


@pytest.mark.parametrize("kind", [GapKind.SOURCE_FAILED, GapKind.EVENTS_LATE])
def test_a_region_that_could_not_be_read_to_its_end_holds_what_it_records(evidence: Evidence, kind: GapKind) -> None:
    gap = Gap(kind, Scope(regions=("eu-west-1",)), "AWS kept refusing")
    judged = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert registry.gap_in_scope(judged, context(replace(evidence, gaps=(gap,))))


def test_what_is_attached_besides_hides_no_call(evidence: Evidence) -> None:
    gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "AWS refused iam:GetRole")
    judged = candidate("sqs:PurgeQueue", evidence, resources=QUEUE)
    assert registry.first_guard_result(judged, context(replace(evidence, gaps=(gap,)))) is None


@pytest.mark.parametrize(("days", "holds"), [(90, False), (29, True), (0, True)])
def test_where_every_management_event_was_looked_through_no_source_need_have_been_seen(
    evidence: Evidence, days: int, holds: bool
) -> None:
    coverage = replace(evidence.coverage, sources=frozenset(), reads=False, whole=timedelta(days=days))
    judged = candidate("kms:DescribeKey", evidence, resources="*")
    assert bool(registry.not_recorded(judged, context(replace(evidence, coverage=coverage)))) is holds
