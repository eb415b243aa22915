"""The promises of `leastpriv explain`, asked through the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.cli.main import main
from leastpriv.permissions import catalog
from tests.fakes.deploys import FIRST, NOW, POLICY, ROLE, deploys, usual_deploys, write_trail

SCP = {
    "event": "ec2:CreateVpc",
    "error": "Client.UnauthorizedOperation",
    "message": (
        "You are not authorized to perform this operation. "
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform: "
        "ec2:CreateVpc on resource: arn:aws:ec2:eu-west-1:111122223333:vpc/* "
        "with an explicit deny in a service control policy"
    ),
}
STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/7b2f3c10-9a1e-11ef-8f3a-0a58a9feac02"


def explained(*arguments: str, trail: Path, policy: Path | None = None) -> str:
    """What the command prints; it must succeed."""
    out, err = io.StringIO(), io.StringIO()
    options = [
        "explain",
        *arguments,
        "--role-arn",
        ROLE,
        "--trails",
        str(trail),
        "--aws-regions",
        "eu-west-1",
    ]
    code = main(
        [*options, *(["--policy-file", str(policy)] if policy else [])], out, err, lambda: NOW
    )
    assert code == 0, err.getvalue()
    return out.getvalue()


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual deploys, a stack by its id, and refusals."""
    odd = [SCP, {"event": "cloudformation:DescribeStacks", "parameters": {"stackName": STACK}}]
    late = deploys(odd, first=FIRST + timedelta(days=14, minutes=2), times=1, number=2)
    return write_trail(tmp_path_factory.mktemp("trail"), [*usual_deploys(), *late])


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "ci-deploy.json"
    path.write_text(json.dumps(POLICY, indent=2))
    return path


def test_a_used_action_shows_events_basis_derivation_confidence_and_visibility(trail: Path) -> None:
    text = explained("lambda:updatefunctioncode", trail=trail)
    assert text.startswith("lambda:UpdateFunctionCode (Write)\n")
    for words in (
        "observed: 6 calls in 6 runs, 2026-10-01 to 2026-11-05",
        "resource:   arn:aws:lambda:eu-west-1:111122223333:function:orders",
        "found:      named by the request",
        "confidence: high",
        "events:     lambda.amazonaws.com:UpdateFunctionCode20150331v2",
        "visible in a trail: as a management event",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("action", "fate"),
    [
        ("lambda:UpdateFunctionCode", "grants it by lambda:* on"),
        ("lambda:UpdateFunctionCode", "kept: it was used"),
        ("lambda:CreateAlias", "removed with lambda:*, which becomes"),
        ("sqs:PurgeQueue", "(Queues) grants it by sqs:PurgeQueue"),
        ("sqs:PurgeQueue", "removed with sqs:PurgeQueue"),
        ("lambda:InvokeFunction", "kept, held back by not-visible"),
        ("cloudwatch:PutMetricAlarm", "would be added, basis denied, on\n    arn:aws:cloudwatch:"),
        ("cloudformation:DescribeStacks", "open: Id, since a stack made again has another id"),
        ("cloudformation:DescribeStacks", f"covers: {STACK}"),
        ("ec2:CreateVpc", "not-mendable: a service control policy denied this"),
        ("s3:GetObject", "neither granted nor needed"),
        ("s3:GetObject", "evidence: no call that needs it"),
    ],
)
def test_with_a_policy_file_the_change_of_the_action_is_explained(
    action: str, fate: str, trail: Path, policy: Path
) -> None:
    assert fate in explained(action, trail=trail, policy=policy)


def test_the_same_dials_as_of_a_proposal_decide(trail: Path, policy: Path) -> None:
    assert "held back by minimum-runs" in explained(
        "sqs:PurgeQueue", "--minimum-runs", "50", trail=trail, policy=policy
    )
    assert "held back by keep" in explained(
        "sqs:PurgeQueue", "--keep", "sqs:Purge*", trail=trail, policy=policy
    )


