"""`leastpriv evaluate` and `leastpriv contains`."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from leastpriv.cli.main import main
from tests.fakes.aws.organization import FULL_ACCESS, Organization
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.hypothesis_profiles import examples

ALLOW = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}
DENY = {
    "Sid": "Never",
    "Effect": "Deny",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::b/secret",
}
UNDER = {**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}


def run(*arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Run a command; its exit code, JSON lines and what it said."""
    out, err = io.StringIO(), io.StringIO()
    code = main(
        [str(argument) for argument in arguments],
        out,
        err,
        lambda: datetime(2026, 11, 24, tzinfo=UTC),
    )
    return code, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, statements in {
        "a": [ALLOW],
        "deny": [ALLOW, DENY],
        "under": [UNDER],
        "none": [],
    }.items():
        policy = {"Version": "2012-10-17", "Statement": statements}
        (tmp_path / f"{name}.json").write_text(json.dumps(policy, indent=1))
    return tmp_path


def asked(folder: Path, *requests: dict[str, Any] | str) -> Path:
    """Write requests; a text is the key of an object that is asked for."""
    entries = [
        {"action": "s3:GetObject", "resource": f"arn:aws:s3:::b/{entry}"}
        if isinstance(entry, str)
        else entry
        for entry in requests
    ]
    path = folder / "r.json"
    path.write_text(json.dumps(entries))
    return path


def test_each_request_has_a_line_with_the_statement_that_decided(folder: Path) -> None:
    requests = asked(
        folder, "k", "secret", {"action": "s3:PutObject", "resource": "arn:aws:s3:::b/k"}
    )
    policy = folder / "deny.json"
    code, rows, messages = run("evaluate", "--policy", policy, "--request", requests)
    allow = {"file": str(policy), "index": 0, "sid": None, "line": 4}
    never = {"file": str(policy), "index": 1, "sid": "Never", "line": 9}
    assert (code, messages) == (0, "")
    assert rows == [
        {"decision": "allowed", "statement": allow},
        {"decision": "explicitDeny", "statement": never, "denied_by": "identity"},
        {"decision": "implicitDeny", "statement": None, "denied_by": "identity"},
    ]


def test_several_policies_add_up(folder: Path) -> None:
    requests = asked(folder, "k")
    _, rows, _ = run(
        "evaluate",
        "--policy",
        folder / "none.json",
        "--policy",
        folder / "a.json",
        "--request",
        requests,
    )
    assert rows[0]["decision"] == "allowed"
    assert rows[0]["statement"]["file"] == str(folder / "a.json")


def test_a_key_that_is_absent_is_unknown_unless_the_context_is_complete(folder: Path) -> None:
    request = {"action": "s3:GetObject", "resource": "arn:aws:s3:::b/k"}
    requests = asked(
        folder,
        request,
        {**request, "context_complete": True},
        {**request, "context": {"aws:SecureTransport": True}},
    )
    _, rows, _ = run("evaluate", "--policy", folder / "under.json", "--request", requests)
    assert [row["decision"] for row in rows] == ["unknown", "implicitDeny", "allowed"]
    assert rows[0]["statement"]["index"] == 0


@pytest.mark.parametrize(
    ("flag", "layer"), [("--boundary", "boundary"), ("--session-policy", "session")]
)
def test_boundary_and_session_policy_limit(folder: Path, flag: str, layer: str) -> None:
    requests = asked(folder, "k", "secret")
    common = ("evaluate", "--policy", folder / "a.json", "--request", requests)
    _, rows, _ = run(*common, flag, folder / "none.json")
    assert {(row["decision"], row["denied_by"]) for row in rows} == {("implicitDeny", layer)}
    _, rows, _ = run(*common, flag, folder / "deny.json")
    assert [row["decision"] for row in rows] == ["allowed", "explicitDeny"]
    assert rows[1]["denied_by"] == layer
    assert rows[1]["statement"]["file"] == str(folder / "deny.json")


def test_contains_prints_nothing_without_new_access(folder: Path) -> None:
    assert run("contains", "--old", folder / "a.json", "--new", folder / "deny.json") == (0, [], "")
    assert run("contains", "--old", folder / "a.json", "--new", folder / "under.json") == (
        0,
        [],
        "",
    )


