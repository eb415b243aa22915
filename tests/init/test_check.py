"""`leastpriv init --check` names what works, what AWS denies in its own words, and the condition
that fails.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from leastpriv.errors import InputError, LeastprivError
from leastpriv.init.check import check_rows, check_setup, token_claims, unmet_conditions
from leastpriv.init.options import InitOptions, parse_options
from leastpriv.init.probes import Check, CheckState, known_probes
from leastpriv.init.reader_role import filled_values, known_sources, reader_grants, trust_policy
from tests.fakes.aws import contract
from tests.fakes.aws.contract import breaches
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import ACCOUNT, Asked, FakeAws, RefusedError

ISSUER = "token.actions.githubusercontent.com"
READER = f"arn:aws:sts::{ACCOUNT}:assumed-role/leastpriv-reader/run"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci-deploy"
CLAIMS = {
    "iss": f"https://{ISSUER}", "aud": "sts.amazonaws.com",
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "repository": "acme/shop", "repository_id": "34", "repository_owner_id": "12", "actor": "kim",
    "jti": "secret-id",
}  # fmt: skip
KEY = "arn:aws:kms:eu-west-1:999999999999:key/1"
DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


def options(**given: Any) -> InitOptions:
    """The options of one role with event history."""
    return parse_options(
        {"repository": ["acme/shop"], "role-arn": [ROLE], "sources": ["event-history"], **given}
    )


def token(claims: Mapping[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims, {}))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


class Job(ThreadingHTTPServer):
    """GitHub's endpoint for tokens and AWS STS, as a job reaches them."""

    claims: dict[str, str] = CLAIMS
    refused = ("", "")
    """Code and message with which STS denies the login; empty: it does not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def environment(self, aws: FakeAws) -> dict[str, str]:
        """The variables of a job that may request tokens."""
        own_address = f"http://127.0.0.1:{self.server_port}"
        return {
            **{name: value for name, value in aws.environment().items() if "KEY" not in name},
            "AWS_ENDPOINT_URL_STS": own_address,
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{own_address}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "permitted",
        }  # fmt: skip


class _Answers(BaseHTTPRequestHandler):
    server: Job

    def do_GET(self) -> None:
        permitted = self.headers["Authorization"] == "bearer permitted"
        right = permitted and self.path == "/token?api-version=2.0&audience=sts.amazonaws.com"
        self._answer(200 if right else 403, json.dumps({"value": token(self.server.claims)}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code, message = self.server.refused
        if code:
            self._answer(
                403,
                f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>",
            )
            return
        keys = "<AccessKeyId>AKIAREADER</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>y</SessionToken>"
        credentials_xml = f"<AssumeRoleWithWebIdentityResult><Credentials>{keys}</Credentials></AssumeRoleWithWebIdentityResult>"
        response_xml = f"<AssumeRoleWithWebIdentityResponse>{credentials_xml}</AssumeRoleWithWebIdentityResponse>"
        self._answer(200, response_xml)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.fixture
def job() -> Iterator[Job]:
    """A job with the permission id-token: write."""
    server = Job()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """An account that answers the checks of event history."""
    with FakeAws(
        {
            "cloudtrail:LookupEvents": lambda _: {"Events": []},
            "account:ListRegions": lambda _: {
                "Regions": [{"RegionName": "eu-west-1", "RegionOptStatus": "ENABLED"}]
            },
            "sts:GetCallerIdentity": lambda _: {"Account": ACCOUNT, "Arn": READER, "UserId": "x"},
        }
    ) as server:
        yield server


def role_with(trust: Mapping[str, Any]) -> dict[str, Any]:
    """IAM's description of the reader role."""
    return {
        "Path": "/", "RoleName": "leastpriv-reader", "RoleId": "AROAAAAAAAAAAAAAAAAA",
        "Arn": READER,
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
        "AssumeRolePolicyDocument": json.dumps(trust),
    }  # fmt: skip


def failures(found: Iterable[Check]) -> list[tuple[str, str]]:
    return [(check.step, check.detail) for check in found if check.state is CheckState.FAILS]