@pytest.mark.parametrize(
    ("dials", "guard"),
    [
        (("--minimum-runs", "7"), "minimum-runs"),
        (("--minimum-confidence", "0", "--max-changes", "1"), "max-changes"),
        (("--break-glass", "*"), "minimum-runs"),
    ],
)
def test_the_dials_of_certainty_decide_too(
    dials: tuple[str, ...], guard: str, trail: Path, policy: Path
) -> None:
    """Else it would say that something goes which the pull request holds back."""
    assert guard in explained("sns:CreateTopic", *dials, trail=trail, policy=policy)


def test_a_memory_is_read_and_not_written(trail: Path, policy: Path, tmp_path: Path) -> None:
    account, name = ROLE.split(":")[4], ROLE.rpartition("/")[2]
    file = tmp_path / "memory" / account / "role" / f"{name}.json"
    empty = tmp_path / "empty"
    assert "remembered" not in explained(
        "sns:CreateTopic", "--evidence-folder", str(empty), trail=trail, policy=policy
    )
    assert not empty.exists()
    file.parent.mkdir(parents=True)
    uses = {"sns:CreateTopic": {"*": {"first": "2026-01-01", "last": "2026-01-02", "runs": {}}}}
    file.write_text(
        json.dumps({"leastpriv-memory": 1, "principal": ROLE, "used": uses}), encoding="utf-8"
    )
    before = file.read_bytes()
    assert "remembered" in explained(
        "sns:CreateTopic", "--evidence-folder", str(file.parents[2]), trail=trail, policy=policy
    )
    assert file.read_bytes() == before


def test_without_a_policy_file_the_statement_for_the_usage_is_shown(trail: Path) -> None:
    text = explained("cloudformation:DescribeStacks", trail=trail)
    assert "a policy made from this evidence would have it, basis observed, on" in text
    assert "stack/orders/*" in text
    assert "neither granted" not in text


def test_a_pattern_selects_the_actions_that_were_called_or_would_change(
    trail: Path, policy: Path
) -> None:
    text = explained("sqs:*", trail=trail, policy=policy)
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert heads == ["sqs:CreateQueue (Write)", "sqs:PurgeQueue (Write)"]


def test_several_actions_are_blocks_apart(trail: Path) -> None:
    assert explained("sqs:CreateQueue", "s3:GetObject", trail=trail).count("\n\n") == 1


def test_an_action_that_the_catalogue_lacks_is_called_so(trail: Path) -> None:
    assert "(not in the catalogue " in explained("s3:Frobnicate", trail=trail)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["PutObject"], "write an action like s3:PutObject"),
        (["rds:*"], "no action of that pattern was called"),
        (["s3:GetObject", "--policy-file", "nowhere.json"], "is no file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], told: str, trail: Path
) -> None:
    out, err = io.StringIO(), io.StringIO()
    code = main(
        ["explain", *arguments, "--role-arn", ROLE, "--trails", str(trail)], out, err, lambda: NOW
    )
    assert (code, out.getvalue()) == (2, "")
    assert told in err.getvalue()


def test_names_that_others_chose_cannot_command_a_runner_or_a_terminal(tmp_path: Path) -> None:
    name = "x\n::error::owned\x1b[2J##[group]"
    hostile: Mapping[str, Any] = {"event": "sqs:CreateQueue", "parameters": {"queueName": name}}
    text = explained("sqs:CreateQueue", trail=write_trail(tmp_path, deploys([hostile])))
    assert "\x1b" not in text
    assert "##[" not in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