def test_contains_refuses_a_principal_that_is_no_arn(folder: Path) -> None:
    policy = folder / "a.json"
    code, rows, messages = run(
        "contains", "--old", policy, "--new", policy, "--principal", "deploy"
    )
    assert (code, rows) == (2, [])
    assert "--principal deploy is no ARN" in messages


def test_evaluate_refuses_a_file_without_a_request(folder: Path) -> None:
    code, rows, messages = run(
        "evaluate", "--policy", folder / "a.json", "--request", asked(folder)
    )
    assert (code, rows) == (2, [])
    assert "r.json has no request" in messages


@pytest.mark.parametrize("second", [{"Statement": [{"Effect": "Allow"}]}, '{"Statement": []}'])
def test_contains_refuses_a_file_with_two_policies(folder: Path, second: object) -> None:
    """Either could be the one that is attached."""
    old = json.loads((folder / "a.json").read_text())
    (folder / "both.json").write_text(json.dumps({"Policy": old, "PolicyDocument": second}))
    code, rows, messages = run(
        "contains", "--old", folder / "a.json", "--new", folder / "both.json"
    )
    assert (code, rows) == (2, [])
    assert "it has 2 policies, at /Policy, /PolicyDocument" in messages


def test_contains_shows_a_request_that_evaluate_takes(folder: Path) -> None:
    old, new = folder / "deny.json", folder / "a.json"
    code, rows, messages = run("contains", "--old", old, "--new", new)
    assert code == 3
    assert rows == [
        {
            "action": "s3:GetObject",
            "resource": "arn:aws:s3:::b/secret",
            "context": {},
            "context_complete": True,
            "statement": {"file": str(new), "index": 0, "sid": None, "line": 4},
        }
    ]
    assert "allows what the old policy does not: s3:GetObject on arn:aws:s3:::b/secret." in messages
    requests = asked(folder, rows[0])
    decisions = [
        run("evaluate", "--policy", policy, "--request", requests)[1][0]["decision"]
        for policy in (old, new)
    ]
    assert decisions == ["explicitDeny", "allowed"]