def test_a_job_with_the_right_token_assumes_the_role_and_every_check_works(
    job: Job, aws: FakeAws
) -> None:
    checks = list(check_setup(options(), job.environment(aws)))
    assert [check.step for check in checks if check.state is CheckState.WORKS] == [
        "assume",
        "LookupEvents",
        "ListRegions",
    ]
    assert failures(checks) == []
    assert aws.requests[0].access_key == "AKIAREADER"


def test_claims_are_printed_and_the_token_and_the_person_never(job: Job, aws: FakeAws) -> None:
    text = check_rows(list(check_setup(options(), job.environment(aws))))
    assert "sub is repo:acme/shop:ref:refs/heads/main" in text
    assert "repository_id is 34" in text
    for secret in (token(CLAIMS), token(CLAIMS).split(".")[1], "kim", "secret-id", "permitted"):
        assert secret not in text


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (
            {"sub": "repo:acme/shop:environment:prod"},
            f"StringEquals {ISSUER}:sub: the token has 'repo:acme/shop:env",
        ),
        (
            {"sub": "repo:acme/shop:pull_request"},
            "accepted is 'repo:acme/shop:ref:refs/heads/main'",
        ),
        (
            {"aud": "https://github.com/acme"},
            f"StringEquals {ISSUER}:aud: the token has 'https://github.com/acme'",
        ),
        (
            {"iss": "https://ghe.acme.com/_services/token"},
            "the issuer is https://ghe.acme.com/_services/token",
        ),
    ],
)
def test_a_denied_login_names_the_condition_that_the_token_does_not_fulfil(
    job: Job, aws: FakeAws, claim: dict[str, str], words: str
) -> None:
    job.claims, job.refused = {**CLAIMS, **claim}, ("AccessDenied", DENIED)
    failed_steps = failures(check_setup(options(), job.environment(aws)))
    assert [step for step, _ in failed_steps] == ["assume", "trust policy"]
    assert f'AWS says "{DENIED}"' in failed_steps[0][1]
    assert words in failed_steps[1][1]


def test_the_deployed_trust_policy_is_compared_where_it_can_be_read(job: Job, aws: FakeAws) -> None:
    trust = trust_policy(
        options().provider("aws", ACCOUNT),
        "sts.amazonaws.com",
        ["repo:acme/shop:ref:refs/heads/old"],
    )
    aws.operations["iam:GetRole"] = lambda _: {"Role": role_with(trust)}
    job.refused = ("AccessDenied", DENIED)
    environment = {
        **job.environment(aws),
        **aws.environment(),
        "AWS_ENDPOINT_URL_STS": job.environment(aws)["AWS_ENDPOINT_URL_STS"],
    }
    (_, _), (step, detail) = failures(check_setup(options(), environment))
    assert step == "trust policy"
    assert (
        "accepted is 'repo:acme/shop:ref:refs/heads/old' (the trust policy that the account has)"
        in detail
    )


def test_a_subject_with_ids_is_explained_where_the_conditions_hold(job: Job, aws: FakeAws) -> None:
    """The role was deployed without the ids, which the token shows."""
    job.claims = {**CLAIMS, "sub": "repo:acme@12/shop@34:ref:refs/heads/main"}
    job.refused = ("AccessDenied", DENIED)
    checks = list(check_setup(options(), job.environment(aws)))
    assert [step for step, _ in failures(checks)] == ["assume"]
    assert "RepositoryOwnerId=12 RepositoryId=34" in checks[-1].detail


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Incorrect token audience", "Add `sts.amazonaws.com`"),
        (
            f"No OpenIDConnect provider found in your account for https://{ISSUER}",
            "CreateProvider=true",
        ),
        (
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            "update-open-id-connect",
        ),
        ("Couldn't retrieve verification key from your identity provider", "from the internet"),
    ],
)
def test_every_error_of_the_login_is_quoted_with_its_remedy(
    job: Job, aws: FakeAws, message: str, remedy: str
) -> None:
    job.refused = ("InvalidIdentityToken", message)
    step, detail = failures(check_setup(options(), job.environment(aws)))[0]
    assert step == "assume"
    assert detail.count(message) == 1
    assert remedy in detail


