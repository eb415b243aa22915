"""When AWS judges a proposal, and where the reader sees what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from leastpriv.aws.session import AwsSession
from leastpriv.aws_checks import policy_checks
from leastpriv.config.settings import from_options
from leastpriv.pipeline.context import Target
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.command import leastpriv
from tests.fakes.deploys import (
    CREATE_QUEUE,
    NOW,
    POLICY,
    ROLE,
    UPDATE,
    as_committed,
    deploys,
    usual_deploys,
    write_trail,
)
from tests.fakes.runs import Proposed, run_one

NOWHERE = {"AWS_PROFILE": "nobody", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}


def _run(
    folder: Path,
    reach: AwsSession | None,
    policy: Any = POLICY,
    records: Any = None,
    *,
    paid: bool = False,
) -> Proposed:
    file = folder / "ci.json"
    file.write_text(json.dumps(policy, indent=2))
    trail = write_trail(folder / "trail", usual_deploys() if records is None else records)
    settings = from_options({
        "role-arn": ROLE, "policy-file": str(file), "trails": (str(trail),),
        "custom-policy-checks": "true" if paid else "false", "aws-regions": "eu-west-1",
    })  # fmt: skip
    return run_one(Target(settings, "ci.json", folder), (trail,), NOW, reach)


def _opened(environment: dict[str, str]) -> AwsSession:
    """A run's reach whose door something has opened already."""
    reach = AwsSession(environment, NOW)
    reach.aws()
    return reach


def test_a_run_over_files_alone_asks_aws_nothing_whatever_its_environment_holds(
    tmp_path: Path,
) -> None:
    with PolicyChecks() as aws:
        proposed = _run(tmp_path, AwsSession(aws.environment(), NOW))
    assert aws.requests == []
    assert "Checks by AWS" not in proposed.body


