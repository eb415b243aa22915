"""Narrower keys of one session (GetScopedCredentials) in records: their run, their issuer and their
description.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from leastpriv.aws.arns import Principals, parse_principal
from leastpriv.evidence.collector import PrincipalCollectors
from leastpriv.evidence.models import Evidence
from leastpriv.models import Call, DeniedBy, Outcome
from tests.fakes.calls import a_call

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
OWN, NARROW, NARROWER = "ASIAOWN0000000000001", "ASIANARROW0000000001", "ASIANARROW0000000002"
MESSAGE = (
    "User: arn:aws:sts::111122223333:assumed-role/deploy/12345678901 is not authorized to perform:"
    " sns:CreateTopic on resource: arn:aws:sns:eu-west-1:111122223333:orders because no session"
    " policy allows the sns:CreateTopic action"
)


def scope(description: str, key: str = NARROW, by: str = OWN) -> Call:
    request = {"policy": "{}", "scopedSessionDescription": description}
    call = structs.replace(
        a_call("sts:GetScopedCredentials", request), response={"credentials": {"accessKeyId": key}}
    )
    return structs.replace(call, access_key=by, time=NOON)


def denied(key: str = NARROW) -> Call:
    call = a_call(
        "sns:CreateTopic",
        {"name": "orders"},
        outcome=Outcome.DENIED,
        error_code="AuthorizationError",
    )
    return structs.replace(
        call, access_key=key, error_message=MESSAGE, time=NOON + timedelta(minutes=1)
    )


def login(key: str = OWN) -> Call:
    call = a_call("sts:AssumeRole", {"roleArn": ROLE})
    ci = "arn:aws:iam::111122223333:role/ci/first"
    return structs.replace(
        call, principal=ci, response={"credentials": {"accessKeyId": key}}, time=NOON
    )


def evidence(*calls: Call) -> Evidence:
    collectors = PrincipalCollectors(Principals(frozenset({parse_principal(ROLE)})), 1)
    for call in calls:
        collectors.note(0, call)
    ((_, evidence_of_role),) = collectors.close()
    return evidence_of_role


def denial_of(found: Evidence) -> tuple[DeniedBy, bool]:
    (usage,) = [
        denied_usage
        for denied_usage in found.usages
        if denied_usage.denial and denied_usage.need.permission.action == "sns:CreateTopic"
    ]
    assert usage.denial
    return usage.denial.denied_by, usage.denial.mendable


@pytest.mark.parametrize(
    ("calls", "mendable"),
    [
        ((scope("leastpriv-rehearsal-12345678901"), denied()), True),
        ((denied(), scope("leastpriv-rehearsal-12345678901")), True),
        (
            (scope("leastpriv-rehearsal-1"), scope("agent", NARROWER, NARROW), denied(NARROWER)),
            True,
        ),
        ((scope("agent"), denied()), False),
        ((scope(""), denied()), False),
        ((denied(),), False),
        ((scope("leastpriv-rehearsal-12345678901"), denied(OWN)), False),
    ],
)
def test_what_a_rehearsal_s_key_was_denied_lacks_in_the_proposal(
    calls: tuple[Call, ...], mendable: bool
) -> None:
    assert denial_of(evidence(*calls)) == (DeniedBy.SESSION, mendable)


def test_denials_of_several_keys_are_one_usage_each_way() -> None:
    all_denials = evidence(
        scope("leastpriv-rehearsal-1"), denied(), denied(), denied(OWN), denied(NARROWER)
    )
    usages = [
        denied_usage
        for denied_usage in all_denials.usages
        if denied_usage.need.permission.action == "sns:CreateTopic"
    ]
    assert sorted(
        (denied_usage.count, bool(denied_usage.denial and denied_usage.denial.mendable))
        for denied_usage in usages
    ) == [
        (2, False),
        (2, True),
    ]


def test_a_narrower_key_belongs_to_the_run_and_has_the_issuer_of_its_session() -> None:
    allowed = structs.replace(denied(), outcome=Outcome.ALLOWED, error_code="", error_message="")
    own_call = structs.replace(allowed, access_key=OWN)
    collectors = PrincipalCollectors(
        Principals(
            frozenset(
                {parse_principal(ROLE), parse_principal("arn:aws:iam::111122223333:role/ci/first")}
            )
        ),
        1,
    )
    for call in (login(), scope("agent"), own_call, allowed):
        collectors.note(0, call)
    evidence_of_role = dict(collectors.close())[ROLE]
    assert [run.id for run in evidence_of_role.runs] == ["12345678901"]
    assert evidence_of_role.signed == {"arn:aws:iam::111122223333:role/ci/first": 3}