def printed(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    assert main(["explain", *arguments], out, err, lambda: NOW) == 0, err.getvalue()
    return out.getvalue()


def test_without_a_role_the_facts_of_an_action_are_shown() -> None:
    text = printed("iam:passrole", "S3:GetObject")
    for words in (
        (
            "iam:PassRole (Write)\n  resource: role"
            " arn:${Partition}:iam::${Account}:role/${RoleNameWithPath}\n"
        ),
        "  visible in a trail: by the events of other calls only (",
        "  also checked inside: ",
        "  sensitive: ",
        "\n\ns3:GetObject (Read)\n",
        "  visible in a trail: as a data event of AWS::S3::Object (",
    ):
        assert words in text
    assert "evidence" not in text


def test_without_a_role_a_pattern_selects_all_that_it_grants() -> None:
    heads = [
        line
        for line in printed("sqs:*MessageMove*").splitlines()
        if line and not line.startswith(" ")
    ]
    assert len(heads) == len(catalog.expand("sqs:*MessageMove*")) > 1
    out, err = io.StringIO(), io.StringIO()
    assert main(["explain", "sqs:Frobnicate*"], out, err, lambda: NOW) == 2
    assert "sqs:Frobnicate*" in err.getvalue()


def test_an_action_is_shown_with_the_operations_that_check_it_too() -> None:
    text = printed("ec2:RunInstances", "s3:BypassGovernanceRetention")
    assert "visible in a trail: as a management event (" in text
    assert "also checked inside: ec2:CreateFleet, ec2:ModifyFleet, " in text
    assert "also checked inside: s3:DeleteObject (data event AWS::S3::Object), " in text


def test_as_json_an_action_is_one_object_with_its_evidence_and_its_fate(
    trail: Path, policy: Path
) -> None:
    text = explained(
        "lambda:updatefunctioncode", "ec2:CreateVpc", "--format", "json", trail=trail, policy=policy
    )
    used_action, refused = map(json.loads, text.splitlines())
    assert (used_action["action"], used_action["access_level"]) == (
        "lambda:UpdateFunctionCode",
        "Write",
    )
    assert used_action["visibility"]["kind"] == "management"
    assert [
        (usage["count"], usage["outcome"], usage["derivation"]) for usage in used_action["usages"]
    ] == [(6, "allowed", "named by the request")]
    assert {entry["decision"] for entry in used_action["entries"]} == {"kept: it was used"}
    assert [usage["denied_by"] for usage in refused["usages"]] == ["scp"]
    assert (refused["entries"], refused["additions"], len(refused["not_added"])) == ([], [], 1)


def test_as_json_a_pattern_names_the_same_actions_as_in_text(trail: Path, policy: Path) -> None:
    rows = explained("lambda:*", "--format", "json", trail=trail, policy=policy).splitlines()
    blocks = explained("lambda:*", trail=trail, policy=policy).strip().split("\n\n")
    assert [json.loads(row)["action"] for row in rows] == [block.split(" (")[0] for block in blocks]


def test_as_json_an_action_needs_no_evidence() -> None:
    out, err = io.StringIO(), io.StringIO()
    assert (
        main(["explain", "kms:Decrypt", "iam:PassRole", "--format", "json"], out, err, lambda: NOW)
        == 0
    )
    decrypt, passed = map(json.loads, out.getvalue().splitlines())
    assert [kind["name"] for kind in decrypt["resource_types"]] == ["key"]
    assert passed["sensitive"]
    assert "usages" not in decrypt


def test_a_wildcard_that_goes_names_a_few_of_what_takes_its_place(
    trail: Path, tmp_path: Path
) -> None:
    wildcard_file = tmp_path / "wide.json"
    allow = {"Effect": "Allow", "Action": ["s3:*", "lambda:*"], "Resource": "*"}
    wildcard_file.write_text(json.dumps({"Version": "2012-10-17", "Statement": allow}))
    text = explained("lambda:DeleteAlias", trail=trail, policy=wildcard_file)
    removal_line = next(line for line in text.splitlines() if "removed with lambda:*" in line)
    assert removal_line.partition("which becomes ")[2].count(", ") == 4
    assert removal_line.endswith(" more")