def test_what_aws_denies_is_quoted_and_the_other_checks_go_on(aws: FakeAws) -> None:
    message = (
        f"User: {READER} is not authorized to perform: cloudtrail:LookupEvents with an explicit"
        " deny in a service control policy"
    )
    aws.refuse("LookupEvents", "AccessDeniedException", message)
    checks = list(check_setup(options(), aws.environment()))
    [(step, detail)] = failures(checks)
    assert step == "LookupEvents"
    assert detail.count(message) == 1
    assert "`aws-regions`" in detail
    assert checks[-1] == Check("ListRegions", CheckState.WORKS, "account:ListRegions (FindRegions)")


def no_such_trail(_: Asked) -> Mapping[str, Any]:
    raise RefusedError("TrailNotFoundException", "Unknown trail", 400)


@pytest.mark.parametrize(
    ("message", "step", "remedy"),
    [
        ("Access Denied", "read", "S3 gives no reason to another account"),
        (f"User: {READER} is not authorized to perform: kms:Decrypt on resource: {KEY} "
         "because no resource-based policy allows the kms:Decrypt action", "decrypt", "trail-key-policy.json"),
        (f"User: {READER} is not authorized to perform: kms:Decrypt on resource: {KEY} "
         "because no identity-based policy allows the kms:Decrypt action", "decrypt", "--kms-key-arn"),
        (f"User: {READER} is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::logs/x because no VPC "
         "endpoint policy allows the s3:GetObject action", "read", "VPC endpoint, whose policy must allow"),
        (f"User: {READER} is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::logs/x with an explicit "
         "deny in a resource-based policy", "read", "`aws:SourceVpce`"),
    ],
)  # fmt: skip
def test_a_file_of_the_trail_is_listed_read_and_decrypted(
    aws: FakeAws, message: str, step: str, remedy: str
) -> None:
    target = options(trails=["s3://logs/AWSLogs/o-abcdefghij"], sources=["s3-trail"])
    aws.operations["cloudtrail:DescribeTrails"] = lambda _: {"trailList": []}
    for operation in ("GetTrailStatus", "GetEventSelectors"):
        aws.operations[f"cloudtrail:{operation}"] = no_such_trail
    folder = f"AWSLogs/o-abcdefghij/{ACCOUNT}/"
    with FakeS3() as s3:
        empty = list(check_setup(target, s3.environment(others=aws.endpoint)))
        assert "has no file: check prefix, organization and account" in failures(empty)[0][1]
        s3.objects = {
            f"{folder}CloudTrail-Digest/a.json.gz": b"x",
            f"{folder}CloudTrail/eu-west-1/2026/b.json.gz": b"x",
        }
        checks = list(check_setup(target, s3.environment(others=aws.endpoint)))
        assert [check.step for check in checks if check.state is CheckState.WORKS][:2] == [
            "list",
            "read",
        ]
        assert checks[2].detail == f"{folder}CloudTrail/eu-west-1/2026/b.json.gz"
        s3.refuse("CloudTrail/$", "AccessDenied", "listing", times=1)
        assert [
            failure[0]
            for failure in failures(check_setup(target, s3.environment(others=aws.endpoint)))
        ] == ["list"]
        s3.refuse("b.json.gz", "AccessDenied", message)
        [(name, detail)] = failures(check_setup(target, s3.environment(others=aws.endpoint)))
    assert name == step
    assert f'AWS says "{message}"' in detail
    assert remedy in detail


def test_the_hub_assumes_each_other_reader_and_checks_it(aws: FakeAws) -> None:
    """One of two other accounts does not trust the hub yet."""

    def assumed(asked: Asked) -> Mapping[str, Any]:
        if "333344445555" in asked.parameters["RoleArn"]:
            raise RefusedError(
                "AccessDenied", f"User: {READER} is not authorized to perform: sts:AssumeRole", 403
            )
        keys = {
            "AccessKeyId": "AKIAOTHERACCOUNT0",
            "SecretAccessKey": "x",
            "SessionToken": "y",
            "Expiration": datetime(2027, 1, 1, tzinfo=UTC),
        }
        return {"Credentials": keys}

    aws.operations["sts:AssumeRole"] = assumed
    roles = [
        ROLE,
        *(f"arn:aws:iam::{account}:role/ci-deploy" for account in ("222233334444", "333344445555")),
    ]
    target = options(**{"role-arn": roles, "hub-account": [ACCOUNT], "aws-regions": ["eu-west-1"]})
    checks = list(check_setup(target, aws.environment()))
    assert [
        check.detail
        for check in checks
        if check.step == "assume" and check.state is CheckState.WORKS
    ] == ["arn:aws:iam::222233334444:role/leastpriv-reader"]
    [(step, detail)] = failures(checks)
    assert step == "assume"
    assert "333344445555" in detail
    assert [
        request.access_key for request in aws.requests if request.operation == "LookupEvents"
    ] == [
        "AKIAFAKE",
        "AKIAOTHERACCOUNT0",
    ]


