"""Credentials and regions as users have them, and what AWS refuses as one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from leastpriv.aws.errors import to_aws_error, translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from tests.fakes.aws.event_history import READER, FakeHistory, Fault

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAFAKE", "AWS_SECRET_ACCESS_KEY": "fake"}


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        *KEYS,
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({}, ""),
    ],
)
def test_the_region_is_that_of_the_first_variable_that_says_one(
    variables: dict[str, str], region: str
) -> None:
    assert Aws.open({**KEYS, **variables}).region == region


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("", "aws")],
)
def test_the_partition_follows_from_the_region(region: str, partition: str) -> None:
    assert Aws.open({**KEYS, "AWS_REGION": region}).partition == partition


def test_without_a_region_a_client_says_which_input_to_set() -> None:
    with pytest.raises(InputError, match=r"AWS_REGION.*aws-regions"):
        Aws.open(KEYS).client("cloudtrail")


def test_missing_credentials_are_one_sentence_that_names_the_usual_action() -> None:
    with pytest.raises(AwsError, match="configure-aws-credentials") as caught:
        Aws.open({"AWS_REGION": "eu-west-1"})
    assert caught.value.kind is AwsErrorKind.NO_CREDENTIALS
    assert caught.value.exit_code == 1


def test_a_profile_that_is_not_in_the_container_is_named_and_explained() -> None:
    with pytest.raises(
        AwsError, match=r"AWS_PROFILE is 'deploy'.*an action's container has no ~/.aws"
    ):
        Aws.open({"AWS_PROFILE": "deploy", "AWS_REGION": "eu-west-1"})


def test_keys_go_before_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with FakeHistory() as fake:
        assert Aws.open({**fake.environment(), "AWS_PROFILE": "deploy"}).caller() == READER


def test_a_profile_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[deploy]\naws_access_key_id = A\naws_secret_access_key = B\n"
    )
    (tmp_path / "config").write_text("[profile deploy]\nregion = eu-north-1\n")
    assert Aws.open({"AWS_PROFILE": "deploy"}).region == "eu-north-1"


def test_the_endpoint_of_a_service_goes_before_the_one_of_all() -> None:
    environment = {
        **KEYS,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://all",
        "AWS_ENDPOINT_URL_S3": "http://s3",
    }
    door = Aws.open(environment)
    assert (door.client("s3").meta.endpoint_url, door.client("iam").meta.endpoint_url) == (
        "http://s3",
        "http://all",
    )
    ignoring = Aws.open({**environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})
    assert ignoring.client("iam").meta.endpoint_url == "https://iam.amazonaws.com"


def test_clients_are_created_once_for_each_region() -> None:
    door = Aws.open({**KEYS, "AWS_REGION": "eu-west-1"})
    assert door.client("sqs") is door.client("sqs", "eu-west-1")
    assert door.client("sqs", "us-east-1") is not door.client("sqs")


def test_requests_say_who_makes_them() -> None:
    door = Aws.open({**KEYS, "AWS_REGION": "eu-west-1"})
    assert re.search(r"leastpriv/[0-9]", door.client("sqs").meta.config.user_agent_extra)


def test_expired_credentials_are_one_sentence() -> None:
    with FakeHistory(faults=[Fault("no identity")]) as fake:
        door = Aws.open(fake.environment())
        with pytest.raises(AwsError, match="credentials have expired") as caught:
            door.caller()
    assert caught.value.kind is AwsErrorKind.EXPIRED


def test_an_unreachable_endpoint_is_one_sentence() -> None:
    environment = {
        **KEYS,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with pytest.raises(AwsError, match="cannot be reached while asking") as caught:
        Aws.open(environment).caller()
    assert caught.value.kind is AwsErrorKind.UNREACHABLE


NO_GRANT = (
    "User: arn:aws:iam::111122223333:user/kim is not authorized to perform: iam:GetRole on"
    " resource: role x because "
)


@pytest.mark.parametrize(
    ("code", "message", "status", "trouble", "missing", "text"),
    [
        ("AccessDenied", NO_GRANT + "no identity-based policy allows it", 403, "denied", "iam:GetRole",
         "allow it to arn:aws:iam::111122223333:user/kim"),
        ("AccessDenied", NO_GRANT + "with an explicit deny in a service control policy", 403, "denied", "iam:GetRole",
         "no grant helps"),
        ("403", "Forbidden", 403, "denied", "s3:GetObject", "AWS denied s3:GetObject"),
        ("AccessDenied", "Access Denied", 403, "denied", "s3:GetObject", "allow it to these credentials"),
        ("ExpiredToken", "The provided token has expired.", 400, "expired", "", "configure-aws-credentials"),
        ("InvalidClientTokenId", "x", 403, "invalid", "", "check where they are set"),
        ("ThrottlingException", "Rate exceeded", 400, "throttled", "", "run again later"),
        ("SlowDown", "x", 503, "throttled", "", "run again later"),
        ("InternalError", "", 500, "server", "", "AWS failed"),
        ("Whatever", "", 502, "server", "", "AWS failed"),
        ("NoSuchBucket", "The specified bucket does not exist", 404, "other", "", "(NoSuchBucket: The specified"),
        ("", "", 400, "other", "", "AWS rejected a request"),
    ],
)  # fmt: skip
def test_an_error_of_aws_is_one_sentence_with_a_remedy(
    code: str, message: str, status: int, trouble: str, missing: str, text: str
) -> None:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = to_aws_error(ClientError(response, "X"), "reading it", "s3:GetObject")
    assert (error.kind.value, error.missing_action) == (trouble, missing)
    assert text in str(error)
    assert "reading it" in str(error)
    assert str(error).endswith(".")
    assert "\n" not in str(error)


def test_a_long_message_of_aws_is_truncated() -> None:
    response = {
        "Error": {"Code": "Odd", "Message": "x\n" * 5_000},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    assert len(str(to_aws_error(ClientError(response, "X"), "reading"))) < 500


def test_a_broken_connection_is_translated_and_a_defect_is_raised() -> None:
    with pytest.raises(AwsError, match="broke while reading"), translate_errors("reading"):
        raise ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(KeyError), translate_errors("reading"):
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("variables", "config", "texts"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAFAKE"}, "", ["AWS_SECRET_ACCESS_KEY is missing", "set both keys"]),
        ({"AWS_PROFILE": "p"}, "credential_process = /bin/false", ["credential_process", "yourself"]),
        ({"AWS_PROFILE": "p"}, "source_profile = gone\nrole_arn = arn:aws:iam::1:role/x", ["gone", "~/.aws"]),
        ({"AWS_PROFILE": "p"}, "sso_session = s\nsso_account_id = 1\nsso_role_name = r\n[sso-session s]\n"
         "sso_region = eu-west-1\nsso_start_url = https://sso.example", ["aws sso login"]),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://other.example/keys"}, "",
         ["other.example", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/none/token", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"}, "",
         ["/none/token", "AWS_WEB_IDENTITY_TOKEN_FILE"]),
    ],
)  # fmt: skip
def test_unavailable_credentials_are_one_sentence_with_a_remedy(
    variables: dict[str, str],
    config: str,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "config").write_text(f"[profile p]\n{config}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AwsError) as caught:
        Aws.open({**variables, "AWS_REGION": "eu-west-1"}).caller()
    assert all(text in str(caught.value) for text in texts), str(caught.value)
    assert str(caught.value).endswith(".")


def test_the_enabled_regions_are_those_that_are_not_switched_off() -> None:
    with FakeHistory(enabled=["us-east-1", "eu-west-1"]) as fake:
        assert Aws.open(fake.environment()).enabled_regions() == ("eu-west-1", "us-east-1")
        fake.enabled = None
        with pytest.raises(AwsError, match="account:ListRegions"):
            Aws.open(fake.environment()).enabled_regions()
