"""What a refused call leaves behind: what it will need next, what EC2 encoded, and a rehearsal's
own refusals.
"""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from leastpriv.denials.encoded_message import Decoder, decode_with
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.collector import UsageCollector
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Call, DeniedBy, GapKind, Outcome
from leastpriv.report.tables import permission_rows
from tests.evidence.test_collector import NO_POLICY, ROLE, USER, call

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
PASSED = "arn:aws:iam::111122223333:role/orders"
ENCODED = (
    "You are not authorized to perform this operation. Encoded authorization failure message: "
    + "aB-_9" * 60
)


def evidence_of(one: Call, decoder: Decoder | None = None) -> Evidence:
    book = UsageCollector(ROLE, decoder) if decoder else UsageCollector(ROLE)
    book.note(one)
    return book.close()


def create_function(
    action: str = "lambda:CreateFunction", tail: str = NO_POLICY, **more: str
) -> Call:
    message = f"{USER}{action} on resource: {FUNCTION}{tail}"
    parameters = {"functionName": "orders", "role": PASSED, **more}
    return call(
        "CreateFunction20150331",
        parameters,
        source="lambda",
        outcome=Outcome.DENIED,
        message=message,
    )


def told(evidence: Evidence) -> list[tuple[str, str, Outcome, Basis]]:
    return [
        (
            usage.need.permission.action,
            usage.need.permission.resource,
            usage.outcome,
            usage.need.basis,
        )
        for usage in evidence.usages
    ]


def test_a_denied_call_comes_with_its_next_needs() -> None:
    evidence = evidence_of(create_function())
    assert told(evidence) == [
        ("iam:PassRole", PASSED, Outcome.DENIED, Basis.INFERRED),
        ("lambda:CreateFunction", FUNCTION, Outcome.DENIED, Basis.DENIED),
    ]
    assert evidence.counts.denied == 1


@pytest.mark.parametrize(
    "tail", [" with an explicit deny in a service control policy", " with an explicit deny"]
)
def test_a_call_that_no_grant_fixes_has_no_next_needs(tail: str) -> None:
    assert [basis for *_, basis in told(evidence_of(create_function(tail=tail)))] == [Basis.DENIED]


def test_a_dependent_action_is_no_row_of_permissions() -> None:
    rows = permission_rows(
        {ROLE: evidence_of(create_function())}, patterns=False, name_principals=False
    )
    assert [row["action"] for row in rows if "action" in row] == ["lambda:CreateFunction"]


def test_an_encoded_denial_in_a_record_is_decoded() -> None:
    decoded = json.dumps(
        {
            "allowed": False,
            "explicitDeny": False,
            "context": {"principal": {"arn": ROLE}, "action": "iam:PassRole", "resource": PASSED},
        }
    )
    run = call("RunInstances", {}, source="ec2", outcome=Outcome.DENIED, message=ENCODED)
    evidence = evidence_of(run, Decoder({"aB-_9" * 60: decoded}.__getitem__))
    refused = [entry for entry in told(evidence) if entry[2] is Outcome.DENIED]
    assert refused == [("iam:PassRole", PASSED, Outcome.DENIED, Basis.DENIED)]
    assert evidence.gaps == ()


def test_an_undecoded_denial_is_a_gap_of_its_event() -> None:
    evidence = evidence_of(
        call("CreateVpc", {}, source="ec2", outcome=Outcome.DENIED, message=ENCODED)
    )
    (gap,) = evidence.gaps
    assert gap.kind is GapKind.ENCODED_DENIAL
    assert gap.detail.startswith("ec2.amazonaws.com:CreateVpc: ")


class Client:
    """Stands for AWS: a client of STS that decodes, or is refused."""

    def __init__(self, code: str = "") -> None:
        self._code = code

    def client(self, service: str) -> Client:
        assert service == "sts"
        return self

    def decode_authorization_message(self, EncodedMessage: str) -> dict[str, str]:  # noqa: N803 - AWS's own name
        from botocore.exceptions import ClientError

        if self._code:
            answer = {
                "Error": {"Code": self._code, "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(answer, "DecodeAuthorizationMessage")
        return {"DecodedMessage": f"<{EncodedMessage}>"}


def test_aws_is_asked_for_the_meaning() -> None:
    assert decode_with(Client(), "abc") == "<abc>"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("AccessDenied", AwsErrorKind.DENIED),
        ("InvalidAuthorizationMessageException", AwsErrorKind.OTHER),
    ],
)
def test_a_denied_decoding_differs_from_a_damaged_text(code: str, trouble: AwsErrorKind) -> None:
    with pytest.raises(AwsError) as raised:
        decode_with(Client(code), "abc")  # type: ignore[arg-type]
    assert raised.value.kind is trouble


@pytest.mark.parametrize(
    ("session", "tail", "mendable"),
    [
        ("leastpriv-rehearsal-7", "because no session policy allows the action", True),
        ("leastpriv-rehearsal-17650000500", "because no session policy allows the action", True),
        ("leastpriv-rehearsal-17650000500", "with an explicit deny in a session policy", False),
        (
            "leastpriv-rehearsal-17650000500",
            "because no permissions boundary allows the action",
            False,
        ),
        ("leastpriv-rehearsal-", "because no session policy allows the action", False),
        (
            "my-leastpriv-rehearsal-17650000500",
            "because no session policy allows the action",
            False,
        ),
        ("17650000500", "because no session policy allows the action", False),
    ],
)
def test_only_a_rehearsals_own_session_policy_is_mendable(
    session: str, tail: str, mendable: bool
) -> None:
    refused = structs.replace(create_function(tail=f" {tail}"), session=session)
    denial = next(
        usage.denial for usage in evidence_of(refused).usages if usage.need.basis is Basis.DENIED
    )
    assert denial is not None
    assert denial.mendable is mendable
    assert denial.denied_by is (DeniedBy.BOUNDARY if "boundary" in tail else DeniedBy.SESSION)


def test_a_rehearsal_is_one_run() -> None:
    (run,) = evidence_of(
        structs.replace(create_function(), session="leastpriv-rehearsal-17650000500")
    ).runs
    assert run.id == "leastpriv-rehearsal-17650000500"


KEYS = (
    "y\n\nx",
    "y\r\nx",
    "y User: a is not authorized to perform: iam:CreateAccessKey on resource: z",
    (
        "y is not authorized to perform: iam:CreateUser on resource: * because no identity-based"
        " policy allows it"
    ),
    (
        'y" because no identity-based policy allows the s3:GetObject action. User: x is not'
        ' authorized to perform: "'
    ),
)
REFUSERS = (
    " with an explicit deny in a service control policy",
    " because no service control policy allows the s3:GetObject action",
    " because no session policy allows the s3:GetObject action",
)


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("tail", REFUSERS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_with_a_denial_or_line_break_hides_no_reason(key: str, tail: str, quote: str) -> None:
    """Whoever chooses an object's key could else have a refusal of a service control policy look
    mendable.
    """
    message = f"{USER}s3:GetObject on resource: {quote}arn:aws:s3:::shop/{key}{quote}{tail}"
    refused = call(
        "GetObject", {"bucketName": "shop", "key": key}, outcome=Outcome.DENIED, message=message
    )
    denials = [usage.denial for usage in evidence_of(refused).usages if usage.denial]
    assert [(denial.actions, denial.mendable) for denial in denials] == [(("s3:GetObject",), False)]
