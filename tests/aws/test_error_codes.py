"""What an error of a record says about authorisation."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.errors import call_outcome
from leastpriv.models import Outcome

REFUSAL = (
    "User: arn:aws:iam::123456789012:user/a is not authorized to perform: iam:PassRole on"
    " resource: x"
)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("", Outcome.ALLOWED),
        ("AccessDenied", Outcome.DENIED),
        ("AccessDeniedException", Outcome.DENIED),
        ("Client.UnauthorizedOperation", Outcome.DENIED),
        ("UnauthorizedOperation", Outcome.DENIED),
        ("VpceAccessDenied", Outcome.DENIED),
        ("Client.DryRunOperation", Outcome.ALLOWED),
        ("NoSuchTagSet", Outcome.ALLOWED),
        ("ObjectLockConfigurationNotFoundError", Outcome.ALLOWED),
        ("Client.InvalidRouteTableID.NotFound", Outcome.ALLOWED),
        ("EntityAlreadyExists", Outcome.ALLOWED),
        ("BucketAlreadyOwnedByYou", Outcome.ALLOWED),
        ("InvalidDBInstanceStateFault", Outcome.ALLOWED),
        ("Client.VpcLimitExceeded", Outcome.ALLOWED),
        ("Client.RequestLimitExceeded", Outcome.UNKNOWN),
        ("ThrottlingException", Outcome.UNKNOWN),
        ("ProvisionedThroughputExceededException", Outcome.UNKNOWN),
        ("KMSAccessDeniedException", Outcome.UNKNOWN),
        ("S3AccessDeniedFault", Outcome.UNKNOWN),
        ("ExpiredTokenException", Outcome.UNKNOWN),
        ("Client.InvalidParameterValue", Outcome.UNKNOWN),
        ("ValidationError", Outcome.UNKNOWN),
        ("SomethingNobodyHasSeen", Outcome.UNKNOWN),
    ],
)
def test_an_error_code_shows_whether_aws_authorized_the_call(code: str, outcome: Outcome) -> None:
    assert call_outcome(code, "") is outcome


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", "IAM user access not activated"),
        ("AccessDenied", "Cross-account pass role is not allowed."),
        ("NotAuthorizedException", "Incorrect username or password."),
        ("InvalidAccessException", "Account 123123123123 is not subscribed to AWS Security Hub"),
        (
            "InvalidCloudWatchLogsRoleArnException",
            "Access denied. Check the trust relationships for your role.",
        ),
    ],
)
def test_a_denial_by_another_component_is_unknown(code: str, message: str) -> None:
    assert call_outcome(code, message) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "code", ["", "SomethingNobodyHasSeen", "ValidationException", "LimitExceededX"]
)
def test_the_authorizers_sentence_with_another_code_is_unknown(code: str) -> None:
    """A validation error quotes the caller's own text: `Value '… is not authorized to perform: …'
    at 'stateValue'`.
    """
    assert call_outcome(code, REFUSAL) is Outcome.UNKNOWN


def test_a_message_without_a_code_is_a_failed_call_and_never_evidence_of_a_permission() -> None:
    assert call_outcome("", "Failed authentication") is Outcome.UNKNOWN


@given(st.text(), st.text())
def test_every_error_has_an_outcome(code: str, message: str) -> None:
    assert call_outcome(code, message) in Outcome


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Stack with id CDKToolkit does not exist", Outcome.ALLOWED),
        (
            (
                "Stack with id arn:aws:cloudformation:eu-west-1:111122223333:stack/a/1b-2c does not"
                " exist"
            ),
            Outcome.ALLOWED,
        ),
        ("Stack [orders] does not exist", Outcome.ALLOWED),
        ("No updates are to be performed.", Outcome.ALLOWED),
        (
            (
                "1 validation error detected: Value 'Stack with id a does not exist' at 'stackName'"
                " failed"
            ),
            Outcome.UNKNOWN,
        ),
        ("Stack with id a does not exist\nand more", Outcome.UNKNOWN),
        ("Template format error: unsupported structure", Outcome.UNKNOWN),
    ],
)
def test_a_missing_stack_is_allowed_and_a_quoted_argument_is_unknown(
    message: str, outcome: Outcome
) -> None:
    assert call_outcome("ValidationError", message) is outcome
    assert call_outcome("ValidationException", message) is outcome


@given(st.text(min_size=1).filter(lambda text: text.isalpha()), st.text(min_size=1))
def test_a_denial_is_never_taken_for_an_allowed_call(code: str, message: str) -> None:
    assert call_outcome(code, f"{message} {REFUSAL}") is not Outcome.ALLOWED


@pytest.mark.parametrize("name", ["error_codes", "refusal_texts"])
def test_every_fact_of_a_table_has_a_source(name: str) -> None:
    text = (files("leastpriv.aws") / "data" / f"{name}.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert rows[0][-1] == "source"
    assert all(len(row) == len(rows[0]) and row[-1].strip() for row in rows)