def test_credentials_of_another_account_are_an_error(aws: FakeAws) -> None:
    with pytest.raises(
        InputError, match=f"of the account {ACCOUNT}, and --role-arn names 222233334444"
    ):
        list(
            check_setup(
                options(**{"role-arn": ["arn:aws:iam::222233334444:role/x"]}), aws.environment()
            )
        )


@pytest.mark.parametrize(
    ("audience", "subject", "failed"),
    [
        ("sts.amazonaws.com", "repo:acme/shop:ref:refs/heads/main", []),
        (
            "https://github.com/acme",
            "repo:acme/shop:ref:refs/heads/main",
            ["GetOpenIDConnectProvider"],
        ),
        ("sts.amazonaws.com", "repo:acme/shop:ref:refs/heads/old", ["trust policy"]),
    ],
)
def test_an_administrator_s_credentials_show_whether_a_job_s_token_will_be_accepted(
    aws: FakeAws, audience: str, subject: str, failed: list[str]
) -> None:
    kim = f"arn:aws:iam::{ACCOUNT}:user/kim"
    trust = trust_policy(options().provider("aws", ACCOUNT), "sts.amazonaws.com", [subject])
    aws.operations["sts:GetCallerIdentity"] = lambda _: {
        "Account": ACCOUNT,
        "Arn": kim,
        "UserId": "x",
    }
    aws.operations["iam:GetOpenIDConnectProvider"] = lambda _: {"ClientIDList": [audience]}
    aws.operations["iam:GetRole"] = lambda _: {"Role": role_with(trust)}
    checks = list(check_setup(options(), aws.environment()))
    assert "not leastpriv-reader" in checks[0].detail
    assert [step for step, _ in failures(checks)] == failed


def test_a_missing_provider_and_role_are_reported_with_aws_s_words(aws: FakeAws) -> None:
    kim = f"arn:aws:iam::{ACCOUNT}:user/kim"
    aws.operations["sts:GetCallerIdentity"] = lambda _: {
        "Account": ACCOUNT,
        "Arn": kim,
        "UserId": "x",
    }
    aws.operations["iam:GetOpenIDConnectProvider"] = aws.operations["iam:GetRole"] = lambda _: {}
    aws.refuse("GetOpenIDConnectProvider", "NoSuchEntity", "OpenIDConnect Provider not found", 404)
    aws.refuse(
        "GetRole", "NoSuchEntity", "The role with name leastpriv-reader cannot be found.", 404
    )
    [(step, detail)] = failures(check_setup(options(), aws.environment()))
    assert step == "role"
    assert "deploy the template first" in detail
    assert "LookupEvents" not in [request.operation for request in aws.requests]


def test_every_statement_of_the_reader_role_has_a_probe_of_an_action_that_it_grants() -> None:
    granted = {
        (action, grant.sid) for grant in reader_grants(known_sources()) for action in grant.actions
    }
    probed = {(probe.action, probe.sid) for probe in known_probes()}
    assert {sid for _, sid in granted} - {sid for _, sid in probed} == set()
    assert probed - granted == set()


def test_every_probe_is_a_request_that_aws_s_models_accept() -> None:
    values = {
        name: "111122223333" if name == "Account" else "leastpriv"
        for name in (
            "Account", "Partition", "Region", "RoleName", "UserName", "TargetArn", "TrailBucket",
            "TrailTop", "LogGroup", "WorkGroup", "Database", "Table", "ResultBucket",
        )
    }  # fmt: skip
    values["TargetArn"] = ROLE
    for probe in known_probes():
        if probe.note:
            continue
        (parameters,) = filled_values(probe.parameters, values)
        model = contract.operation(probe.client, probe.operation)
        parameter_breaches = breaches(json.loads(parameters), model.input_shape, probe.action)
        assert list(parameter_breaches) == []
        assert not probe.missing or probe.missing in contract.error_names(model)


