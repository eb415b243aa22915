"""The environment of the command holds the trial's credentials and no access to the caller's."""

from __future__ import annotations

import os

from leastpriv.trial.process import Credentials, child_environment

KEYS = Credentials("ASIATRIAL", "secret-of-trial", "token-of-trial")


def test_none_of_the_caller_s_credentials_is_passed_on() -> None:
    names = (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL", "aws_profile", "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_BEARER_TOKEN_ANY_SERVICE",
        "AWS_LOGIN_CACHE_DIRECTORY", "AWS_CREDENTIAL_FILE", "AWS_CREDENTIAL_PROFILES_FILE",
        "BOTO_CONFIG",
    )  # fmt: skip
    caller = dict.fromkeys(names, "of-the-caller")
    environment = child_environment(caller, KEYS, "eu-west-1")
    assert "of-the-caller" not in environment.values()
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], environment["AWS_SESSION_TOKEN"]) == (
        "ASIATRIAL", "secret-of-trial", "token-of-trial",
    )  # fmt: skip
    assert environment["AWS_EC2_METADATA_DISABLED"] == "true"
    assert (
        environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    )


SECRETS = (
    "GITHUB_TOKEN", "GH_TOKEN", "NPM_TOKEN", "TF_VAR_db_password", "TF_VAR_region",
    "DB_PASSWORD", "ALICLOUD_ACCESS_KEY", "GOOGLE_CREDENTIALS", "STRIPE_API_KEY",
    "CLIENT_SECRET", "DEPLOY_PRIVATE_KEY", "ACTIONS_RUNTIME_TOKEN", "SAML2AWS_PROFILE",
)  # fmt: skip


def test_no_variable_whose_name_says_that_it_holds_a_secret_is_passed_on() -> None:
    caller = {**dict.fromkeys(SECRETS, "of-the-caller"), "PATH": "/bin", "KEYBOARD": "us"}
    environment = child_environment(caller, KEYS, "eu-west-1")
    assert "of-the-caller" not in environment.values()
    assert (environment["PATH"], environment["KEYBOARD"]) == ("/bin", "us")


def test_a_variable_is_passed_on_by_its_name_alone() -> None:
    caller = {**dict.fromkeys(SECRETS, "of-the-caller"), "AWS_CONFIG_FILE": "own-config"}
    environment = child_environment(caller, KEYS, "eu-west-1", ("NPM_TOKEN", "AWS_CONFIG_FILE"))
    assert [name for name in SECRETS if name in environment] == ["NPM_TOKEN"]
    assert (environment["AWS_CONFIG_FILE"], environment["AWS_SHARED_CREDENTIALS_FILE"]) == (
        "own-config",
        os.devnull,
    )
    assert environment["AWS_SECRET_ACCESS_KEY"] == KEYS.secret


def test_other_variables_are_passed_on_and_a_profile_s_region_is_kept() -> None:
    environment = child_environment(
        {"PATH": "/bin", "AWS_ENDPOINT_URL": "http://x"}, KEYS, "eu-west-1"
    )
    assert (environment["PATH"], environment["AWS_ENDPOINT_URL"], environment["AWS_REGION"]) == (
        "/bin",
        "http://x",
        "eu-west-1",
    )
    assert (
        child_environment({"AWS_REGION": "us-east-2"}, KEYS, "eu-west-1")["AWS_REGION"]
        == "us-east-2"
    )
    assert "AWS_REGION" not in child_environment({}, KEYS, "")


def test_secrets_are_not_in_the_printed_value() -> None:
    assert "secret-of-trial" not in repr(KEYS)
    assert "token-of-trial" not in repr(KEYS)