def test_a_run_that_uses_aws_has_its_proposal_checked(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        proposed = _run(tmp_path, _opened(aws.environment()))
    assert proposed.context.proposal.changes
    assert [check_result.operation for check_result in proposed.context.check_results] == [
        "ValidatePolicy",
        "SimulateCustomPolicy",
    ]
    assert all(not check_result.failure for check_result in proposed.context.check_results)
    assert "#### Checks by AWS" in proposed.body
    assert "AWS disagrees" not in proposed.body


def test_the_simulation_agrees_with_our_replay_on_every_need(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        proposed = _run(tmp_path, _opened(aws.environment()))
    simulated = proposed.context.check_results[1]
    assert simulated.asked > 0
    assert simulated.disagreements == ()


def test_a_disagreement_comes_before_the_verdict_which_is_no(tmp_path: Path) -> None:
    with PolicyChecks("SimulateCustomPolicy") as aws:
        proposed = _run(tmp_path, _opened(aws.environment()))
    sections = proposed.body.split("\n\n")
    assert sections[0].startswith(
        "> [!CAUTION]\n> **AWS disagrees with this proposal's own proof.**"
    )
    assert "Do not merge before you know why" in sections[0]
    assert "the replay says allowed, AWS's simulation not allowed" in sections[0]


def test_without_a_change_no_check_runs(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        _run(
            tmp_path,
            _opened(aws.environment()),
            as_committed(),
            deploys([UPDATE, CREATE_QUEUE]),
            paid=True,
        )
    assert aws.judged == []


def test_no_run_pays_without_the_input(tmp_path: Path) -> None:
    with PolicyChecks() as aws:
        _run(tmp_path, _opened(aws.environment()))
    assert set(aws.judged) == {"ValidatePolicy", "SimulateCustomPolicy"}


def test_the_input_opens_aws_and_the_price_is_logged_before_a_paid_request(tmp_path: Path) -> None:
    """`POLICY` gains an action in the usual deploys, so that new access is not asked for."""
    before: dict[str, int] = {}
    with PolicyChecks() as aws:

        def info(text: str) -> None:
            before[text] = sum(name.startswith("Check") for name in aws.judged)

        with patch.object(policy_checks._log, "info", info):
            proposed = _run(tmp_path, AwsSession(aws.environment(), NOW), paid=True)
    [price] = [text for text in before if "which AWS charges" in text]
    assert before[price] == 0
    assert {"CheckAccessNotGranted", "ValidatePolicy"} <= set(aws.judged)
    assert "CheckNoNewAccess" not in aws.judged
    assert "- `CheckAccessNotGranted` answered 2 paid requests: no remark." in proposed.body


def test_the_command_checks_new_access_of_a_narrowing_and_the_trust_policy_of_the_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    wildcards = {
        "Version": "2012-10-17",
        "Statement": [_allow("sqs:CreateQueue", "lambda:*", "sns:Publish")],
    }
    role = {"AssumeRolePolicyDocument": everybody, "Policies": [{"PolicyDocument": wildcards}]}
    template = {"Resources": {"Ci": {"Type": "AWS::IAM::Role", "Properties": role}}}
    (tmp_path / "t.json").write_text(json.dumps(template, indent=1))
    trail = write_trail(tmp_path / "trail", deploys([CREATE_QUEUE, UPDATE], times=20, days=2))
    with PolicyChecks() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        run = leastpriv(
            "propose", "--role-arn", ROLE, "--policy-file",
            f"{tmp_path / 't.json'}#/Resources/Ci/Properties/Policies/0/PolicyDocument",
            "--trails", str(trail),
            "--minimum-days", "0", "--minimum-runs", "1", "--custom-policy-checks", "true",
            "--aws-regions", "eu-west-1",
        )  # fmt: skip
    assert run.code == 0, run.err
    assert "0.0080 USD, 0.0020 each" in run.err
    assert sorted(name for name in aws.judged if name.startswith("Check")) == [
        "CheckAccessNotGranted", "CheckAccessNotGranted", "CheckNoNewAccess", "CheckNoPublicAccess",
    ]  # fmt: skip
    assert "the trust policy may let any principal assume the role" in run.out


def test_a_separate_trust_policy_is_checked_where_an_input_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the free judge where AWS is asked, by the paid one where it is chosen; a run over files
    sends nothing.
    """
    (tmp_path / "ci.json").write_text(json.dumps(POLICY, indent=2))
    open_to_all = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:Assume_Role"}
    (tmp_path / "trust.json").write_text(
        json.dumps({"Version": "2012-10-17", "Statement": [open_to_all]}, indent=1)
    )
    trail = str(write_trail(tmp_path / "trail", usual_deploys()))
    monkeypatch.chdir(tmp_path)
    options = (
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        "ci.json",
        "--trails",
        trail,
        "--trust-policy",
        "trust.json",
    )
    with PolicyChecks() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        quiet = leastpriv(*options)
        assert (quiet.code, aws.requests) == (0, [])
        assert "The trust policy is not checked" in quiet.err
        run = leastpriv(*options, "--custom-policy-checks", "true")
    assert run.code == 0, run.err
    assert "`ValidatePolicy` judged 2 policies" in run.out
    assert (
        "| `trust.json:4` | **security warning** `CheckNoPublicAccess` | the trust policy may let"
        " any principal" in run.out
    )
    assert "| `trust.json:9` | **error**" in run.out


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (json.dumps(POLICY), "no Principal")],
)
def test_a_trust_policy_that_is_none_ends_the_run_before_any_evidence_is_read(
    content: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ci.json").write_text(json.dumps(POLICY))
    if content:
        (tmp_path / "trust.json").write_text(content)
    monkeypatch.chdir(tmp_path)
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        "ci.json",
        "--trails",
        ".",
        "--trust-policy",
        "trust.json",
    )
    assert run.code == 2
    assert "trust-policy" in run.err
    assert words in run.err
    assert "Reading" not in run.err


def test_paid_checks_without_credentials_are_reported_and_end_no_run(tmp_path: Path) -> None:
    proposed = _run(tmp_path, AwsSession(NOWHERE, NOW), paid=True)
    assert proposed.context.proposal.changes
    assert "`AWS` could not run." in proposed.body


def test_a_failed_check_ends_no_run(tmp_path: Path) -> None:
    words = (
        f"User: {ROLE} is not authorized to perform: access-analyzer:ValidatePolicy on resource: *"
    )
    with PolicyChecks() as aws:
        aws.refuse("ValidatePolicy", "AccessDeniedException", words, 403)
        proposed = _run(tmp_path, _opened(aws.environment()))
    assert proposed.context.proposal.changes
    assert (
        "`ValidatePolicy` could not run. AWS denied `access-analyzer:ValidatePolicy`"
        in proposed.body
    )


def _allow(*actions: str) -> dict[str, Any]:
    return {"Sid": "More", "Effect": "Allow", "Action": list(actions), "Resource": "*"}