SOURCES = ("event-history", "live-role", "last-accessed", "policy-checks", "denial-details")
MISSING = {
    probe.operation: probe.missing for probe in known_probes() if probe.missing and not probe.note
}


@pytest.fixture
def whole() -> Iterator[FakeAws]:
    """An account that answers every probe of the default sources as AWS does."""

    def answer(operation: str) -> Callable[[Asked], Mapping[str, Any]]:
        def of(_: Asked) -> Mapping[str, Any]:
            if operation in MISSING:
                raise RefusedError(MISSING[operation], "It does not exist.", 404)
            return ANSWERS.get(operation, {})

        return of

    with FakeAws(
        {
            **{
                f"{probe.client}:{probe.operation}": answer(probe.operation)
                for probe in known_probes()
                if not probe.note
            },
            "sts:GetCallerIdentity": lambda _: {"Account": ACCOUNT, "Arn": READER, "UserId": "x"},
            "iam:GetRole": lambda _: {"Role": role_with({})},
        }
    ) as server:
        yield server


ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "LookupEvents": {"Events": []},
    "ListRegions": {"Regions": []},
    "ListAnalyzers": {"analyzers": []},
    "ValidatePolicy": {"findings": []},
    "SimulateCustomPolicy": {"EvaluationResults": []},
}


def test_each_permission_of_the_default_sources_is_tried(whole: FakeAws) -> None:
    checks = list(check_setup(options(sources=SOURCES), whole.environment()))
    assert failures(checks) == []
    operations = {request.operation for request in whole.requests}
    assert {
        "LookupEvents", "ValidatePolicy", "SimulateCustomPolicy", "ListRolePolicies",
        "ListAttachedRolePolicies", "GetPolicyVersion", "GetServiceLastAccessedDetails",
        "GenerateServiceLastAccessedDetails", "ListFindings", "GetRequestAuthorizationDetails",
    } <= operations  # fmt: skip


@pytest.mark.parametrize(
    "operation", ["ValidatePolicy", "ListRolePolicies", "GetServiceLastAccessedDetails"]
)
def test_one_missing_permission_is_one_failure(whole: FakeAws, operation: str) -> None:
    message = f"User: {READER} is not authorized to perform: x:{operation}"
    whole.refuse(operation, "AccessDeniedException", message)
    [(step, detail)] = failures(check_setup(options(sources=SOURCES), whole.environment()))
    assert step == operation
    assert detail.count(message) == 1


def test_expired_credentials_are_one_failure(whole: FakeAws) -> None:
    for operation in ("LookupEvents", "ListRegions", "ListRolePolicies", "GetRole"):
        whole.refuse(operation, "ExpiredTokenException", "The security token is expired")
    failed_checks = failures(check_setup(options(sources=SOURCES[:1]), whole.environment()))
    assert len(failed_checks) == 1


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("ThrottlingException", 400, "AWS throttled the requests"),
        ("ServiceUnavailable", 503, "AWS failed while trying"),
    ],
)
@pytest.mark.parametrize("operation", ["LookupEvents", "ValidatePolicy", "ListRolePolicies"])
def test_a_request_that_aws_does_not_answer_is_unknown_with_the_reason_and_fails_nothing(
    whole: FakeAws, operation: str, code: str, status: int, reason: str
) -> None:
    whole.refuse(operation, code, "Try again", status=status)
    target = options(sources=SOURCES, **{"aws-regions": ["eu-west-1"]})
    checks = list(check_setup(target, whole.environment()))
    [unknown] = [check for check in checks if check.state is CheckState.UNKNOWN]
    assert failures(checks) == []
    assert unknown.step == operation
    assert reason in unknown.detail
    assert "run again later" in unknown.detail
    assert check_rows(checks).endswith(" 0 fail, 1 could not be made.\n")