NAMES = [
    "s3:GetObject",
    "s3:Get*",
    "s3:*",
    "*",
    "newservice:*",
    "sqs:SendMessage",
    "ec2:Describe?pcs",
]
PLACES = [
    "*",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/${*}",
    "arn:aws:s3:::b/${aws:username}/*",
    "arn:aws:sqs:*:1:q?",
]
WHEN = [
    None,
    {"StringLike": {"aws:PrincipalTag/team": ["shop-*", "a"]}},
    {"NumericLessThan": {"s3:max-keys": "10"}, "Bool": {"aws:SecureTransport": "true"}},
    {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    {"Null": {"aws:TokenIssueTime": "false"}},
]
STATEMENTS = st.lists(
    st.builds(
        lambda effect, actions, resources, when: {
            "Effect": effect,
            "Action": actions,
            "Resource": resources,
            **({"Condition": when} if when else {}),
        },
        st.sampled_from(["Allow", "Allow", "Deny"]),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
        st.lists(st.sampled_from(PLACES), min_size=1, max_size=2),
        st.sampled_from(WHEN),
    ),
    max_size=3,
)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATEMENTS, STATEMENTS)
def test_whatever_request_contains_shows_evaluate_confirms(
    folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> None:
    for name, statements in (("old", old), ("new", new)):
        (folder / f"{name}.json").write_text(
            json.dumps({"Version": "2012-10-17", "Statement": statements})
        )
    code, rows, _ = run("contains", "--old", folder / "old.json", "--new", folder / "new.json")
    assert (code, len(rows)) in {(0, 0), (3, 1)}
    for row in rows:
        if "cannot_tell" not in row:
            requests = asked(folder, row)
            (decision,) = run("evaluate", "--policy", folder / "new.json", "--request", requests)[1]
            (before,) = run("evaluate", "--policy", folder / "old.json", "--request", requests)[1]
            assert decision["decision"] == "allowed"
            assert before["decision"] in {"implicitDeny", "explicitDeny"}


def test_policies_of_a_split_role_are_compared_together(folder: Path) -> None:
    both_actions = {**ALLOW, "Action": ["s3:Get*", "s3:PutObject"]}
    for name, action in (("whole", both_actions["Action"]), ("put", "s3:PutObject")):
        statement = {**ALLOW, "Action": action}
        (folder / f"{name}.json").write_text(
            json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
    parts = [folder / "a.json", folder / "put.json"]
    assert run(
        "contains", "--old", parts[0], "--old", parts[1], "--new", folder / "whole.json"
    ) == (0, [], "")
    assert run(
        "contains", "--old", folder / "whole.json", "--new", parts[0], "--new", parts[1]
    ) == (0, [], "")
    code, rows, _ = run("contains", "--old", parts[0], "--new", parts[0], "--new", parts[1])
    assert (code, rows[0]["statement"]["file"]) == (3, str(parts[1]))


def test_contains_shows_the_context(folder: Path) -> None:
    code, rows, messages = run(
        "contains", "--old", folder / "none.json", "--new", folder / "under.json"
    )
    assert code == 3
    assert rows[0]["context"] == {"aws:securetransport": ["true"]}
    assert messages.rstrip().endswith("aws:securetransport true.")


def test_contains_reports_what_it_cannot_decide(folder: Path) -> None:
    odd = {**ALLOW, "Condition": {"NoSuch": {"k": "a"}}}
    (folder / "odd.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [odd]}))
    code, rows, messages = run(
        "contains", "--old", folder / "none.json", "--new", folder / "odd.json"
    )
    assert code == 3
    assert (rows[0]["action"], rows[0]["resource"]) == ("s3:Get*", "arn:aws:s3:::b/*")
    assert rows[0]["cannot_tell"] == "its conditions or policy variables are not provably narrower"
    assert "context" not in rows[0]
    assert "may allow more: s3:Get* on arn:aws:s3:::b/*, since its conditions" in messages


def test_names_in_a_policy_cannot_command_a_runner(folder: Path) -> None:
    bad = {**ALLOW, "Action": "s3:##[error]x", "Resource": "arn:aws:s3:::\n::error::x"}
    (folder / "bad.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [bad]}))
    out, err = io.StringIO(), io.StringIO()
    arguments = ["contains", "--old", str(folder / "none.json"), "--new", str(folder / "bad.json")]
    assert main(arguments, out, err, lambda: datetime(2026, 11, 24, tzinfo=UTC)) == 3
    for text in (out.getvalue(), err.getvalue()):
        assert "##[" not in text
        assert "\n::" not in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "--policy", "nosuch.json", "--request", "r.json"], "--policy names"),
        (["evaluate", "--policy", "{a}", "--request", "nosuch.json"], "--request names"),
        (
            ["evaluate", "--policy", "{a}", "--boundary", "nosuch.json", "--request", "r.json"],
            "--boundary names",
        ),
        (
            ["evaluate", "--policy", "{a}", "--session-policy", "n.json", "--request", "r.json"],
            "--session-policy names",
        ),
        (["contains", "--old", "nosuch.json", "--new", "{a}"], "--old names"),
        (["contains", "--old", "{a}", "--new", "nosuch.json"], "--new names"),
        (["contains", "--old", "{a}", "--new", "{bad}"], "bad.txt: line 1"),
        (
            ["contains", "--old", "{a}", "--new", "{a}#x"],
            "with the pointer 'x'; a pointer begins with /",
        ),
        (
            ["contains", "--old", "{a}", "--new", "{a}", "--organization-policies", "nosuch"],
            "--organization-policies names",
        ),
        (
            ["contains", "--old", "{a}", "--new", "{a}", "--organization-policies", "{empty}"],
            "which has no JSON file",
        ),
        (
            ["contains", "--old", "{a}", "--new", "{a}", "--organization-policies", "{branches}"],
            "different branches",
        ),
        (
            [
                *("contains", "--old", "{a}", "--new", "{a}"),
                *("--organization-policies", "{a}", "--organization-policies", "true"),
            ],
            "names files, and true asks AWS instead",
        ),
        (
            ["contains", "--old", "{a}", "--new", "{a}", "--resource-policy", "arn:aws:s3:::b"],
            "write ARN=FILE",
        ),
        (
            ["contains", "--old", "{a}", "--new", "{a}", "--organization-policies", "{accounts}"],
            "name the role or user with --principal",
        ),
        (["evaluate", "--request", "r.json"], "Name a policy with --policy"),
        (["contains", "--old", "{a}"], ""),
        (["evaluate", "--policy", "{a}"], ""),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    folder: Path, arguments: list[str], told: str
) -> None:
    (folder / "bad.txt").write_text("{")
    policy = (folder / "a.json").read_text()
    for name in ("branches/one/a.json", "branches/two/a.json", "accounts/111122223333/a.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(policy)
    (folder / "empty").mkdir()
    files = {"a": folder / "a.json", "bad": folder / "bad.txt"}
    files |= {name: folder / name for name in ("empty", "branches", "accounts")}
    code, rows, messages = run(*(argument.format(**files) for argument in arguments))
    assert (code, rows) == (2, [])
    assert told in messages


FULL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
PRINCIPAL = "arn:aws:iam::111122223333:role/deploy"


def saved(path: Path, *statements: dict[str, Any]) -> Path:
    """Write a policy, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    return path


def test_the_policy_of_the_organization_that_decides_is_named(folder: Path) -> None:
    saved(folder / "org/root/FullAWSAccess.json", FULL)
    saved(folder / "org/root/apps/deny-reads.json", FULL, {**DENY, "Resource": "*"})
    (folder / "org/root/apps/prod-111122223333").mkdir()
    (folder / "org/root/other/444455556666").mkdir(parents=True)
    asks = {"action": "s3:GetObject", "resource": "arn:aws:s3:::b/k", "context_complete": True}
    other_principal = PRINCIPAL.replace("111122223333", "444455556666")
    requests = asked(
        folder, {**asks, "principal": PRINCIPAL}, {**asks, "principal": other_principal}
    )
    tree = ("--organization-policies", folder / "org")
    code, rows, _ = run("evaluate", "--policy", folder / "a.json", "--request", requests, *tree)
    assert code == 0
    assert [row["decision"] for row in rows] == ["explicitDeny", "allowed"]
    assert (rows[0]["denied_by"], rows[0]["policy"], rows[0]["level"]) == (
        "scp",
        "deny-reads",
        "apps",
    )
    assert rows[0]["statement"]["sid"] == "Never"
    assert rows[0]["statement"]["file"].endswith("deny-reads.json")


def test_a_level_without_an_allow_is_explained(folder: Path) -> None:
    saved(folder / "org/root/deny.json", DENY)
    requests = asked(folder, {"action": "s3:GetObject", "resource": "arn:aws:s3:::b/k"})
    _, rows, messages = run(
        "evaluate", "--policy", folder / "a.json", "--request", requests,
        "--organization-policies", folder / "org",
    )  # fmt: skip
    assert (rows[0]["decision"], rows[0]["denied_by"]) == ("implicitDeny", "scp")
    assert "FullAWSAccess" in messages


TRUSTED = {"Effect": "Allow", "Principal": {"AWS": PRINCIPAL}, "Action": "*"}
ON_ALL = {**TRUSTED, "Resource": "*"}


@pytest.mark.parametrize(
    ("output", "action", "resource"),
    [
        ({"Policy": json.dumps({"Statement": [{**ON_ALL, "Resource": "arn:aws:s3:::b/*"}]})},
         "s3:GetObject", "arn:aws:s3:::b/k"),
        ({"PolicyName": "default", "Policy": json.dumps({"Statement": [ON_ALL]})},
         "kms:Decrypt", "arn:aws:kms:eu-west-1:111122223333:key/1"),
        ({"Attributes": {"QueueArn": "arn:aws:sqs:eu-west-1:111122223333:q",
                         "Policy": json.dumps({"Statement": [ON_ALL]})}},
         "sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:q"),
        ({"ARN": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-AbCdEf", "Name": "s",
          "ResourcePolicy": json.dumps({"Statement": [ON_ALL]})},
         "secretsmanager:GetSecretValue",
         "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-AbCdEf"),
        ({"Role": {"Arn": "arn:aws:iam::111122223333:role/x",
                   "AssumeRolePolicyDocument": {"Statement": [TRUSTED]}}},
         "sts:AssumeRole", "arn:aws:iam::111122223333:role/x"),
        ({"Statement": [ON_ALL]}, "sns:Publish", "arn:aws:sns:eu-west-1:111122223333:t"),
    ],
)  # fmt: skip
def test_the_output_of_the_command_that_reads_a_resource_s_policy_is_taken(
    folder: Path, output: dict[str, Any], action: str, resource: str
) -> None:
    (folder / "resource.json").write_text(json.dumps(output))
    requests = asked(folder, {"principal": PRINCIPAL, "action": action, "resource": resource})
    _, rows, _ = run(
        "evaluate", "--resource-policy", folder / "resource.json", "--request", requests
    )
    assert (rows[0]["decision"], rows[0]["policy"]) == ("allowed", "resource")


def test_contains_takes_what_other_policies_forbid_as_no_new_access(folder: Path) -> None:
    new = saved(
        folder / "new.json", ALLOW, {**FULL, "Action": ["s3:PutObject", "ec2:RunInstances"]}
    )
    compared = ("contains", "--old", folder / "a.json", "--new", new)
    limits = saved(folder / "org/root/list.json", {**FULL, "Action": "s3:*"})
    put = {**FULL, "Action": "s3:PutObject"}
    bucket = saved(folder / "bucket.json", {**put, "Effect": "Deny", "Principal": "*"})
    assert run(*compared)[0] == 3
    _, rows, _ = run(*compared, "--organization-policies", limits.parent)
    assert rows[0]["action"] == "s3:PutObject"
    all_limits = ("--organization-policies", limits.parent, "--resource-policy", bucket)
    assert run(*compared, *all_limits, "--principal", PRINCIPAL)[0] == 0
    assert run(*compared, "--boundary", folder / "a.json")[0] == 0


NO_OTHERS = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "*",
    "Resource": "*",
    "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-abcde12345"}},
}


@pytest.mark.parametrize(
    ("new", "denied", "code"),
    [
        ("arn:aws:sqs:*:111122223333:*", {}, 0),
        ("arn:aws:sqs:*:444455556666:*", {}, 3),
        ("*", {}, 3),
        ("arn:aws:sqs:*:111122223333:*", {"Action": "sqs:Send*"}, 0),
        ("arn:aws:sqs:*:111122223333:*", {"Action": "s3:*"}, 3),
        ("arn:aws:sqs:*:111122223333:*", {"Resource": "arn:aws:sqs:*"}, 0),
        ("arn:aws:sqs:*:111122223333:*", {"Resource": "arn:aws:sqs:*:111122223333:web"}, 3),
        ("arn:aws:sqs:*:111122223333:web", {"Resource": "arn:aws:sqs:*:*:web"}, 0),
        (
            "arn:aws:sqs:*:111122223333:web",
            {"Resource": None, "NotResource": "arn:aws:sqs:*:*:web"},
            3,
        ),
    ],
)
def test_what_an_rcp_forbids_on_resources_of_its_account_is_no_new_access(
    folder: Path, new: str, denied: dict[str, Any], code: int
) -> None:
    statement = {**NO_OTHERS, "Condition": {}, **denied}
    rcp = {key: value for key, value in statement.items() if value is not None}
    saved(folder / "org/Root/prod-111122223333/none.json", rcp)
    send = {**FULL, "Action": "sqs:SendMessage", "Resource": new}
    compared = ("contains", "--old", folder / "none.json", "--new")
    limits = ("--organization-policies", folder / "org", "--principal", PRINCIPAL)
    assert run(*compared, saved(folder / "new.json", send), *limits)[0] == code


@pytest.mark.parametrize(("account", "code"), [("111122223333", 0), ("444455556666", 3), (None, 3)])
def test_an_rcp_limits_a_bucket_where_the_statement_names_its_account(
    folder: Path, account: str | None, code: int
) -> None:
    saved(folder / "org/Root/prod-111122223333/none.json", {**NO_OTHERS, "Condition": {}})
    conditions = {"StringEquals": {"aws:ResourceAccount": account}} if account else {}
    new = saved(folder / "new.json", {**ALLOW, "Condition": conditions})
    limits = ("--organization-policies", folder / "org", "--principal", PRINCIPAL)
    exit_code = run("contains", "--old", folder / "none.json", "--new", new, *limits)[0]
    assert exit_code == code


def test_a_service_without_rcps_and_an_action_that_no_rcp_limits_are_new_access(
    folder: Path,
) -> None:
    saved(folder / "org/Root/prod-111122223333/none.json", {**NO_OTHERS, "Condition": {}})
    limits = ("--organization-policies", folder / "org", "--principal", PRINCIPAL)
    key = "arn:aws:kms:eu-west-1:111122223333:key/k"
    for action, code in (("kms:Decrypt", 0), ("kms:RetireGrant", 3), ("ec2:RunInstances", 3)):
        resource = key if action.startswith("kms") else "arn:aws:ec2:*:111122223333:instance/*"
        new = saved(folder / "new.json", {**FULL, "Action": action, "Resource": resource})
        command = run("contains", "--old", folder / "none.json", "--new", new, *limits)
        assert command[0] == code, action


def test_the_rcps_of_the_resource_s_account_are_read_from_aws(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = {
        "p-FullAWSAccess": FULL_ACCESS,
        "p-perimeter": {"Version": "2012-10-17", "Statement": [NO_OTHERS]},
    }
    organization = Organization(policies=policies, rcps={"ou-abcd-11111111": ["p-perimeter"]})
    organization.parents["444455556666"] = "ou-abcd-11111111"
    organization.parents["111122223333"] = "r-abcd"
    queue = {"principal": PRINCIPAL, "action": "sqs:SendMessage", "context_complete": True}
    requests = asked(
        folder,
        {**queue, "resource": "arn:aws:sqs:eu-west-1:444455556666:web"},
        {**queue, "resource": "arn:aws:sqs:eu-west-1:111122223333:web"},
        {**queue, "resource": "arn:aws:sqs:eu-west-1:777788889999:web"},
    )
    policy = saved(folder / "all.json", FULL)
    with PolicyChecks() as aws:
        aws.operations |= organization.operations()
        for name, value in aws.environment(attempts=1).items():
            monkeypatch.setenv(name, value)
        asks = ("evaluate", "--policy", policy, "--request", requests)
        _, rows, _ = run(*asks, "--organization-policies", "true")
    assert [row.get("policy") for row in rows] == ["p-perimeter", None, None]
    assert rows[0]["denied_by"] == "rcp"


def test_the_scps_of_the_account_are_read_from_aws(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = {
        "p-FullAWSAccess": FULL_ACCESS,
        "p-noreads01": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Deny", "Action": "s3:Get*", "Resource": "*"}],
        },
    }
    organization = Organization(policies=policies, attached={"r-abcd": ["p-noreads01"]})
    requests = asked(
        folder,
        {"principal": PRINCIPAL, "action": "s3:GetObject", "resource": "arn:aws:s3:::b/k"},
    )
    with PolicyChecks() as aws:
        aws.operations |= organization.operations()
        for name, value in aws.environment(attempts=1).items():
            monkeypatch.setenv(name, value)
        asks = ("evaluate", "--policy", folder / "a.json", "--request", requests)
        _, rows, _ = run(*asks, "--organization-policies", "true")
        assert (rows[0]["decision"], rows[0]["denied_by"]) == ("explicitDeny", "scp")
        assert (rows[0]["policy"], rows[0]["level"]) == ("p-noreads01", "r-abcd")
        aws.refuse("ListParents", "AccessDeniedException", "no")
        code, _, messages = run(*asks, "--organization-policies", "true")
        assert code == 1
        assert "service control policies of the account are not known" in messages