def test_a_login_that_aws_does_not_answer_is_unknown_and_blames_no_trust_policy(
    job: Job, aws: FakeAws
) -> None:
    job.refused = ("Throttling", "Rate exceeded")
    checks = list(check_setup(options(), job.environment(aws)))
    assert (checks[-1].step, checks[-1].state) == ("assume", CheckState.UNKNOWN)
    assert failures(checks) == []


def test_one_failure_in_several_regions_is_one_line(whole: FakeAws) -> None:
    whole.refuse("LookupEvents", "AccessDeniedException", "User: x is not authorized")
    regions = {"aws-regions": ["eu-west-1", "us-east-1"]}
    [(_, detail)] = failures(check_setup(options(**regions), whole.environment()))
    assert detail.startswith("eu-west-1, us-east-1: ")


def test_a_job_without_the_permission_gets_its_name(job: Job, aws: FakeAws) -> None:
    environment = {**job.environment(aws), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "other"}
    with pytest.raises(LeastprivError, match="id-token: write"):
        list(check_setup(options(), environment))
    first = next(check_setup(options(), {**aws.environment(), "GITHUB_ACTIONS": "true"}))
    assert "id-token: write" in first.detail


@pytest.mark.parametrize("text", ["", "a.b", "a.e30", "a.W10.b"])
def test_a_token_that_is_none_is_an_error_or_has_no_claims(text: str) -> None:
    if text == "a.e30":
        assert token_claims(text) == {}
        return
    with pytest.raises(LeastprivError, match="cannot be read"):
        token_claims(text)


def test_a_pattern_of_subjects_matches_as_iam_matches() -> None:
    trust = trust_policy(
        options().provider("aws", ACCOUNT), "sts.amazonaws.com", ["repo:acme/shop:ref:refs/tags/v*"]
    )
    assert not list(unmet_conditions(trust, {**CLAIMS, "sub": "repo:acme/shop:ref:refs/tags/v1"}))
    assert (
        len(list(unmet_conditions(trust, {**CLAIMS, "sub": "repo:acme/shop:ref:refs/tags/w1"})))
        == 1
    )


@pytest.mark.parametrize(
    ("accepted", "is_met"), [(74, True), ([74], True), (["75", 74], True), ([75], False)]
)
def test_a_trust_policy_may_give_the_number_of_a_repository_without_quotes(
    accepted: object, is_met: bool
) -> None:
    trust = trust_policy(
        options().provider("aws", ACCOUNT), "sts.amazonaws.com", [str(CLAIMS["sub"])]
    )
    trust["Statement"][0]["Condition"]["StringEquals"][f"{ISSUER}:repository_id"] = accepted
    assert bool(list(unmet_conditions(trust, {**CLAIMS, "repository_id": "74"}))) is not is_met


def test_a_trust_policy_accepts_a_token_where_one_of_its_statements_does() -> None:
    our_policy, their_policy = (
        trust_policy(
            options().provider("aws", ACCOUNT),
            "sts.amazonaws.com",
            [f"repo:acme/{name}:ref:refs/heads/main"],
        )
        for name in ("shop", "bank")
    )
    gitlab = trust_policy(
        f"arn:aws:iam::{ACCOUNT}:oidc-provider/gitlab.com", "sts.amazonaws.com", ["project_path:x"]
    )
    ec2 = {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    }
    several = {
        "Statement": [*their_policy["Statement"], *gitlab["Statement"], *our_policy["Statement"]]
    }
    assert not list(unmet_conditions(several, CLAIMS))
    (sentence,) = unmet_conditions(
        {"Statement": [*their_policy["Statement"], *gitlab["Statement"]]}, CLAIMS
    )
    assert "repo:acme/bank" in sentence
    assert next(unmet_conditions(gitlab, CLAIMS)).startswith("the issuer is")
    assert list(unmet_conditions(ec2, CLAIMS)) == [
        f"no statement trusts the OIDC provider of https://{ISSUER}"
    ]


def test_the_last_row_counts_and_a_failed_check_ends_with_one() -> None:
    rows = check_rows(
        [
            Check("a", CheckState.WORKS, "x"),
            Check("b", CheckState.FAILS, "y"),
            Check("c", CheckState.INFO, "z"),
        ]
    ).splitlines()
    assert rows == ["works   a: x", "FAILS   b: y", "info    c: z", "1 checks work, 1 fail."]
